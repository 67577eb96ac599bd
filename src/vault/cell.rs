//! The vault as a running service sees it: being opened, locked, or open.
//!
//! A cell starts as `Unlocking`. Whoever asks then waits for a while; a locked vault is reported at once. The cell holds
//! the one store that all services of a supervisor share, so that the key is derived once. Nothing is cached: a token or
//! key that was revoked is gone at the next question.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::store::Store;

/// Longest time a question waits for the first unlocking.
pub const UNLOCK_WAIT: Duration = Duration::from_secs(15);

/// Whether the vault can be asked.
#[derive(Clone)]
pub enum VaultState {
    /// The first attempt to open it is running.
    Unlocking,
    /// It is not open; the reason is for the log and holds no secret.
    Locked(String),
    /// It is open.
    Open(Arc<Store>),
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
    pub fn open(store: Arc<Store>) -> Self {
        Self(watch::Sender::new(VaultState::Open(store)))
    }

    /// Changes the state and wakes whoever waits for it.
    pub fn set(&self, state: VaultState) {
        self.0.send_replace(state);
    }

    /// The state right now.
    pub fn state(&self) -> VaultState {
        self.0.borrow().clone()
    }

    /// Sees every later change of the state.
    pub fn watch(&self) -> watch::Receiver<VaultState> {
        self.0.subscribe()
    }

    /// The open vault, after waiting for a running unlock; `None` when it is locked or the wait was too long.
    ///
    /// Must run inside a tokio runtime with time enabled.
    pub async fn wait(&self) -> Option<Arc<Store>> {
        self.wait_at_most(UNLOCK_WAIT).await
    }

    /// As [`Self::wait`], with a wait of `limit` at most.
    pub async fn wait_at_most(&self, limit: Duration) -> Option<Arc<Store>> {
        match self.state() {
            VaultState::Open(store) => return Some(store),
            VaultState::Locked(_) => return None,
            VaultState::Unlocking => {}
        }
        let mut watcher = self.0.subscribe();
        let settled = watcher.wait_for(|state| !matches!(state, VaultState::Unlocking));
        match tokio::time::timeout(limit, settled).await {
            Ok(Ok(state)) => match &*state {
                VaultState::Open(store) => Some(store.clone()),
                _ => None,
            },
            _ => None,
        }
    }
}
