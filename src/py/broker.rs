//! Bindings of the `broker` room: one running broker, on a thread of its own.

use std::path::PathBuf;

use ::broker::{Broker, BrokerConfig, Markers, Owner};
use ::server::Budget;
use ::vault::VaultCell;
use pyo3::prelude::*;

use crate::errors::to_py;
use crate::server::ServerRef;
use crate::vault::StoreRef;

/// Binds `socket_path`, or `port` of the loopback address, and serves it from `store`.
#[pyfunction]
#[pyo3(signature = (store, routes_path, audit_path, lock_dir, socket_path, port))]
fn broker_serve(
    py: Python<'_>,
    store: &StoreRef,
    routes_path: PathBuf,
    audit_path: Option<PathBuf>,
    lock_dir: PathBuf,
    socket_path: Option<PathBuf>,
    port: u16,
) -> PyResult<ServerRef> {
    let vault = VaultCell::open(store.0.clone());
    let config = BrokerConfig {
        routes_path,
        audit_path,
        lock_dir,
        owner: Owner::Everyone,
        markers: Markers::default(),
        budget: Budget::default(),
    };
    let broker = py.detach(|| Broker::new(config, vault)).map_err(to_py)?;
    ServerRef::start(py, broker, socket_path, port)
}

/// Adds this room's functions to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(broker_serve, m)?)
}
