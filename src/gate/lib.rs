//! HTTP git service of one container: the one repository it may clone from and push to.
//!
//! Invariants: one token opens one repository, and is checked before any git process starts; a request of any size
//! streams through; old tips of references stay reachable; no hook or configuration of the repository runs; the token
//! never appears in a log or an argument list.

mod auth;
mod body;
mod desk;
mod fault;
mod io;
mod keep;
pub mod path;
pub mod pkt;
mod places;
mod process;
mod pump;
pub mod push;
pub mod reference;
mod reply;
mod serve;

use std::path::PathBuf;
use std::sync::Arc;

use base::secret::Secret;

pub use desk::Limits;
pub use fault::GateError;

/// What a gate serves, and to whom.
#[derive(Debug, Clone)]
pub struct GateConfig {
    /// Directory of the bare mirrors.
    pub base: PathBuf,
    /// Name of the repository, without `.git`.
    pub scope: String,
    /// The token that opens it.
    pub token: Secret,
    /// Bounds.
    pub limits: Limits,
}

/// The gate of one container, served by [`server::serve`]. Clones share everything.
#[derive(Clone)]
pub struct Gate(Arc<desk::Desk>);

impl Gate {
    /// Prepares a gate; nothing is opened, and the repository need not exist yet.
    ///
    /// # Errors
    /// [`GateError::Scope`] or [`GateError::Token`].
    pub fn new(config: GateConfig) -> Result<Self, GateError> {
        if !path::is_name(&config.scope) {
            return Err(GateError::Scope(config.scope));
        }
        if config.token.is_empty() || config.token.expose().contains(':') {
            return Err(GateError::Token(config.scope));
        }
        let repository = config.base.join(format!("{}.git", config.scope));
        Ok(Self(Arc::new(desk::Desk::new(config.scope, config.token, repository, config.limits))))
    }
}
