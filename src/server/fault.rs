//! What can keep a service from being served. Trouble with a connection never ends up here.

use std::io;

use base::fault::{Fault, Kind};
use base::socket::SocketError;

/// Why a service is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The socket or port could not be taken.
    #[error(transparent)]
    Bind(#[from] SocketError),
    /// The runtime's side of a bound socket could not be set up.
    #[error("cannot serve the bound socket")]
    Serve(#[source] io::Error),
    /// The service's thread could not be started.
    #[error("cannot start the thread of the {service}")]
    Thread {
        /// The service.
        service: &'static str,
        /// The cause.
        source: io::Error,
    },
}

impl Fault for ServerError {
    fn code(&self) -> &'static str {
        match self {
            Self::Bind(error) => error.code(),
            Self::Serve(_) => "server-serve",
            Self::Thread { .. } => "server-thread",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Bind(error) => error.hint(),
            Self::Serve(_) | Self::Thread { .. } => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Bind(error) => error.kind(),
            Self::Serve(_) | Self::Thread { .. } => Kind::Os,
        }
    }
}
