//! One supervisor per container: composition, life cycle, OCI hook entry.
//!
//! The executable has three duties, told apart by its arguments: the OCI hook (`supervisor_hook <stage>`), the daemon
//! (`…/supervisor_wrapper.py <container> <sidecar>`) and a person's command line. The hook starts the daemon and waits
//! until its sockets are bound; the daemon is a watchdog that owns the sockets and one worker that serves them.
//!
//! Invariants: a container whose supervisor cannot start does not run; services end with the container and with the
//! watchdog; nothing here prints except to standard error, which is the container's log.

mod container;
mod credential;
mod daemon;
mod diary;
mod entry;
mod fault;
mod folderwatch;
mod gating;
mod harden;
mod hook;
mod listening;
mod paths;
mod pidfile;
mod ready;
mod service;
mod sidecarfile;
mod signals;
mod signing;
mod spawn;
mod unlock;
mod watchdog;
mod worker;

pub use entry::main;
pub use fault::SupervisorError;
pub use service::{Endpoint, Service, Serving, Shift};
