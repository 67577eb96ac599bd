//! Bindings of the `broker` room: one running broker, on a thread of its own with a runtime of its own.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use ::base::socket::{SocketName, bind_tcp, bind_unix};
use ::broker::{Broker, BrokerConfig, BrokerError, Markers, Owner};
use ::vault::VaultCell;
use pyo3::prelude::*;
use tokio::sync::oneshot;

use crate::errors::to_py;
use crate::vault::StoreRef;

/// A bound listener of either kind.
enum Listener {
    Unix(UnixListener, SocketName),
    Tcp(std::net::TcpListener),
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    fn end(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// A broker that serves until it is stopped or forgotten.
#[pyclass(frozen, name = "BrokerServer", module = "terok_native._lib")]
pub struct ServerRef {
    running: Mutex<Option<Running>>,
    #[pyo3(get)]
    port: Option<u16>,
}

impl ServerRef {
    fn take(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for ServerRef {
    fn drop(&mut self) {
        if let Some(running) = self.take() {
            running.end();
        }
    }
}

#[pymethods]
impl ServerRef {
    /// Waits for requests under way, at most a second; stopping again does nothing.
    fn stop(&self, py: Python<'_>) {
        if let Some(running) = self.take() {
            py.detach(|| running.end());
        }
    }
}

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
    let config =
        BrokerConfig { routes_path, audit_path, lock_dir, owner: Owner::default(), markers: Markers::default() };
    py.detach(|| start(config, vault, socket_path.as_deref(), port)).map_err(to_py)
}

fn start(
    config: BrokerConfig,
    vault: VaultCell,
    socket_path: Option<&Path>,
    port: u16,
) -> Result<ServerRef, BrokerError> {
    let broker = Broker::new(config, vault)?;
    let listener = match socket_path {
        Some(path) => Listener::Unix(bind_unix(path)?, SocketName::of(path)),
        None => Listener::Tcp(bind_tcp(port)?),
    };
    let port = match &listener {
        Listener::Tcp(listener) => Some(listener.local_addr().map_err(BrokerError::Serve)?.port()),
        Listener::Unix(..) => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BrokerError::Serve)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("terok-broker".into())
        .spawn(move || {
            runtime.block_on(async move {
                let stop = async {
                    let _ = stopped.await;
                };
                let _ = match listener {
                    Listener::Unix(listener, _name) => broker.serve_unix(listener, stop).await,
                    Listener::Tcp(listener) => broker.serve_tcp(listener, stop).await,
                };
            });
        })
        .map_err(BrokerError::Serve)?;
    Ok(ServerRef { running: Mutex::new(Some(Running { stop, thread })), port })
}

/// Adds this room's functions and classes to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<ServerRef>()?;
    m.add_function(wrap_pyfunction!(broker_serve, m)?)
}
