//! What a supervisor is composed of: services that bind in the watchdog and serve in the worker.
//!
//! Sockets belong to the watchdog. A worker inherits them when it is forked, so that a connection made while the worker
//! is being restarted waits in the queue instead of being refused.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use server::Budget;
use tokio::sync::watch;
use wire::sidecar::Sidecar;

use crate::container::Init;
use crate::fault::SupervisorError;
use vault::VaultCell;

/// Where a service can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket file, removed when the supervisor ends.
    Unix(PathBuf),
    /// A port of the loopback address.
    Tcp(u16),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(port) => write!(f, "127.0.0.1:{port}"),
        }
    }
}

/// What a worker gives to its services.
#[derive(Clone)]
pub struct Shift {
    /// The vault, which may still be locked.
    pub vault: VaultCell,
    /// Memory that the services share for what the container makes them hold.
    pub budget: Budget,
    /// Becomes true when services should finish.
    pub stop: watch::Receiver<bool>,
}

impl Shift {
    /// Completes when services should finish.
    pub async fn ended(&self) {
        let mut stop = self.stop.clone();
        let _ = stop.wait_for(|ended| *ended).await;
    }
}

/// A running service: completes after it was told to stop, or when it fails.
pub type Serving = Pin<Box<dyn Future<Output = Result<(), SupervisorError>>>>;

/// One service of a container.
pub trait Service {
    /// The name in logs and messages.
    fn name(&self) -> &'static str;

    /// Takes the service's sockets. Called once, in the watchdog, while there is one thread and no runtime. `container`
    /// is the container's first process.
    ///
    /// # Errors
    /// The reason for which the container must not run.
    fn bind(&mut self, container: Init) -> Result<Vec<Endpoint>, SupervisorError>;

    /// Serves the bound sockets. Called in a worker's runtime, again after a failure.
    ///
    /// # Errors
    /// The reason for which this service cannot begin at all.
    fn serve(&self, shift: Shift) -> Result<Serving, SupervisorError>;

    /// True for a service that changes the container's network while it serves.
    fn needs_network_rights(&self) -> bool {
        false
    }
}

/// The services that a sidecar asks for, in start order: the firewall first, so that nothing passes before it.
///
/// # Errors
/// [`SupervisorError::Port`] or [`SupervisorError::SocketPath`].
pub fn compose(sidecar: &Sidecar, container: &str, init: Init) -> Result<Vec<Box<dyn Service>>, SupervisorError> {
    let mut services: Vec<Box<dyn Service>> = Vec::new();
    if let Some(firewall) = crate::shielding::ShieldService::wanted(sidecar, container, init) {
        services.push(Box::new(firewall));
    }
    if let Some(gate) = crate::gating::GateService::wanted(sidecar)? {
        services.push(Box::new(gate));
    }
    services.push(Box::new(crate::credential::CredentialService::new(sidecar)?));
    services.push(Box::new(crate::signing::SigningService::new(sidecar)?));
    Ok(services)
}
