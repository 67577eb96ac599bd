//! A service on a thread of its own, with a runtime of its own: for callers that have none.
//!
//! Its socket is bound before it is there, and nobody serves it any more when it is stopped or forgotten.

use std::path::Path;
use std::thread::JoinHandle;

use base::socket::{Listener, SocketName, bind_tcp, bind_unix};
use tokio::sync::oneshot;

use crate::{Attend, ServerError, serve};

/// Threads for work that would hold the others up, as many as a supervisor has for all its services.
const BLOCKING_THREADS: usize = 4;

/// A service that serves until it is stopped or dropped.
#[derive(Debug)]
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
    /// [`ServerError::Bind`], [`ServerError::Serve`] or [`ServerError::Thread`].
    pub fn unix<A: Attend>(service: A, socket: &Path) -> Result<Self, ServerError> {
        let listener = bind_unix(socket)?;
        let name = (!A::LEAVES_NAME).then(|| SocketName::of(socket));
        Self::start(service, Listener::Unix(listener), name, None)
    }

    /// Binds `port` of the loopback address, 0 for any, and serves it.
    ///
    /// # Errors
    /// [`ServerError::Bind`], [`ServerError::Serve`] or [`ServerError::Thread`].
    pub fn tcp<A: Attend>(service: A, port: u16) -> Result<Self, ServerError> {
        let listener = bind_tcp(port)?;
        let port = listener.local_addr().map_err(ServerError::Serve)?.port();
        Self::start(service, Listener::Tcp(listener), None, Some(port))
    }

    /// The port it serves, when it serves one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Ends it: requests under way get a second, what must not be lost a few; the socket's name goes away first, unless
    /// the service leaves it.
    /// Stopping again does nothing.
    pub fn stop(&mut self) {
        drop(self.name.take());
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn start<A: Attend>(
        service: A,
        listener: Listener,
        name: Option<SocketName>,
        port: Option<u16>,
    ) -> Result<Self, ServerError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()
            .map_err(ServerError::Serve)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let work = async move {
            let stop = async {
                let _ = stopped.await;
            };
            if let Err(error) = serve(service, listener, stop).await {
                tracing::error!(%error, "the {} ended", A::NAME);
            }
        };
        let thread = std::thread::Builder::new()
            .name(format!("terok-{}", A::NAME))
            .spawn(move || runtime.block_on(work))
            .map_err(|source| ServerError::Thread { service: A::NAME, source })?;
        Ok(Self { stop: Some(stop), thread: Some(thread), name, port })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}
