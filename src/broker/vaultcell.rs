//! The vault as the broker sees it: two questions, and a cell that says whether they can be asked already.
//!
//! The cell starts as `Unlocking`. Requests that arrive then wait for a while; a locked vault is reported at once. The
//! answers are never cached, so that a revoked token stops working with the next request.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::watch;

/// Longest time a request waits for the first unlocking.
pub const UNLOCK_WAIT: Duration = Duration::from_secs(15);

/// Whom a phantom token belongs to, and which credential it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenLabels {
    /// Project or scope.
    pub scope: String,
    /// Task or container.
    pub subject: String,
    /// Credential set.
    pub credential_set: String,
    /// Provider.
    pub provider: String,
}

/// Why the vault gave no answer. Carries no secret.
#[derive(Debug, thiserror::Error)]
#[error("the vault cannot be read")]
pub struct LookupError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What the broker asks of a vault.
pub trait Credentials: Send + Sync {
    /// The labels of a phantom token; `None` when it is unknown or revoked.
    ///
    /// # Errors
    /// [`LookupError`] when the store cannot be read.
    fn lookup_token(&self, token: &str) -> Result<Option<TokenLabels>, LookupError>;

    /// The credential record of a provider; `None` when there is none.
    ///
    /// # Errors
    /// [`LookupError`] when the store cannot be read.
    fn load_credential(&self, set: &str, provider: &str) -> Result<Option<Map<String, Value>>, LookupError>;
}

/// Whether the vault can be asked.
#[derive(Clone)]
pub enum VaultState {
    /// The first attempt to open it is running.
    Unlocking,
    /// It could not be opened; the reason is for the log and holds no secret.
    Locked(String),
    /// It is open.
    Open(Arc<dyn Credentials>),
}

/// A shared, observable [`VaultState`]. Clones see the same state; any thread may set it.
#[derive(Clone)]
pub struct VaultCell(watch::Sender<VaultState>);

impl Default for VaultCell {
    fn default() -> Self {
        Self::new()
    }
}

impl VaultCell {
    /// A cell in the state `Unlocking`.
    pub fn new() -> Self {
        Self(watch::Sender::new(VaultState::Unlocking))
    }

    /// A cell whose vault is open already.
    pub fn open(credentials: Arc<dyn Credentials>) -> Self {
        Self(watch::Sender::new(VaultState::Open(credentials)))
    }

    /// Changes the state and wakes the requests that wait for it.
    pub fn set(&self, state: VaultState) {
        self.0.send_replace(state);
    }

    /// The state right now.
    pub fn state(&self) -> VaultState {
        self.0.borrow().clone()
    }

    /// The open vault, after waiting for a running unlock; `None` when it is locked or the wait was too long.
    pub(crate) async fn wait(&self) -> Option<Arc<dyn Credentials>> {
        match self.state() {
            VaultState::Open(credentials) => return Some(credentials),
            VaultState::Locked(_) => return None,
            VaultState::Unlocking => {}
        }
        let mut watcher = self.0.subscribe();
        let settled = watcher.wait_for(|state| !matches!(state, VaultState::Unlocking));
        match tokio::time::timeout(UNLOCK_WAIT, settled).await {
            Ok(Ok(state)) => match &*state {
                VaultState::Open(credentials) => Some(credentials.clone()),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Credentials for vault::Store {
    fn lookup_token(&self, token: &str) -> Result<Option<TokenLabels>, LookupError> {
        let row = self.lookup_token(token).map_err(|error| LookupError(error.into()))?;
        Ok(row.map(|row| TokenLabels {
            scope: row.scope,
            subject: row.subject,
            credential_set: row.credential_set,
            provider: row.provider,
        }))
    }

    fn load_credential(&self, set: &str, provider: &str) -> Result<Option<Map<String, Value>>, LookupError> {
        match self.load_credential(set, provider) {
            Ok(record) => Ok(record),
            // A record that is not an object is there, but holds no secret.
            Err(vault::VaultError::Record { .. }) => Ok(Some(Map::new())),
            Err(error) => Err(LookupError(error.into())),
        }
    }
}
