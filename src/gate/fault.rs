//! What can keep a gate from serving at all. Trouble with one request is answered in HTTP instead.

use std::io;

use base::fault::{Fault, Kind};
use base::socket::SocketError;

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
    /// The socket or port could not be bound.
    #[error(transparent)]
    Bind(#[from] SocketError),
    /// The bound socket could not be served.
    #[error("cannot serve the git gate")]
    Serve(#[source] io::Error),
}

impl Fault for GateError {
    fn code(&self) -> &'static str {
        match self {
            Self::Scope(_) => "gate-scope",
            Self::Token(_) => "gate-token",
            Self::Bind(error) => error.code(),
            Self::Serve(_) => "gate-serve",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Bind(error) => error.hint(),
            Self::Token(_) => Some("launch the container again; its sidecar then gets a fresh token".into()),
            Self::Scope(_) | Self::Serve(_) => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Scope(_) | Self::Token(_) => Kind::Value,
            Self::Bind(error) => error.kind(),
            Self::Serve(_) => Kind::Os,
        }
    }
}
