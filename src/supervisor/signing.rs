//! The SSH signer as a service of a container.
//!
//! It is always there, as the broker is: whether the container may use a key is a question to the vault, asked for every
//! connection. While the vault is locked connections are closed, and served once it is open.

use signer::{Access, Agent};
use vault::Owner;
use wire::sidecar::Sidecar;

use crate::container::Init;
use crate::fault::SupervisorError;
use crate::listening::Listening;
use crate::service::{Endpoint, Service, Serving, Shift};

const NAME: &str = "SSH signer";

/// The SSH agent of one container.
pub struct SigningService {
    listening: Listening,
    owner: Owner,
}

impl SigningService {
    /// Plans the service; nothing is opened.
    ///
    /// # Errors
    /// [`SupervisorError::Port`] or [`SupervisorError::SocketPath`].
    pub fn new(sidecar: &Sidecar) -> Result<Self, SupervisorError> {
        let port = sidecar.ssh_signer_port;
        let listening = Listening::plan(NAME, sidecar, "ssh-agent.sock", "ssh_signer_port", port)?;
        Ok(Self { listening, owner: broker::owner_of(sidecar) })
    }
}

impl Service for SigningService {
    fn name(&self) -> &'static str {
        NAME
    }

    fn bind(&mut self, container: Init) -> Result<Vec<Endpoint>, SupervisorError> {
        self.listening.bind(container)
    }

    fn serve(&self, shift: Shift) -> Result<Serving, SupervisorError> {
        let agent = Agent::within(shift.budget.clone(), Access::Tokens(self.owner.clone()), shift.vault.clone());
        self.listening.serve(agent, shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::sidecar::IpcMode;

    #[test]
    fn tcp_needs_its_port_and_tokens_are_the_containers_own() {
        let mut sidecar = Sidecar {
            container_name: "c".into(),
            db_path: "/v/credentials.db".into(),
            runtime_dir: "/r".into(),
            project_id: "p".into(),
            task_id: "t".into(),
            ..Sidecar::default()
        };
        let service = SigningService::new(&sidecar).unwrap();
        assert_eq!(service.listening.endpoint().to_string(), "/r/run/c/ssh-agent.sock");
        assert_eq!(service.owner, Owner::new("p", "t"));
        sidecar.ipc_mode = IpcMode::Tcp;
        let refused = SigningService::new(&sidecar).err().unwrap();
        assert!(matches!(refused, SupervisorError::Port { key: "ssh_signer_port", .. }), "{refused}");
        sidecar.ssh_signer_port = Some(1234);
        assert_eq!(SigningService::new(&sidecar).unwrap().listening.endpoint().to_string(), "127.0.0.1:1234");
    }
}
