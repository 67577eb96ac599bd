//! The git directory of a container that works in a directory of the user, and the way back of its commits.
//!
//! Invariants:
//! - The container never sees the user's own `.git`: a private git directory is mounted over it.
//! - The user's objects are readable in the container and cannot be written there.
//! - No git process on the host reads configuration, hooks or alternates that a container could write.
//! - What comes back is copied, checked by `fsck`, and fetched as a branch; the user's files are not touched.

pub mod bring;
pub mod config;
pub mod fault;
pub mod private;
pub mod quarantine;
pub mod record;
pub mod refs;
pub mod report;
pub mod scan;
pub mod source;
pub mod store;
#[cfg(test)]
mod tests;

pub use bring::{Outcome, bring};
pub use fault::WorkspaceError;
pub use private::{Mount, Request, prepare};
