//! The one socket or port of a service: planned from the sidecar, bound in the watchdog, served from a copy by every worker.

use base::socket::{Listener, bind_tcp, bind_unix};
use server::Attend;
use wire::sidecar::{IpcMode, Sidecar};

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

    /// Takes the socket or port.
    ///
    /// # Errors
    /// [`SupervisorError::Service`] with the cause.
    pub fn bind(&mut self) -> Result<Vec<Endpoint>, SupervisorError> {
        let bound = match &self.endpoint {
            Endpoint::Unix(path) => bind_unix(path).map(Listener::Unix),
            Endpoint::Tcp(port) => bind_tcp(*port).map(Listener::Tcp),
        };
        self.listener = Some(bound.map_err(|error| SupervisorError::service(self.service, error))?);
        Ok(vec![self.endpoint.clone()])
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
