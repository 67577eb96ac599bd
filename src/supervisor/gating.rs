//! The git gate as a service of a container: first in line, because the container begins with a clone.
//!
//! It needs neither the vault nor the mirror to exist when it starts. A sidecar without mirrors or without a token has
//! no gate; one whose repository has no usable name keeps the container from running.

use std::path::PathBuf;

use base::secret::Secret;
use gate::{Gate, GateConfig, Limits};
use wire::sidecar::Sidecar;

use crate::container::Init;
use crate::fault::SupervisorError;
use crate::listening::Listening;
use crate::service::{Endpoint, Service, Serving, Shift};

const NAME: &str = "git gate";

/// The gate of one container.
pub struct GateService {
    listening: Listening,
    base: PathBuf,
    scope: String,
    token: Secret,
}

impl GateService {
    /// Plans the service, when the sidecar asks for one; nothing is opened.
    ///
    /// # Errors
    /// [`SupervisorError::Port`] or [`SupervisorError::SocketPath`].
    pub fn wanted(sidecar: &Sidecar) -> Result<Option<Self>, SupervisorError> {
        let (Some(base), Some(token)) = (&sidecar.gate_base_path, &sidecar.gate_token) else {
            return Ok(None);
        };
        let listening = Listening::plan(NAME, sidecar, "gate-server.sock", "gate_port", sidecar.gate_port)?;
        let scope = [&sidecar.gate_scope, &sidecar.project_id].into_iter().find(|name| !name.is_empty());
        let scope = scope.cloned().unwrap_or_default();
        Ok(Some(Self { listening, base: base.clone(), scope, token: Secret::new(token) }))
    }

    fn config(&self) -> GateConfig {
        GateConfig {
            base: self.base.clone(),
            scope: self.scope.clone(),
            token: self.token.clone(),
            limits: Limits::of(base::setting::gate_quotas()),
        }
    }
}

impl Service for GateService {
    fn name(&self) -> &'static str {
        NAME
    }

    fn bind(&mut self, container: Init) -> Result<Vec<Endpoint>, SupervisorError> {
        self.listening.bind(container)
    }

    fn serve(&self, shift: Shift) -> Result<Serving, SupervisorError> {
        let gate = Gate::new(self.config()).map_err(|error| SupervisorError::service(NAME, error))?;
        self.listening.serve(gate, shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::sidecar::IpcMode;

    fn sidecar() -> Sidecar {
        Sidecar {
            container_name: "c".into(),
            db_path: "/v/credentials.db".into(),
            runtime_dir: "/r".into(),
            project_id: "proj".into(),
            gate_base_path: Some("/g".into()),
            gate_token: Some("terok-g-1".into()),
            ..Sidecar::default()
        }
    }

    #[test]
    fn both_members_make_a_gate_and_the_scope_goes_before_the_project() {
        let service = GateService::wanted(&sidecar()).unwrap().unwrap();
        assert_eq!(service.listening.endpoint().to_string(), "/r/run/c/gate-server.sock");
        assert_eq!((service.scope.as_str(), service.token.expose()), ("proj", "terok-g-1"));
        let named = Sidecar { gate_scope: "other".into(), ..sidecar() };
        assert_eq!(GateService::wanted(&named).unwrap().unwrap().scope, "other");
        assert!(GateService::wanted(&Sidecar { gate_token: None, ..sidecar() }).unwrap().is_none());
        assert!(GateService::wanted(&Sidecar { gate_base_path: None, ..sidecar() }).unwrap().is_none());
    }

    #[test]
    fn tcp_needs_its_port_and_a_repository_needs_a_name() {
        let tcp = Sidecar { ipc_mode: IpcMode::Tcp, ..sidecar() };
        assert!(matches!(GateService::wanted(&tcp), Err(SupervisorError::Port { key: "gate_port", .. })));
        let tcp = Sidecar { gate_port: Some(1234), ..tcp };
        let service = GateService::wanted(&tcp).unwrap().unwrap();
        assert_eq!(service.listening.endpoint().to_string(), "127.0.0.1:1234");
        for project in ["", "..", "a/b"] {
            let odd = Sidecar { project_id: project.into(), ..sidecar() };
            assert!(Gate::new(GateService::wanted(&odd).unwrap().unwrap().config()).is_err(), "{project}");
        }
    }
}
