//! SSH agent of one container: keys of its scope sign, and none ever leaves.
//!
//! Invariants:
//! - a container shows its token before the agent protocol starts, and the token is looked up again before every listing
//!   and every signature, so that revoking it acts on open connections too;
//! - keys are read from the vault for every question; a key that is no longer assigned neither lists nor signs;
//! - SHA-1 is never used;
//! - logs name scope, comment and peer, never a token, data that is signed, or a key.
//!
//! Everything but listing and signing is refused: adding and removing keys, constraints, locking, extensions.

use std::sync::Arc;

use server::Budget;
use tokio::io::{AsyncRead, AsyncWrite};
use vault::{Owner, VaultCell};

mod access;
mod frame;
mod handshake;
mod keyring;
mod serve;
mod session;

pub use frame::LONGEST_FRAME;
pub use handshake::{LONGEST_TOKEN, READ_LIMIT};
pub use serve::MOST_CONNECTIONS;
pub use session::IDLE_LIMIT;

/// Who may have signatures, and with which keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Whoever shows a live `ssh` token of this owner; the token's scope decides the keys.
    Tokens(Owner),
    /// Everybody who can open the socket, with the keys of this scope. For the host's own use.
    Scope(String),
}

/// The SSH agent of one container, or of one use on the host, served by [`server::serve`]. Clones share everything.
#[derive(Clone)]
pub struct Agent(Arc<session::Desk>);

impl Agent {
    /// Opens nothing; the vault may still be locked.
    pub fn new(access: Access, vault: VaultCell) -> Self {
        Self::within(Budget::default(), access, vault)
    }

    /// As [`Self::new`], with a memory budget that is shared with other services.
    pub fn within(budget: Budget, access: Access, vault: VaultCell) -> Self {
        Self(Arc::new(session::Desk::new(access, vault, budget)))
    }

    /// Serves one connection, of whatever kind, to its end; `who` names the other side in the log.
    pub async fn converse<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, who: &str) {
        session::converse(&self.0, stream, who, std::future::pending()).await;
    }
}
