//! What can keep a gate from being made. Trouble with one request is answered in HTTP instead.

use base::fault::{Fault, Kind};

/// Why there is no gate.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// No repository can have this name.
    #[error(
        "cannot serve the repository `{0}`: a name begins with a letter or digit and goes on with those, `.`, `_` or `-`"
    )]
    Scope(String),
    /// The token is empty or cannot be a user name.
    #[error("cannot serve the repository `{0}`: its token is empty or holds a colon")]
    Token(String),
}

impl Fault for GateError {
    fn code(&self) -> &'static str {
        match self {
            Self::Scope(_) => "gate-scope",
            Self::Token(_) => "gate-token",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Token(_) => Some("launch the container again; its sidecar then gets a fresh token".into()),
            Self::Scope(_) => None,
        }
    }

    fn kind(&self) -> Kind {
        Kind::Value
    }
}
