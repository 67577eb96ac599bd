//! What can keep the broker from starting. Trouble with a single request never ends up here: it becomes a reply.

use std::io;
use std::path::PathBuf;

use base::fault::{Fault, Kind};
use wire::route::RouteError;

/// Why the broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Something else than a socket has the socket's name.
    #[error("cannot bind `{0}`: it exists and is not a socket")]
    NotASocket(PathBuf),
    /// Another process serves this socket.
    #[error("cannot bind `{0}`: another process is listening there")]
    InUse(PathBuf),
    /// The socket could not be made.
    #[error("cannot bind `{path}`")]
    BindUnix {
        /// The socket.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The loopback port could not be bound.
    #[error("cannot bind port {port} of the loopback address")]
    BindTcp {
        /// The port.
        port: u16,
        /// The cause.
        source: io::Error,
    },
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
            Self::NotASocket(_) => "broker-not-a-socket",
            Self::InUse(_) => "broker-in-use",
            Self::BindUnix { .. } => "broker-bind-unix",
            Self::BindTcp { .. } => "broker-bind-tcp",
            Self::ReadRoutes { .. } => "broker-read-routes",
            Self::Routes { .. } => "broker-routes",
            Self::Serve(_) => "broker-serve",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotASocket(_) => Some("move the file away; it is left untouched".into()),
            Self::InUse(_) => Some("stop the other supervisor of this container first".into()),
            Self::BindTcp { .. } => Some("see who holds the port with `ss -ltnp`".into()),
            Self::ReadRoutes { .. } | Self::Routes { .. } => {
                Some("write the table anew with `terok-executor setup`".into())
            }
            Self::BindUnix { .. } | Self::Serve(_) => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Routes { .. } => Kind::Value,
            Self::ReadRoutes { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            Self::BindUnix { .. } | Self::BindTcp { .. } | Self::ReadRoutes { .. } => Kind::Os,
            Self::NotASocket(_) | Self::InUse(_) | Self::Serve(_) => Kind::Runtime,
        }
    }
}
