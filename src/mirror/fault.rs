//! What can go wrong with a mirror.

use std::io;
use std::path::PathBuf;

use base::fault::{Fault, Kind};
use base::process::RunError;

/// Why an operation on a mirror failed.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// There is no git to run.
    #[error("git not found")]
    NoGit,
    /// Git could not be run, or not to its end.
    #[error("cannot run git")]
    Run(#[source] RunError),
    /// Git refused.
    #[error("cannot {what}: {complaint}")]
    Git {
        /// The operation.
        what: &'static str,
        /// Git's own words, without passwords.
        complaint: String,
    },
    /// The mirror could not be made from its upstream.
    #[error("git clone --mirror failed: {0}")]
    Clone(String),
    /// An empty mirror could not be made.
    #[error("git init --bare failed: {0}")]
    Init(String),
    /// An upstream address that is not handed to git.
    #[error("upstream address `{address}` is refused: {why}")]
    Address {
        /// The address, without its password.
        address: String,
        /// The reason.
        why: &'static str,
    },
    /// A name that is no branch.
    #[error("`{0}` is not a branch name")]
    Branch(String),
    /// A name that is no object of the mirror.
    #[error("`{name}` names nothing that is kept in `{}`", .mirror.display())]
    NothingKept {
        /// What was asked for.
        name: String,
        /// The mirror.
        mirror: PathBuf,
    },
    /// The mirror is not there.
    #[error("there is no mirror at `{}`", .0.display())]
    Missing(PathBuf),
    /// Something else has the mirror's name.
    #[error("`{}` is not a bare git repository", .0.display())]
    NotMirror(PathBuf),
    /// The mirror is being synchronised by somebody else.
    #[error("mirror `{}` is in use by another synchronisation", .0.display())]
    Busy(PathBuf),
    /// A commit has more than is checked out on the host.
    #[error("cannot check out `{commit}` for the clone cache: it has more than {most}")]
    TooMuch {
        /// The commit.
        commit: String,
        /// The exceeded bound, with its value.
        most: String,
    },
    /// A file or directory could not be handled.
    #[error("cannot {what} `{}`", .path.display())]
    Io {
        /// The operation.
        what: &'static str,
        /// The object.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
}

impl From<RunError> for MirrorError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Missing(_) => Self::NoGit,
            other => Self::Run(other),
        }
    }
}

impl Fault for MirrorError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoGit => "mirror-no-git",
            Self::Run(_) => "mirror-run-git",
            Self::Git { .. } => "mirror-git",
            Self::Clone(_) => "mirror-clone",
            Self::Init(_) => "mirror-init",
            Self::Address { .. } => "mirror-address",
            Self::Branch(_) => "mirror-branch",
            Self::NothingKept { .. } => "mirror-nothing-kept",
            Self::Missing(_) => "mirror-missing",
            Self::NotMirror(_) => "mirror-not-bare",
            Self::Busy(_) => "mirror-busy",
            Self::TooMuch { .. } => "mirror-too-much",
            Self::Io { .. } => "mirror-io",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoGit => Some("install the package `git`".into()),
            Self::NotMirror(_) => Some("move it away, or choose another path for the mirror".into()),
            Self::Busy(_) => Some("wait for it to end and try again".into()),
            Self::TooMuch { .. } => Some("containers clone it by themselves, through the gate".into()),
            Self::Missing(_) => Some("synchronise the gate first".into()),
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Run(RunError::TimedOut { .. }) => Kind::Timeout,
            Self::Io { .. } | Self::Run(_) => Kind::Os,
            _ => Kind::Usage,
        }
    }
}

/// Says what was being done to which path when the operating system refused.
pub(crate) fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> MirrorError {
    let path = path.to_owned();
    move |source| MirrorError::Io { what, path, source }
}
