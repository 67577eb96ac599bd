//! Errors of the private git directory of a container.

use std::io;
use std::path::{Path, PathBuf};

use base::fault::{Fault, Kind};
use base::text::{command_line, sanitize_tty};
use mirror::MirrorError;

/// Why a private git directory could not be made, or its commits not be brought back.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The directory cannot be protected.
    #[error("cannot use directory `{}`: {why}", shown(.folder))]
    Refused {
        /// The directory.
        folder: PathBuf,
        /// The reason.
        why: String,
    },
    /// A name is not acceptable.
    #[error(transparent)]
    Name(#[from] base::ident::BadName),
    /// The container's repository exceeds a limit.
    #[error("cannot bring commits back: {what} exceeds {limit}")]
    TooLarge {
        /// The limited quantity.
        what: &'static str,
        /// The limit with its unit.
        limit: String,
    },
    /// The container's repository is damaged.
    #[error("cannot bring commits back: {0}")]
    Malformed(String),
    /// Git refused.
    #[error(transparent)]
    Git(#[from] MirrorError),
    /// A file or directory could not be handled.
    #[error("cannot {what} `{}`", shown(.path))]
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

fn shown(path: &Path) -> String {
    sanitize_tty(&path.to_string_lossy())
}

impl WorkspaceError {
    /// A directory that is not used, and why.
    pub(crate) fn refused(folder: &Path, why: impl Into<String>) -> Self {
        Self::Refused { folder: folder.to_owned(), why: why.into() }
    }
}

impl Fault for WorkspaceError {
    fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "workspace-refused",
            Self::Name(_) => "workspace-name",
            Self::TooLarge { .. } => "workspace-too-large",
            Self::Malformed(_) => "workspace-malformed",
            Self::Git(inner) => inner.code(),
            Self::Io { .. } => "workspace-io",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { folder, .. } => {
                let url = format!("file://{}", folder.display());
                let run = command_line(["terok-executor", "run", "AGENT", &url]);
                Some(format!("give the top directory of a repository, or let the container work on a clone: `{run}`"))
            }
            Self::Git(inner) => inner.hint(),
            Self::Name(bad) => bad.hint(),
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } => Kind::Os,
            Self::Git(inner) => inner.kind(),
            _ => Kind::Usage,
        }
    }
}

/// For `map_err`: the operation and its object.
pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WorkspaceError {
    let path = path.to_owned();
    move |source| WorkspaceError::Io { what, path, source }
}
