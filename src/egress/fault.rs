//! Errors of the firewall at run time: why a container does not start, or a change is not applied.

use std::io;

use base::fault::{Fault, Kind};
use terok_nft::NftError;
use terok_shield_policy::ShieldError;

/// Why the firewall cannot be brought up or changed.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The policy or its directory cannot be used.
    #[error(transparent)]
    Policy(#[from] ShieldError),
    /// The kernel refuses a part of the firewall.
    #[error("cannot apply the firewall")]
    Kernel(#[from] NftError),
    /// The container shares its network with another one or with the host.
    #[error("cannot apply the firewall: {0}")]
    Network(&'static str),
    /// The network namespace has the table of another container.
    #[error("cannot apply the firewall: the network namespace belongs to container `{0}`")]
    Foreign(String),
    /// The network namespace has tables of another program.
    #[error("cannot apply the firewall: the network namespace has foreign rules: {0}")]
    ForeignRules(String),
    /// What the kernel holds is not what was applied.
    #[error("cannot verify the firewall: {0}")]
    Unverified(String),
    /// A socket inside the container's network cannot be made.
    #[error("cannot bind {what} inside the container's network")]
    Bind {
        /// The socket.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A descriptor cannot be handed to the runtime.
    #[error("cannot serve {what}")]
    Serve {
        /// The service.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
}

impl Fault for EgressError {
    fn code(&self) -> &'static str {
        match self {
            Self::Policy(error) => error.code(),
            Self::Kernel(error) => error.code(),
            Self::Network(_) => "egress-network",
            Self::Foreign(_) => "egress-foreign",
            Self::ForeignRules(_) => "egress-foreign-rules",
            Self::Unverified(_) => "egress-unverified",
            Self::Bind { .. } => "egress-bind",
            Self::Serve { .. } => "egress-serve",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Policy(error) => error.hint(),
            Self::Kernel(error) => error.hint(),
            Self::Network(_) => Some("give the container a network of its own, or launch it with `--no-shield`".into()),
            Self::Foreign(_) => Some("containers that share a network cannot each have a firewall".into()),
            Self::ForeignRules(_) => Some("remove the hook that loads rules into containers".into()),
            Self::Unverified(_) | Self::Bind { .. } | Self::Serve { .. } => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Policy(error) => error.kind(),
            Self::Kernel(error) => error.kind(),
            _ => Kind::Runtime,
        }
    }
}
