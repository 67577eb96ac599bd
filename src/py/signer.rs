//! Bindings of the `signer` room: one running SSH agent, on a thread of its own.

use std::path::PathBuf;

use ::signer::{Access, Agent};
use ::vault::{Owner, VaultCell};
use pyo3::prelude::*;

use crate::server::ServerRef;
use crate::vault::StoreRef;

/// Binds `socket_path`, or `port` of the loopback address, and serves keys of `store`: of `scope` without asking, or
/// without one, of the scope that each client's token names.
#[pyfunction]
#[pyo3(signature = (store, scope, socket_path, port))]
fn signer_serve(
    py: Python<'_>,
    store: &StoreRef,
    scope: Option<String>,
    socket_path: Option<PathBuf>,
    port: u16,
) -> PyResult<ServerRef> {
    let access = scope.map_or_else(|| Access::Tokens(Owner::Everyone), Access::Scope);
    ServerRef::start(py, Agent::new(access, VaultCell::open(store.0.clone())), socket_path, port)
}

/// Adds this room's functions to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(signer_serve, m)?)
}
