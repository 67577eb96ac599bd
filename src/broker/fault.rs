//! What can keep the broker from starting. Trouble with a single request never ends up here: it becomes a reply.

use std::io;
use std::path::PathBuf;

use base::fault::{Fault, Kind};
use wire::route::RouteError;

/// Why the broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
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
}

impl Fault for BrokerError {
    fn code(&self) -> &'static str {
        match self {
            Self::ReadRoutes { .. } => "broker-read-routes",
            Self::Routes { .. } => "broker-routes",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::ReadRoutes { .. } | Self::Routes { .. } => {
                Some("write the table anew with `terok-executor setup`".into())
            }
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Routes { .. } => Kind::Value,
            Self::ReadRoutes { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            Self::ReadRoutes { .. } => Kind::Os,
        }
    }
}
