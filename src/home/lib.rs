//! Private copies of the shared agent folders, and the settings that flow back from them.
//!
//! Every container gets its own copy of each shared folder, below the directory of its task. After the container's end
//! the host reads the named files of the copy and writes the named keys of them to the shared folder.
//!
//! Invariants:
//! - no component below a copy or a shared folder is followed when it is a link;
//! - nothing flows back but the keys that the manifest names, in the shape that it names;
//! - the manifest is stored next to the copies and is never mounted.

pub mod collect;
#[cfg(test)]
mod collect_test;
mod copy;
pub mod fault;
mod manifest;
pub mod owner;
pub mod prepare;
#[cfg(test)]
mod prepare_test;
pub mod shape;

pub use collect::{Report, collect};
pub use fault::HomeError;
pub use prepare::{Folder, prepare};
pub use shape::{Rules, Shape};

/// Lock file of the shared folders; it serialises every change to them.
pub const LOCK_FILE: &str = ".terok-mounts.lock";
/// Largest settings file that is read or changed, in bytes.
pub const SIZE_LIMIT: u64 = 4 * 1024 * 1024;
