//! Tasks on disk: identifiers, names, metadata, life cycle, archive, work status, log formats.
//!
//! Invariants:
//! - whoever changes a task holds its lock, reads what is there, and writes whole files;
//! - wherever a process is killed, the task is listed with a true state afterwards and can be resumed, archived or deleted;
//! - what a container can write is read without following links, up to a limit, and cleaned before it is shown;
//! - nothing outside a managed root is ever removed.

pub mod archive;
mod book;
pub mod claude;
mod create;
pub mod deliver;
mod disk;
mod document;
mod fault;
mod gpu;
mod hold;
pub mod hook;
pub mod id;
mod list;
mod memory;
pub mod moment;
pub mod name;
mod quick;
pub mod tree;
mod twister;
pub mod work;

#[cfg(test)]
mod killed;
#[cfg(test)]
mod tests;

pub use book::{Book, Meta, check_name, of_handle};
pub use create::{Created, WORKSPACE, create, prepare};
pub use fault::TaskError;
pub use gpu::wants_gpu;
pub use list::{Listing, Row, list, one};
