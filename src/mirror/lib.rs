//! Git mirrors on the host: a bare repository per project that containers clone from and push to.
//!
//! Invariants: a synchronisation never deletes or rewinds what somebody pushed here; whatever a reference pointed to
//! stays reachable; no hook, filter or configuration that came with a repository's content ever runs; git never asks a
//! person.

pub mod backup;
pub mod config;
pub mod fault;
pub mod git;
pub mod ledger;
pub mod refs;
