//! The credential broker as a service of a container.
//!
//! Its socket or port is taken before anything else; the route table is read in the worker, and a table that cannot be
//! used keeps the container from running.

use std::path::PathBuf;

use broker::{Broker, BrokerConfig, Markers, Owner};
use server::Budget;
use wire::sidecar::Sidecar;

use crate::container::Init;
use crate::fault::SupervisorError;
use crate::listening::Listening;
use crate::paths;
use crate::service::{Endpoint, Service, Serving, Shift};

const NAME: &str = "credential broker";

/// The broker of one container.
pub struct CredentialService {
    listening: Listening,
    config: BrokerConfig,
}

impl CredentialService {
    /// Plans the service; nothing is opened.
    ///
    /// # Errors
    /// [`SupervisorError::Port`] or [`SupervisorError::SocketPath`].
    pub fn new(sidecar: &Sidecar) -> Result<Self, SupervisorError> {
        let listening = Listening::plan(NAME, sidecar, "vault.sock", "tcp_port", sidecar.tcp_port)?;
        Ok(Self {
            listening,
            config: BrokerConfig {
                routes_path: paths::beside_vault(sidecar, "routes.json"),
                audit_path: Some(audit_path(sidecar)),
                owner: broker::owner_of(sidecar),
                markers: Markers::of(sidecar),
                lock_dir: lock_dir(sidecar),
                budget: Budget::default(),
            },
        })
    }
}

fn audit_path(sidecar: &Sidecar) -> PathBuf {
    paths::beside_vault(sidecar, "credential_audit.jsonl")
}

/// Where supervisors of every generation lock a login while they refresh it.
fn lock_dir(sidecar: &Sidecar) -> PathBuf {
    sidecar.runtime_dir.join("terok/vault/locks")
}

impl Service for CredentialService {
    fn name(&self) -> &'static str {
        NAME
    }

    fn bind(&mut self, container: Init) -> Result<Vec<Endpoint>, SupervisorError> {
        self.listening.bind(container)
    }

    fn serve(&self, shift: Shift) -> Result<Serving, SupervisorError> {
        if self.config.owner == Owner::Unknown {
            tracing::warn!("the sidecar names no owner of this container's tokens: every token is refused");
        }
        let config = BrokerConfig { budget: shift.budget.clone(), ..self.config.clone() };
        let broker = Broker::new(config, shift.vault.clone());
        self.listening.serve(broker.map_err(|error| SupervisorError::service(NAME, error))?, shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::sidecar::IpcMode;

    // improves: 21-1.1-one-directory
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
        assert_eq!(service.listening.endpoint().to_string(), "127.0.0.1:1234");
        assert_eq!(service.config.routes_path, PathBuf::from("/v/routes.json"));
        assert_eq!(audit_path(&sidecar), PathBuf::from("/v/credential_audit.jsonl"));
        assert_eq!(service.config.lock_dir, PathBuf::from("/r/terok/vault/locks"));
    }
}
