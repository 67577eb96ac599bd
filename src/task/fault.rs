//! What can go wrong with a task's files.

use std::io;
use std::path::PathBuf;

use base::fault::{Fault, Kind};
use base::text::sanitize_tty;

/// Why a task could not be found, named, read, changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A name that is to become part of a path leads elsewhere.
    #[error("cannot use `{}` as {what}: {why}", sanitize_tty(.name))]
    Unsafe {
        /// What it was meant for.
        what: &'static str,
        /// The refused text.
        name: String,
        /// The broken rule.
        why: &'static str,
    },
    /// A text cannot begin an identifier, whatever follows.
    #[error("no task identifier begins with `{0}`: the first character is one of {heads}", heads = crate::id::HEADS)]
    Head(char),
    /// A text cannot be (the beginning of) an identifier.
    #[error("invalid prefix `{}`: not the beginning of a task identifier", sanitize_tty(.0))]
    Prefix(String),
    /// The project has no directory of tasks.
    #[error("no tasks found for project `{}`", sanitize_tty(.0))]
    NoTasks(String),
    /// Nothing begins with the given text.
    #[error("no task matching `{prefix}` in project `{}`", sanitize_tty(.project))]
    NoMatch {
        /// What the identifier begins with.
        prefix: String,
        /// The project.
        project: String,
    },
    /// More than one task begins with the given text.
    #[error("`{prefix}` is ambiguous: {}", .found.join(", "))]
    Ambiguous {
        /// What the identifier begins with.
        prefix: String,
        /// The tasks that it could mean, sorted.
        found: Vec<String>,
    },
    /// All identifiers that were tried are taken.
    #[error("cannot find a free task identifier in `{}` after {tries} tries", .dir.display())]
    NoFreeId {
        /// The directory of the project's metadata.
        dir: PathBuf,
        /// How many were tried.
        tries: usize,
    },
    /// A category of names that does not exist.
    #[error("unknown category of task names `{}`", sanitize_tty(.0))]
    Category(String),
    /// A handle that is not the path of a dossier.
    #[error("cannot take `{}` as a task's handle: its name does not end in `_dossier.json`", .0.display())]
    Handle(PathBuf),
    /// A file of a task does not hold what it should.
    #[error("cannot read `{}`: {reason}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; no value of it.
        reason: String,
    },
    /// A file or directory of a task could not be used.
    #[error("cannot {verb} `{}`", .path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// A value that no file of ours can hold.
    #[error("cannot write `{}`: {reason}", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Which value, and why.
        reason: String,
    },
    /// Somebody keeps a task's lock.
    #[error("cannot change task `{task}`: another process has been changing it for {seconds} seconds")]
    Locked {
        /// The task.
        task: String,
        /// How long we waited.
        seconds: u64,
    },
    /// A tree could not be removed as a whole.
    #[error("cannot remove {left} entries of `{}`, the first is `{}`", .path.display(), .first.display())]
    TreeLeft {
        /// The tree.
        path: PathBuf,
        /// How many entries are left, without the directories above them.
        left: usize,
        /// One of them.
        first: PathBuf,
        /// Why that one is left.
        #[source]
        source: io::Error,
    },
    /// A text for a container's directory that is not of the right kind.
    #[error("cannot write {what}: {why}")]
    Text {
        /// Which part.
        what: &'static str,
        /// The broken rule.
        why: &'static str,
    },
}

impl TaskError {
    /// A closure for `map_err` that names what was tried with which file.
    pub(crate) fn at(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { verb, path, source }
    }
}

impl Fault for TaskError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unsafe { .. } => "task-unsafe-name",
            Self::Head(_) => "task-id-head",
            Self::Prefix(_) => "task-id-prefix",
            Self::NoTasks(_) => "task-none",
            Self::NoMatch { .. } => "task-no-match",
            Self::Ambiguous { .. } => "task-ambiguous",
            Self::NoFreeId { .. } => "task-no-free-id",
            Self::Category(_) => "task-name-category",
            Self::Handle(_) => "task-handle",
            Self::Malformed { .. } => "task-malformed",
            Self::File { .. } => "task-file",
            Self::Unwritable { .. } => "task-unwritable",
            Self::Locked { .. } => "task-locked",
            Self::TreeLeft { .. } => "task-tree-left",
            Self::Text { .. } => "task-text",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Head('i' | 'l' | 'o') => Some("the letters i, l and o are not used in identifiers".to_owned()),
            Self::Category(_) => Some(format!("known categories: {}", crate::name::categories().join(", "))),
            Self::Malformed { .. } => Some("repair the file, or delete the task".to_owned()),
            Self::Ambiguous { .. } => Some("give more characters".to_owned()),
            Self::TreeLeft { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("files that belong to a user of the container go away with `podman unshare rm -rf`".to_owned())
            }
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Unsafe { .. }
            | Self::Head(_)
            | Self::Prefix(_)
            | Self::NoTasks(_)
            | Self::NoMatch { .. }
            | Self::Ambiguous { .. }
            | Self::Category(_) => Kind::Usage,
            Self::Handle(_) | Self::Malformed { .. } | Self::Unwritable { .. } | Self::Text { .. } => Kind::Value,
            Self::File { .. } | Self::TreeLeft { .. } => Kind::Os,
            Self::Locked { .. } => Kind::Timeout,
            Self::NoFreeId { .. } => Kind::Runtime,
        }
    }
}
