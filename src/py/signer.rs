//! Bindings of the `signer` room: one running SSH agent, on a thread of its own.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ::signer::{Access, Agent, Running, SignerError};
use ::vault::{Owner, VaultCell};
use pyo3::prelude::*;

use crate::errors::to_py;
use crate::vault::StoreRef;

/// An SSH agent that serves until it is stopped or forgotten.
#[pyclass(frozen, name = "SignerServer", module = "terok_native._lib")]
pub struct SignerRef {
    running: Mutex<Option<Running>>,
    #[pyo3(get)]
    port: Option<u16>,
}

#[pymethods]
impl SignerRef {
    /// Waits for requests under way, at most a second; stopping again does nothing.
    fn stop(&self, py: Python<'_>) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(running));
    }
}

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
) -> PyResult<SignerRef> {
    let access = scope.map_or_else(|| Access::Tokens(Owner::default()), Access::Scope);
    let agent = Agent::new(access, VaultCell::open(store.0.clone()));
    let started: Result<Running, SignerError> = py.detach(|| match socket_path {
        Some(path) => Running::unix(agent, &path),
        None => Running::tcp(agent, port),
    });
    let running = started.map_err(to_py)?;
    let port = running.port();
    Ok(SignerRef { running: Mutex::new(Some(running)), port })
}

/// Adds this room's functions and classes to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<SignerRef>()?;
    m.add_function(wrap_pyfunction!(signer_serve, m)?)
}
