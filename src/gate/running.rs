//! A gate on a thread of its own, with a runtime of its own: for callers that have none.

use std::path::Path;
use std::thread::JoinHandle;

use base::socket::{Listener, bind_tcp, bind_unix};
use tokio::sync::oneshot;

use crate::{Gate, GateError};

/// A gate that serves until it is dropped.
pub struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    port: Option<u16>,
}

impl Running {
    /// Binds `socket` (0600; a dead socket is replaced) and serves it. The name stays when the gate ends.
    ///
    /// # Errors
    /// [`GateError::Bind`] or [`GateError::Serve`].
    pub fn unix(gate: Gate, socket: &Path) -> Result<Self, GateError> {
        Self::start(gate, Listener::Unix(bind_unix(socket)?), None)
    }

    /// Binds `port` of the loopback address, 0 for any, and serves it.
    ///
    /// # Errors
    /// [`GateError::Bind`] or [`GateError::Serve`].
    pub fn tcp(gate: Gate, port: u16) -> Result<Self, GateError> {
        let listener = bind_tcp(port)?;
        let port = listener.local_addr().map_err(GateError::Serve)?.port();
        Self::start(gate, Listener::Tcp(listener), Some(port))
    }

    /// The port it serves, when it serves one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    fn start(gate: Gate, listener: Listener, port: Option<u16>) -> Result<Self, GateError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(GateError::Serve)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let work = async move {
            let stop = async {
                let _ = stopped.await;
            };
            let served = match listener {
                Listener::Unix(listener) => gate.serve_unix(listener, stop).await,
                Listener::Tcp(listener) => gate.serve_tcp(listener, stop).await,
            };
            if let Err(error) = served {
                tracing::error!(%error, "the gate ended");
            }
        };
        let thread = std::thread::Builder::new()
            .name("terok-gate".into())
            .spawn(move || runtime.block_on(work))
            .map_err(GateError::Serve)?;
        Ok(Self { stop: Some(stop), thread: Some(thread), port })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
