//! The extension module `terok_native._lib`: thin bindings, one file per room.
//!
//! Invariants: plain data crosses as dicts, lists and texts; a blocking call releases the GIL; every failure leaves
//! through `errors::to_py`, so that callers see the exception classes of the shims.

use pyo3::prelude::*;

mod agents;
mod base;
mod broker;
mod convert;
mod errors;
mod gate;
mod images;
mod key;
mod mirror;
mod passphrase;
mod podman;
mod port;
mod project;
mod sandbox;
mod server;
mod setting;
mod signer;
mod supervisor;
mod task;
mod taskfile;
mod tasklog;
mod vault;
mod workspace;

#[pymodule]
fn _lib(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    base::register(m)?;
    podman::register(m)?;
    vault::register(m)?;
    passphrase::register(m)?;
    key::register(m)?;
    server::register(m)?;
    signer::register(m)?;
    mirror::register(m)?;
    gate::register(m)?;
    broker::register(m)?;
    supervisor::register(m)?;
    sandbox::register(m)?;
    port::register(m)?;
    images::register(m)?;
    setting::register(m)?;
    project::register(m)?;
    task::register(m)?;
    workspace::register(m)?;
    agents::register(m)
}
