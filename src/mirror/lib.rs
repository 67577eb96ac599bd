//! Git mirrors on the host: a bare repository per project that containers clone from and push to.
//!
//! Invariants: a synchronisation never deletes or rewinds what somebody pushed here; whatever a reference pointed to
//! stays reachable; no hook, filter or configuration that came with a repository's content ever runs; git never asks a
//! person.

pub mod address;
pub mod backup;
#[cfg(test)]
mod bombs;
pub mod cache;
mod census;
#[cfg(test)]
mod chaos;
pub mod config;
pub mod create;
pub mod fault;
pub mod git;
pub mod heal;
pub mod hold;
#[cfg(test)]
mod killed;
pub mod ledger;
pub mod objects;
pub mod pull;
pub mod refs;
pub mod report;
#[cfg(test)]
mod stage;
pub mod state;
mod sync;
#[cfg(test)]
mod tests;
pub mod upstream;

pub use address::{Address, is_ssh};
pub use create::{Prepared, prepare};
pub use fault::MirrorError;
pub use hold::Listener;
pub use sync::{follow, synchronise};
pub use upstream::{Upstream, error_text};
