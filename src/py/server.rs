//! Bindings of the `server` room: a broker, signer or gate that runs on a thread of its own.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ::server::{Attend, Running};
use pyo3::prelude::*;

use crate::errors::to_py;

/// A service that serves until it is stopped or forgotten.
#[pyclass(frozen, name = "Server", module = "terok_native._lib")]
pub struct ServerRef {
    running: Mutex<Option<Running>>,
    #[pyo3(get)]
    port: Option<u16>,
}

impl ServerRef {
    /// Binds `socket_path`, or `port` of the loopback address, and serves it.
    pub fn start<A: Attend>(py: Python<'_>, service: A, socket_path: Option<PathBuf>, port: u16) -> PyResult<Self> {
        let started = py.detach(|| match socket_path {
            Some(path) => Running::unix(service, &path),
            None => Running::tcp(service, port),
        });
        let running = started.map_err(to_py)?;
        let port = running.port();
        Ok(Self { running: Mutex::new(Some(running)), port })
    }
}

#[pymethods]
impl ServerRef {
    /// Waits for requests under way, at most a second, and for what must not be lost; stopping again does nothing.
    fn stop(&self, py: Python<'_>) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(running));
    }
}

/// Adds this room's class to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<ServerRef>()
}
