//! Errors of this crate, one variant per failed operation.

use std::io;
use std::path::{Path, PathBuf};

use base::fault::{Fault, Kind};

/// A private copy could not be prepared or read back.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// A file or directory operation failed.
    #[error("cannot {action} `{path}`")]
    File {
        /// Verb phrase.
        action: &'static str,
        /// Object.
        path: PathBuf,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// The record of the copies is damaged.
    #[error("cannot read `{path}`: {why}")]
    Manifest {
        /// The record.
        path: PathBuf,
        /// Reason.
        why: String,
    },
}

impl HomeError {
    /// A closure that turns an I/O error into [`HomeError::File`].
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

impl Fault for HomeError {
    fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "agent-home-file",
            Self::Manifest { .. } => "agent-home-manifest",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File { source, path, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some(format!("check the ownership of `{}`", path.display()))
            }
            Self::File { .. } => None,
            Self::Manifest { path, .. } => {
                let folder = path.parent().unwrap_or(path);
                Some(format!("remove `{}`; the next launch makes new copies", folder.display()))
            }
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::File { .. } => Kind::Os,
            Self::Manifest { .. } => Kind::Runtime,
        }
    }
}
