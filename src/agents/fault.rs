//! Everything that can go wrong in this room, one variant per failed operation.
//!
//! Invariant: the text names the object; the way out is in the hint.

use std::io;
use std::path::PathBuf;

use base::fault::{Fault, Kind};
use base::text::sanitize_tty;

/// A failed operation on rosters, providers, agent configuration or container environment.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// One roster entry breaks the schema or a value rule.
    #[error("invalid roster YAML for agent `{agent}` in `{origin}`: {key}: {why}")]
    RosterEntry {
        /// Entry name.
        agent: String,
        /// Files the entry was read from.
        origin: String,
        /// Dotted key.
        key: String,
        /// Broken rule.
        why: String,
    },
    /// Two routes claim one prefix.
    #[error("vault route prefix `{prefix}` is claimed by both `{first}` and `{second}`")]
    RoutePrefix {
        /// The prefix.
        prefix: String,
        /// Earlier provider.
        first: String,
        /// Later provider.
        second: String,
    },
    /// Two providers want one variable with different values.
    #[error("auto-approve variable `{key}` gets conflicting values from `{first}` and `{second}`")]
    AutoApprove {
        /// The variable.
        key: String,
        /// Earlier provider.
        first: String,
        /// Later provider.
        second: String,
    },
    /// No provider of that name.
    #[error("unknown agent `{}`; known: {known}", sanitize_tty(.name))]
    UnknownProvider {
        /// Asked name.
        name: String,
        /// Known names.
        known: String,
    },
    /// No authentication section of that name.
    #[error("Unknown auth provider `{}`; known: {known}", sanitize_tty(.name))]
    UnknownAuth {
        /// Asked name.
        name: String,
        /// Known names.
        known: String,
    },
    /// No sidecar section of that name.
    #[error("No sidecar config for `{}`; tools with one: {known}", sanitize_tty(.name))]
    NoSidecar {
        /// Asked name.
        name: String,
        /// Known names.
        known: String,
    },
    /// A selection names entries that do not exist.
    #[error("Unknown roster entries: {unknown} (available: {known})")]
    Selection {
        /// Unknown tokens.
        unknown: String,
        /// Installable names.
        known: String,
    },
    /// A dependency cannot be installed.
    #[error("`{agent}` depends on `{dependency}`, which has no install section")]
    Dependency {
        /// Dependent entry.
        agent: String,
        /// Missing entry.
        dependency: String,
    },
    /// A configuration value of a provider cannot be used.
    #[error("agent `{provider}`: setting `{key}` is {value}, expected {expected}")]
    Setting {
        /// Provider name.
        provider: String,
        /// Key.
        key: &'static str,
        /// Its value, as text.
        value: String,
        /// Accepted values.
        expected: &'static str,
    },
    /// The Claude wrapper was asked for without its generator.
    #[error("the wrapper of `claude` needs `claude_wrapper_fn`")]
    ClaudeWrapper,
    /// A wrapper template failed to render.
    #[error("cannot render the wrapper of `{provider}`")]
    Wrapper {
        /// Provider name.
        provider: String,
        /// Reason.
        #[source]
        source: minijinja::Error,
    },
    /// The agent configuration needs the shared mounts.
    #[error("`mounts_base` is missing; the shared agent configuration lives there")]
    NoMountsBase,
    /// A name that becomes a path component is unsafe.
    #[error(transparent)]
    Name(#[from] base::ident::BadName),
    /// A markdown agent file has a broken header.
    #[error("cannot read the front matter of `{path}`: {why}")]
    FrontMatter {
        /// The file.
        path: PathBuf,
        /// Reason.
        why: String,
    },
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
    /// A shared mount holds something that is neither plain directory nor plain file.
    #[error("refusing the shared mount entry `{path}`: {why}")]
    SharedMount {
        /// Object.
        path: PathBuf,
        /// Reason.
        why: String,
    },
    /// A shared configuration file could not be patched.
    #[error("Failed to {verb} the vault settings of `{provider}` in `{path}`: {why}")]
    Patch {
        /// `apply` or `remove`.
        verb: &'static str,
        /// Provider name.
        provider: String,
        /// Object.
        path: PathBuf,
        /// Reason.
        why: String,
    },
    /// The private copies of the agent folders could not be prepared.
    #[error(transparent)]
    Home(#[from] home::HomeError),
    /// The container environment was asked for with an unusable value.
    #[error("`{field}` is {value}: {why}")]
    Spec {
        /// Field of the specification.
        field: &'static str,
        /// Its value.
        value: String,
        /// Broken rule.
        why: &'static str,
    },
}

impl AgentError {
    /// A closure that turns an I/O error into [`AgentError::File`].
    pub fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

impl Fault for AgentError {
    fn code(&self) -> &'static str {
        match self {
            Self::RosterEntry { .. } => "roster-entry",
            Self::RoutePrefix { .. } => "roster-route-prefix",
            Self::AutoApprove { .. } => "roster-auto-approve",
            Self::UnknownProvider { .. } => "unknown-agent",
            Self::UnknownAuth { .. } => "unknown-auth-provider",
            Self::NoSidecar { .. } => "no-sidecar",
            Self::Selection { .. } => "agent-selection",
            Self::Dependency { .. } => "agent-dependency",
            Self::Setting { .. } => "agent-setting",
            Self::ClaudeWrapper => "claude-wrapper",
            Self::Wrapper { .. } => "wrapper-render",
            Self::NoMountsBase => "no-mounts-base",
            Self::Name(_) => "unsafe-name",
            Self::FrontMatter { .. } => "front-matter",
            Self::File { .. } => "agent-file",
            Self::SharedMount { .. } => "shared-mount",
            Self::Patch { .. } => "config-patch",
            Self::Home(error) => error.code(),
            Self::Spec { .. } => "environment-spec",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::RosterEntry { .. } => Some("correct or remove the file, then try again".into()),
            Self::SharedMount { path, .. } => {
                Some(format!("a container may have put it there; inspect and remove `{}`", path.display()))
            }
            Self::Home(error) => error.hint(),
            Self::UnknownProvider { .. } => Some("`terok-executor agents list` shows what can be run".into()),
            Self::File { source, path, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some(format!("check the ownership of `{}`", path.display()))
            }
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::UnknownProvider { .. }
            | Self::UnknownAuth { .. }
            | Self::NoSidecar { .. }
            | Self::SharedMount { .. }
            | Self::Spec { .. } => Kind::Usage,
            Self::RosterEntry { .. }
            | Self::RoutePrefix { .. }
            | Self::AutoApprove { .. }
            | Self::Selection { .. }
            | Self::Dependency { .. }
            | Self::Setting { .. }
            | Self::ClaudeWrapper
            | Self::NoMountsBase
            | Self::Name(_)
            | Self::FrontMatter { .. } => Kind::Value,
            Self::Wrapper { .. } => Kind::Runtime,
            Self::Patch { .. } => Kind::ConfigPatch,
            Self::File { .. } => Kind::Os,
            Self::Home(error) => error.kind(),
        }
    }
}
