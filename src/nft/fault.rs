//! Errors of the kernel interface: which call failed, and what the kernel answered.

use std::io;

use base::fault::{Fault, Kind};

/// Why a call to the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// A netlink socket cannot be opened or set up.
    #[error("cannot open a netlink socket for {purpose}")]
    Socket {
        /// The protocol the socket speaks.
        purpose: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The kernel refused a request.
    #[error("cannot {operation}")]
    Refused {
        /// The request.
        operation: &'static str,
        /// The kernel's error number.
        source: io::Error,
    },
    /// An answer of the kernel does not parse.
    #[error("cannot read the kernel's answer: {0}")]
    Malformed(&'static str),
    /// A transaction is larger than the kernel takes in one message.
    #[error("cannot send a transaction of {bytes} bytes: the kernel takes {limit}")]
    TooLarge {
        /// The size of the transaction.
        bytes: usize,
        /// The most that one message may hold.
        limit: usize,
    },
    /// The rules changed during every attempt to read them.
    #[error("cannot read the ruleset: it changed during each of {0} attempts")]
    Unstable(usize),
    /// A namespace cannot be opened or entered.
    #[error("cannot enter the network namespace of `{subject}`")]
    Namespace {
        /// The process or file.
        subject: String,
        /// The cause.
        source: io::Error,
    },
}

impl NftError {
    /// The kernel's error number, when the kernel refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } | Self::Socket { source, .. } | Self::Namespace { source, .. } => {
                source.raw_os_error()
            }
            Self::Malformed(_) | Self::TooLarge { .. } | Self::Unstable(_) => None,
        }
    }
}

impl Fault for NftError {
    fn code(&self) -> &'static str {
        match self {
            Self::Socket { .. } => "nft-socket",
            Self::Refused { .. } => "nft-refused",
            Self::Malformed(_) => "nft-malformed",
            Self::TooLarge { .. } => "nft-too-large",
            Self::Unstable(_) => "nft-unstable",
            Self::Namespace { .. } => "nft-namespace",
        }
    }

    fn hint(&self) -> Option<String> {
        match self.errno() {
            Some(libc::EPERM | libc::EACCES) => {
                Some("run this as root of the namespace's user namespace, with CAP_NET_ADMIN".into())
            }
            Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::ENOENT)
                if !matches!(self, Self::Namespace { .. }) =>
            {
                Some(
                    "load the kernel modules nf_tables, nft_chain_nat, nft_redir, nft_reject_inet and nfnetlink_log"
                        .into(),
                )
            }
            _ => match self {
                Self::TooLarge { .. } => Some("list fewer addresses, or raise `net.core.wmem_max` on the host".into()),
                _ => None,
            },
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Malformed(_) | Self::Unstable(_) | Self::TooLarge { .. } => Kind::Runtime,
            _ => Kind::Os,
        }
    }
}
