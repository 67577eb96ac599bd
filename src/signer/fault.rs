//! What can keep the signer from starting. Trouble with a connection never ends up here: it becomes a refusal.

use std::io;

use base::fault::{Fault, Kind};

/// Why the signer cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The socket or port could not be taken.
    #[error(transparent)]
    Bind(#[from] base::socket::SocketError),
    /// The runtime's side of a bound socket could not be set up.
    #[error("cannot serve the bound socket")]
    Serve(#[source] io::Error),
    /// The signer's thread could not be started.
    #[error("cannot start the signer's thread")]
    Thread(#[source] io::Error),
}

impl Fault for SignerError {
    fn code(&self) -> &'static str {
        match self {
            Self::Bind(error) => error.code(),
            Self::Serve(_) => "signer-serve",
            Self::Thread(_) => "signer-thread",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Bind(error) => error.hint(),
            Self::Serve(_) | Self::Thread(_) => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Bind(error) => error.kind(),
            Self::Serve(_) | Self::Thread(_) => Kind::Runtime,
        }
    }
}
