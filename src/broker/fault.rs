//! What can keep the broker from starting. Trouble with a single request never ends up here: it becomes a reply.

use std::io;
use std::path::PathBuf;

use base::fault::{Fault, Kind};
use wire::route::RouteError;

/// Why the broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The socket or port could not be taken.
    #[error(transparent)]
    Bind(#[from] base::socket::SocketError),
    /// The route table could not be read.
    #[error("cannot read the route table `{path}`")]
    ReadRoutes {
        /// The table.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The route table is not usable.
    #[error("cannot use the route table `{path}`")]
    Routes {
        /// The table.
        path: PathBuf,
        /// The cause.
        source: RouteError,
    },
    /// The runtime's side of a bound socket could not be set up.
    #[error("cannot serve the bound socket")]
    Serve(#[source] io::Error),
}

impl Fault for BrokerError {
    fn code(&self) -> &'static str {
        match self {
            Self::Bind(error) => error.code(),
            Self::ReadRoutes { .. } => "broker-read-routes",
            Self::Routes { .. } => "broker-routes",
            Self::Serve(_) => "broker-serve",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Bind(error) => error.hint(),
            Self::ReadRoutes { .. } | Self::Routes { .. } => {
                Some("write the table anew with `terok-executor setup`".into())
            }
            Self::Serve(_) => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Routes { .. } => Kind::Value,
            Self::ReadRoutes { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            Self::Bind(error) => error.kind(),
            Self::ReadRoutes { .. } => Kind::Os,
            Self::Serve(_) => Kind::Runtime,
        }
    }
}
