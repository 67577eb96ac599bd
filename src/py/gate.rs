//! Bindings of the `gate` room: one running git service, on a thread of its own.

use std::path::PathBuf;

use ::base::secret::Secret;
use ::gate::{Gate, GateConfig, Limits};
use pyo3::prelude::*;

use crate::errors::to_py;
use crate::server::ServerRef;

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
) -> PyResult<ServerRef> {
    let config = GateConfig { base: mirrors, scope, token: Secret::new(token), limits: Limits::default() };
    ServerRef::start(py, Gate::new(config).map_err(to_py)?, socket_path, port)
}

/// Adds this room's functions to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(gate_serve, m)?)
}
