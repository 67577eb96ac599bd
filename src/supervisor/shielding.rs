//! The firewall as a service of a container: first in line, in force before the container runs.
//!
//! A sidecar without a state directory has no firewall. Whatever keeps the firewall from being applied and verified
//! keeps the container from running.

use std::path::PathBuf;
use std::rc::Rc;

use terok_egress::{Bound, EventQueue, Plan};
use wire::sidecar::Sidecar;

use crate::container::Init;
use crate::fault::SupervisorError;
use crate::service::{Endpoint, Service, Serving, Shift};

const NAME: &str = "firewall";
/// The resolvers of the host, as every program of the operator uses them.
const RESOLVERS: &str = "/etc/resolv.conf";

/// The firewall of one container.
pub struct ShieldService {
    plan: Plan,
    bound: Option<Bound>,
}

impl ShieldService {
    /// Plans the service, when the sidecar asks for one; nothing is opened.
    pub fn wanted(sidecar: &Sidecar, container: &str, init: Init) -> Option<Self> {
        let directory = sidecar.shield_state_dir.clone()?;
        let plan = Plan {
            directory,
            container: container.to_owned(),
            init: (init.pid, init.start),
            resolvers: PathBuf::from(RESOLVERS),
        };
        Some(Self { plan, bound: None })
    }
}

impl Service for ShieldService {
    fn name(&self) -> &'static str {
        NAME
    }

    fn bind(&mut self, _container: Init) -> Result<Vec<Endpoint>, SupervisorError> {
        let bound = Bound::bind(self.plan.clone()).map_err(|error| SupervisorError::service(NAME, error))?;
        self.bound = Some(bound);
        // Its sockets are inside the container's network; nothing outside can reach them.
        Ok(Vec::new())
    }

    fn serve(&self, shift: Shift) -> Result<Serving, SupervisorError> {
        let unbound = || SupervisorError::Spawn(std::io::ErrorKind::NotConnected.into());
        let bound = self.bound.as_ref().ok_or_else(unbound)?;
        let served = bound.serve(Rc::new(EventQueue::default()));
        let (_engine, served) = served.map_err(|error| SupervisorError::service(NAME, error))?;
        Ok(Box::pin(async move {
            tokio::select! {
                () = served => {}
                () = shift.ended() => {}
            }
            Ok(())
        }))
    }

    fn needs_network_rights(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firewall_is_wanted_only_with_a_state_directory() {
        let init = Init { pid: 1, start: 2 };
        let mut sidecar = Sidecar::default();
        assert!(ShieldService::wanted(&sidecar, "c", init).is_none());
        sidecar.shield_state_dir = Some("/s/shield".into());
        let service = ShieldService::wanted(&sidecar, "c", init).unwrap();
        assert_eq!((service.plan.init, service.plan.directory), ((1, 2), "/s/shield".into()));
    }
}
