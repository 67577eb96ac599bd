//! What can go wrong with projects, and what to do about it.
//!
//! Invariant: texts that show a value from a file or a caller have its control characters replaced.

use std::path::{Path, PathBuf};

use base::fault::{Fault, Kind};
use base::path::PathError;
use base::text::sanitize_tty;
use base::yaml::YamlError;

/// A failed operation on projects.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// A text is no project id.
    #[error("invalid project id `{}`: {why}", sanitize_tty(.id))]
    BadId {
        /// The text.
        id: String,
        /// The broken rule.
        why: &'static str,
    },
    /// No project has the id.
    #[error("project `{id}` not found: there is neither `{}` nor `{}`", .user.display(), .system.display())]
    Unknown {
        /// The id.
        id: String,
        /// Where it would be as one of the user's.
        user: PathBuf,
        /// Where it would be as one of everybody's.
        system: PathBuf,
    },
    /// A file could not be read.
    #[error("Failed to read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file holds no usable YAML.
    #[error("Failed to read {}", .path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: YamlError,
    },
    /// A `project.yml` breaks its schema.
    #[error("Invalid project.yml ({}):\n{errors}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// One indented line per error.
        errors: String,
    },
    /// `project.id` is not the name of the project's directory.
    #[error("project id `{}` in `{}` differs from the name of its directory, `{dir}`", sanitize_tty(.id), .path.display())]
    Renamed {
        /// What the file says.
        id: String,
        /// The directory's name.
        dir: String,
        /// The file.
        path: PathBuf,
    },
    /// Gatekeeping without a gate.
    #[error("project `{0}`: security class `gatekeeping` needs its gate, but `gate.enabled` is false")]
    NoGate(String),
    /// `shared_dir` is not absolute.
    #[error("shared_dir must be an absolute path, not `{}`", sanitize_tty(.0))]
    SharedDir(String),
    /// A path that is no text cannot be handed on.
    #[error("path `{}` is not UTF-8", sanitize_tty(&.0.to_string_lossy()))]
    NotText(PathBuf),
    /// `git.authorship` is none of its values.
    #[error("invalid git.authorship `{}`; valid values: {}", sanitize_tty(.0), crate::identity::AUTHORSHIP_MODES.join(", "))]
    Authorship(String),
    /// No preset has the name.
    #[error("preset `{}` not found; {known}", sanitize_tty(.name))]
    NoPreset {
        /// The name.
        name: String,
        /// The presets there are.
        known: String,
    },
    /// A text is no name of a preset.
    #[error("invalid preset name `{}`: only letters, digits, `.`, `_` and `-`, and no `.` in front", sanitize_tty(.0))]
    BadPreset(String),
    /// The new project is there already.
    #[error("project `{id}` already exists at `{}`", .path.display())]
    Exists {
        /// Its id.
        id: String,
        /// Its directory.
        path: PathBuf,
    },
    /// A file or directory could not be written.
    #[error("cannot write `{}`", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A section of a `project.yml` could not be changed.
    #[error("cannot change `{}`", .path.display())]
    Edit {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The wizard's template could not be filled.
    #[error("cannot render project.yml: {0}")]
    Render(String),
    /// An answer the wizard needs is missing.
    #[error("{0}")]
    Missing(&'static str),
    /// A base image the wizard does not offer.
    #[error("{}", sanitize_tty(.0))]
    UnknownBase(String),
    /// A directory could not be named.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl Fault for ProjectError {
    fn code(&self) -> &'static str {
        match self {
            Self::BadId { .. } => "project-id",
            Self::Unknown { .. } => "project-unknown",
            Self::Read { .. } => "project-read",
            Self::Yaml { .. } => "project-yaml",
            Self::Invalid { .. } => "project-invalid",
            Self::Renamed { .. } => "project-renamed",
            Self::NoGate(_) => "project-no-gate",
            Self::SharedDir(_) => "project-shared-dir",
            Self::NotText(_) => "project-path",
            Self::Authorship(_) => "git-authorship",
            Self::NoPreset { .. } => "preset-unknown",
            Self::BadPreset(_) => "preset-name",
            Self::Exists { .. } => "project-exists",
            Self::Write { .. } => "project-write",
            Self::Edit { .. } => "project-edit",
            Self::Render(_) => "project-render",
            Self::Missing(_) => "wizard-answer-missing",
            Self::UnknownBase(_) => "wizard-base-unknown",
            Self::Path(source) => source.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::BadId { .. } => Some("choose another id, for example `web-app`".to_owned()),
            Self::Unknown { .. } => Some("`terok project list` shows the projects there are".to_owned()),
            Self::Renamed { id, dir, .. } => {
                let id = sanitize_tty(id);
                Some(format!("set `project.id` to `{dir}`, or rename the directory to `{id}`"))
            }
            Self::NoGate(_) => Some("set `gate.enabled: true`, or `project.security_class: online`".to_owned()),
            Self::Path(source) => source.hint(),
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Render(_) => Kind::Value,
            Self::Missing(_) | Self::UnknownBase(_) => Kind::Key,
            Self::Path(source) => source.kind(),
            _ => Kind::Usage,
        }
    }
}

impl ProjectError {
    pub(crate) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Write { path: path.to_owned(), source }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }
}
