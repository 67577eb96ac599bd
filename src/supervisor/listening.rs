//! The one socket or port of a service: planned from the sidecar, bound in the watchdog, served from a copy by every worker.
//!
//! A port is bound twice: on the loopback address of the host and, for the container, on that of its own network. So
//! the container needs no way to the host's loopback.

use std::net::TcpListener;

use base::socket::{Listener, bind_tcp, bind_unix};
use server::Attend;
use terok_nft::NetworkNamespace;
use wire::sidecar::{IpcMode, Sidecar};

use crate::container::Init;
use crate::fault::SupervisorError;
use crate::paths;
use crate::service::{Endpoint, Serving, Shift};

/// A service's socket before and after it is bound.
pub struct Listening {
    service: &'static str,
    endpoint: Endpoint,
    listener: Option<Listener>,
}

impl Listening {
    /// Plans `file` in the container's runtime directory, or the port that the sidecar has under `key`.
    ///
    /// # Errors
    /// [`SupervisorError::Port`] or [`SupervisorError::SocketPath`].
    pub fn plan(
        service: &'static str,
        sidecar: &Sidecar,
        file: &str,
        key: &'static str,
        port: Option<u16>,
    ) -> Result<Self, SupervisorError> {
        let endpoint = match sidecar.ipc_mode {
            IpcMode::Socket => Endpoint::Unix(paths::socket(sidecar, file)?),
            IpcMode::Tcp => Endpoint::Tcp(port.ok_or(SupervisorError::Port { service, key })?),
        };
        Ok(Self { service, endpoint, listener: None })
    }

    /// Where the service is, or will be.
    #[cfg(test)]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Takes the socket, or the port on the host and in the network of the container with this first process.
    ///
    /// # Errors
    /// [`SupervisorError::Service`] with the cause.
    pub fn bind(&mut self, container: Init) -> Result<Vec<Endpoint>, SupervisorError> {
        let failed = |error| SupervisorError::service(self.service, error);
        let bound = match &self.endpoint {
            Endpoint::Unix(path) => Listener::Unix(bind_unix(path).map_err(failed)?),
            Endpoint::Tcp(port) => {
                let host = bind_tcp(*port).map_err(failed)?;
                match self.bind_inside(container, *port)? {
                    Some(container) => Listener::Ports { host, container },
                    None => Listener::Tcp(host),
                }
            }
        };
        self.listener = Some(bound);
        Ok(vec![self.endpoint.clone()])
    }

    /// Binds the port of the container's own loopback address; `None` when it shares the network with us.
    fn bind_inside(&self, container: Init, port: u16) -> Result<Option<TcpListener>, SupervisorError> {
        let entered = NetworkNamespace::of_process(container.pid).and_then(|network| {
            let shared = network.is_same(&NetworkNamespace::current()?)?;
            if shared { Ok(None) } else { network.run(|| bind_tcp(port)).map(Some) }
        });
        let bound = entered.map_err(|error| SupervisorError::service(self.service, error))?;
        bound.transpose().map_err(|error| SupervisorError::service(self.service, error))
    }

    /// Serves one time, until `shift` is over; the original serves the next time, should this one fail.
    ///
    /// # Errors
    /// [`SupervisorError::Spawn`] when no descriptor is left or nothing was bound.
    pub fn serve<A: Attend>(&self, attendant: A, shift: Shift) -> Result<Serving, SupervisorError> {
        let unbound = || std::io::Error::from(std::io::ErrorKind::NotConnected);
        let copy = self.listener.as_ref().ok_or_else(unbound).and_then(Listener::try_clone);
        let (service, copy) = (self.service, copy.map_err(SupervisorError::Spawn)?);
        Ok(Box::pin(async move {
            let served = server::serve(attendant, copy, shift.ended()).await;
            served.map_err(|error| SupervisorError::service(service, error))
        }))
    }
}
