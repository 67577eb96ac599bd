//! A signer on a thread of its own, with a runtime of its own: for callers that have none.
//!
//! Its socket is bound before [`Running::unix`] returns, and gone when the signer is stopped or forgotten.

use std::path::Path;
use std::thread::JoinHandle;

use base::socket::{Listener, SocketName, bind_tcp, bind_unix};
use tokio::sync::oneshot;

use crate::{Agent, SignerError};

/// A signer that serves until it is dropped.
pub struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    name: Option<SocketName>,
    port: Option<u16>,
}

impl Running {
    /// Binds `socket` (0600; a dead socket is replaced) and serves it.
    ///
    /// # Errors
    /// [`SignerError::Bind`], [`SignerError::Serve`] or [`SignerError::Thread`].
    pub fn unix(agent: Agent, socket: &Path) -> Result<Self, SignerError> {
        let listener = bind_unix(socket)?;
        let name = SocketName::of(socket);
        Self::start(agent, Listener::Unix(listener), Some(name), None)
    }

    /// Binds `port` of the loopback address, 0 for any, and serves it.
    ///
    /// # Errors
    /// [`SignerError::Bind`], [`SignerError::Serve`] or [`SignerError::Thread`].
    pub fn tcp(agent: Agent, port: u16) -> Result<Self, SignerError> {
        let listener = bind_tcp(port)?;
        let port = listener.local_addr().map_err(SignerError::Serve)?.port();
        Self::start(agent, Listener::Tcp(listener), None, Some(port))
    }

    /// The port it serves, when it serves one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Ends it: requests under way get a second, the socket's name goes away. Stopping again does nothing.
    pub fn stop(&mut self) {
        drop(self.name.take());
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn start(
        agent: Agent,
        listener: Listener,
        name: Option<SocketName>,
        port: Option<u16>,
    ) -> Result<Self, SignerError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(2)
            .build()
            .map_err(SignerError::Serve)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let work = async move {
            let stop = async {
                let _ = stopped.await;
            };
            let served = match listener {
                Listener::Unix(listener) => agent.serve_unix(listener, stop).await,
                Listener::Tcp(listener) => agent.serve_tcp(listener, stop).await,
            };
            if let Err(error) = served {
                tracing::error!(%error, "the signer ended");
            }
        };
        let thread = std::thread::Builder::new()
            .name("terok-signer".into())
            .spawn(move || runtime.block_on(work))
            .map_err(SignerError::Thread)?;
        Ok(Self { stop: Some(stop), thread: Some(thread), name, port })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}
