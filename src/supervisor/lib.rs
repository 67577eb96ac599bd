//! One supervisor per container: composition, life cycle, OCI hook entry.
//!
//! There are two executables side by side. The small one is the OCI hook (`supervisor_hook <stage>`): every start and end
//! of a container waits for it, so it has nothing in it that only a service needs. The large one is the daemon
//! (`…/supervisor_wrapper.py <container> <sidecar>`), also for a person's command line, which the small one passes on.
//! The hook starts the daemon and waits until its sockets are bound; the daemon is a watchdog that owns the sockets and
//! one worker that serves them.
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
mod shielding;
mod shieldverb;
mod sidecarfile;
mod signals;
mod signing;
mod spawn;
mod unlock;
mod watchdog;
mod worker;

pub use entry::{front, main};
pub use fault::SupervisorError;
pub use service::{Endpoint, Service, Serving, Shift};
