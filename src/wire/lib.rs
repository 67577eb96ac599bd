//! Whatever crosses a process or disk border: the sidecar, the route table, audit lines. Serde only, no I/O.
//!
//! Invariants: everything parsed here is validated here; a value of these types is safe to use for paths and sockets.

pub mod audit;
pub mod denial;
pub mod route;
pub mod sidecar;
