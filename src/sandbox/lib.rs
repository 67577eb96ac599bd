//! Launch facade: argv, wiring, ports, set-up.
//!
//! A launch is a description (`spec`) that is judged (`check`, `extra`), written down as an argument list (`argv`,
//! `network`, `redact`), journalled (`journal`), carried out (`execute`, `sealed`, `supervision`) and, when any step
//! fails or its process dies, taken back (`undo`).

pub mod argv;
pub mod cause;
pub mod check;
pub mod execute;
pub mod extra;
pub mod fault;
pub mod handover;
pub mod hook;
mod hookconf;
mod hooksweep;
pub mod hostdir;
mod hostdir_roots;
pub mod image;
pub mod journal;
pub mod launcher;
pub mod network;
pub mod port;
pub mod private;
pub mod process;
pub mod redact;
pub mod resources;
pub mod sealed;
pub mod seccomp;
pub mod service_port;
pub mod sidecar;
pub mod spec;
pub mod stamp;
pub mod stray;
pub mod supervision;
#[cfg(test)]
mod testing;
pub mod undo;
pub mod usermap;

pub use fault::LaunchError;
pub use spec::{Place, RunSpec};
