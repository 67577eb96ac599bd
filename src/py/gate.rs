//! Bindings of the `gate` room: one running git service, on a thread of its own.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ::base::secret::Secret;
use ::gate::{Gate, GateConfig, GateError, Limits, Running};
use pyo3::prelude::*;

use crate::errors::to_py;

/// A gate that serves until it is stopped or forgotten.
#[pyclass(frozen, name = "GateServer", module = "terok_native._lib")]
pub struct GateRef {
    running: Mutex<Option<Running>>,
    #[pyo3(get)]
    port: Option<u16>,
}

#[pymethods]
impl GateRef {
    /// Waits for requests under way, at most a second; stopping again does nothing.
    fn stop(&self, py: Python<'_>) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(running));
    }
}

/// Binds `socket_path`, or `port` of the loopback address, and serves `<mirrors>/<scope>.git` to whoever has `token`.
#[pyfunction]
#[pyo3(signature = (mirrors, scope, token, socket_path, port))]
fn gate_serve(
    py: Python<'_>,
    mirrors: PathBuf,
    scope: String,
    token: String,
    socket_path: Option<PathBuf>,
    port: u16,
) -> PyResult<GateRef> {
    let config = GateConfig { base: mirrors, scope, token: Secret::new(token), limits: Limits::default() };
    let started: Result<Running, GateError> = py.detach(|| {
        let gate = Gate::new(config)?;
        match socket_path {
            Some(path) => Running::unix(gate, &path),
            None => Running::tcp(gate, port),
        }
    });
    let running = started.map_err(to_py)?;
    let port = running.port();
    Ok(GateRef { running: Mutex::new(Some(running)), port })
}

/// Adds this room's functions and classes to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<GateRef>()?;
    m.add_function(wrap_pyfunction!(gate_serve, m)?)
}
