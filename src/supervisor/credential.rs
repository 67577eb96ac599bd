//! The credential broker as a service of a container.
//!
//! Its socket or port is taken before anything else; the route table is read in the worker, and a table that cannot be
//! used keeps the container from running.

use std::path::PathBuf;

use broker::{Broker, BrokerConfig, Identity, Markers};
use wire::sidecar::{IpcMode, Sidecar};

use crate::fault::SupervisorError;
use crate::paths;
use crate::service::{Endpoint, Service, Serving, Shift};

const NAME: &str = "credential broker";

enum Listener {
    Unix(std::os::unix::net::UnixListener),
    Tcp(std::net::TcpListener),
}

/// The broker of one container.
pub struct CredentialService {
    endpoint: Endpoint,
    config: BrokerConfig,
    listener: Option<Listener>,
}

impl CredentialService {
    /// Plans the service; nothing is opened.
    ///
    /// # Errors
    /// [`SupervisorError::Port`] or [`SupervisorError::SocketPath`].
    pub fn new(sidecar: &Sidecar) -> Result<Self, SupervisorError> {
        let endpoint = match sidecar.ipc_mode {
            IpcMode::Socket => Endpoint::Unix(paths::socket(sidecar, "vault.sock")?),
            IpcMode::Tcp => {
                Endpoint::Tcp(sidecar.tcp_port.ok_or(SupervisorError::Port { service: NAME, key: "tcp_port" })?)
            }
        };
        Ok(Self {
            endpoint,
            config: BrokerConfig {
                routes_path: paths::beside_vault(sidecar, "routes.json"),
                audit_path: Some(audit_path(sidecar)),
                identity: Identity::of(sidecar),
                markers: Markers::default(),
            },
            listener: None,
        })
    }
}

fn audit_path(sidecar: &Sidecar) -> PathBuf {
    paths::beside_vault(sidecar, "credential_audit.jsonl")
}

fn failed(error: broker::BrokerError) -> SupervisorError {
    SupervisorError::service(NAME, error)
}

impl Service for CredentialService {
    fn name(&self) -> &'static str {
        NAME
    }

    fn bind(&mut self) -> Result<Vec<Endpoint>, SupervisorError> {
        self.listener = Some(match &self.endpoint {
            Endpoint::Unix(path) => Listener::Unix(broker::bind_unix(path).map_err(failed)?),
            Endpoint::Tcp(port) => Listener::Tcp(broker::bind_tcp(*port).map_err(failed)?),
        });
        Ok(vec![self.endpoint.clone()])
    }

    fn serve(&self, shift: Shift) -> Result<Serving, SupervisorError> {
        let broker = Broker::new(self.config.clone(), shift.vault.clone()).map_err(failed)?;
        let stop = async move { shift.ended().await };
        // A copy for this time: the original serves the next one, should this one fail.
        let copied = |error| failed(broker::BrokerError::Serve(error));
        Ok(match &self.listener {
            Some(Listener::Unix(listener)) => {
                let listener = listener.try_clone().map_err(copied)?;
                Box::pin(async move { broker.serve_unix(listener, stop).await.map_err(failed) })
            }
            Some(Listener::Tcp(listener)) => {
                let listener = listener.try_clone().map_err(copied)?;
                Box::pin(async move { broker.serve_tcp(listener, stop).await.map_err(failed) })
            }
            None => Box::pin(async { Ok(()) }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_needs_its_port_and_files_lie_beside_the_vault() {
        let mut sidecar = Sidecar {
            container_name: "c".into(),
            db_path: "/v/credentials.db".into(),
            runtime_dir: "/r".into(),
            ipc_mode: IpcMode::Tcp,
            ..Sidecar::default()
        };
        assert!(matches!(CredentialService::new(&sidecar), Err(SupervisorError::Port { key: "tcp_port", .. })));
        sidecar.tcp_port = Some(1234);
        let service = CredentialService::new(&sidecar).unwrap();
        assert_eq!(service.endpoint.to_string(), "127.0.0.1:1234");
        assert_eq!(service.config.routes_path, PathBuf::from("/v/routes.json"));
        assert_eq!(audit_path(&sidecar), PathBuf::from("/v/credential_audit.jsonl"));
    }
}
