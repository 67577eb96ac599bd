//! Why a launch did not happen, or was taken back.
//!
//! Every fault names its object and the next step. Podman's own words are kept: they follow the contract's heading.

use std::path::PathBuf;

use base::fault::{Fault, Kind};
use podman::PodmanError;

use crate::cause::Cause;

/// A launch that did not work out.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A part of the description is not acceptable.
    #[error("{what} `{}` {why}", base::text::sanitize_tty(.value))]
    Spec {
        /// Which part.
        what: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// A host path must not be mounted.
    #[error("cannot mount `{}`: {danger}", base::text::sanitize_tty(&.path.to_string_lossy()))]
    DangerousMount {
        /// The path as the caller gave it.
        path: PathBuf,
        /// Why not.
        danger: crate::hostdir::Danger,
    },
    /// A name is not acceptable.
    #[error(transparent)]
    Name(#[from] base::ident::BadName),
    /// The path of the container's sockets would not fit a socket address.
    #[error("the runtime directory `{0}` is too long for socket addresses")]
    LongPath(PathBuf),
    /// A container of this name exists.
    #[error("the container name `{0}` is already in use")]
    NameInUse(String),
    /// Another process is launching the same name.
    #[error("process {pid} is launching `{container}` at this moment")]
    Busy {
        /// The name.
        container: String,
        /// The other process.
        pid: i32,
    },
    /// The supervisor is not installed in a way that podman would start it.
    #[error("the supervisor of `{container}` would not be started")]
    Hooks {
        /// The container.
        container: String,
        /// What is missing.
        #[source]
        source: Box<crate::hook::HookFault>,
    },
    /// Podman's configuration cannot be used.
    #[error(transparent)]
    Site(podman::ConfFileError),
    /// A configuration file of the administrator exists and does not count.
    #[error("cannot launch a container without the administrator's settings: {0}")]
    Administrator(String),
    /// The container ran without an answering supervisor and was taken back.
    #[error("the supervisor of `{container}` does not answer: {why}")]
    Unsupervised {
        /// The container.
        container: String,
        /// What is known about it.
        why: String,
    },
    /// There is no podman.
    #[error("podman was not found")]
    PodmanMissing,
    /// The image would change how podman and the OCI runtime run it.
    #[error(
        "cannot run image `{}`: its annotation or label `{}` changes how containers run",
        base::text::sanitize_tty(.image),
        base::text::sanitize_tty(.key)
    )]
    Image {
        /// Its name.
        image: String,
        /// The annotation or label.
        key: String,
    },
    /// Root of the host launches, and nothing says that it may.
    #[error("cannot launch a container as root of this host: its root would be the host's root on every mount")]
    Root,
    /// Podman refused.
    #[error("Container launch failed:\n{complaint}")]
    Refused {
        /// What we read in its words.
        cause: Cause,
        /// Its words.
        complaint: String,
    },
    /// A podman call around the launch went wrong.
    #[error("the launch of `{container}` was broken off")]
    Podman {
        /// The container.
        container: String,
        /// The call.
        #[source]
        source: PodmanError,
    },
    /// A file or directory of the launch could not be made or removed.
    #[error("cannot {verb} `{path}`")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl LaunchError {
    /// A refused part of the description.
    pub fn spec(what: &'static str, value: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Spec { what, value: value.into(), why: why.into() }
    }

    /// For `map_err`: what was tried on which file.
    pub fn io(verb: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { verb, path, source }
    }

    /// True when the caller broke the launch off.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Podman { source: PodmanError::Interrupted { .. }, .. })
    }
}

impl Fault for LaunchError {
    fn code(&self) -> &'static str {
        match self {
            Self::Spec { .. } => "launch-spec",
            Self::DangerousMount { .. } => "launch-dangerous-mount",
            Self::Name(_) => "launch-name",
            Self::LongPath(_) => "launch-long-path",
            Self::NameInUse(_) => "launch-name-in-use",
            Self::Busy { .. } => "launch-busy",
            Self::Hooks { .. } => "launch-hooks",
            Self::Site(inner) => inner.code(),
            Self::Administrator(_) => "launch-administrator",
            Self::Unsupervised { .. } => "launch-unsupervised",
            Self::PodmanMissing => "launch-podman-missing",
            Self::Image { .. } => "launch-image-annotation",
            Self::Root => "launch-root",
            Self::Refused { cause, .. } => cause.code(),
            Self::Podman { .. } => "launch-podman",
            Self::Io { .. } => "launch-io",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Name(bad) => bad.hint(),
            Self::Spec { what, .. } if what.contains("memory") => {
                Some("give a number with a unit, such as 512m or 4g".into())
            }
            Self::Spec { what, .. } if what.contains("cpus") => Some("give a number, such as 2 or 1.5".into()),
            Self::DangerousMount { path, .. } => Some(dangerous_mount(path)),
            Self::LongPath(_) => Some("set TEROK_SANDBOX_RUNTIME_DIR to a shorter path, or use a shorter name".into()),
            Self::NameInUse(name) => Some(name_in_use(name)),
            Self::Hooks { source, .. } => source.hint().or_else(|| Some("run `terok-executor setup`".into())),
            Self::Site(inner) => inner.hint(),
            Self::Administrator(_) => Some("have the administrator correct the file and its permissions".into()),
            Self::Unsupervised { .. } => {
                Some("the container was removed; run `terok-executor setup`, then launch again".into())
            }
            Self::PodmanMissing => {
                Some("install podman 4.3 or newer, for example `apt install podman uidmap slirp4netns crun`".into())
            }
            Self::Root => Some(
                "run as an ordinary user; or set TEROK_ALLOW_ROOT=1 (option --allow-root of `terok-executor run`): the \
                 container then has ids of its own, and writable mounts are given to them"
                    .into(),
            ),
            Self::Image { .. } => Some(
                "use another image, or build one from a base image without it; podman copies annotations of a base image"
                    .into(),
            ),
            Self::Refused { cause, .. } => cause.hint(),
            Self::Podman { source, .. } => source.hint(),
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Spec { .. } | Self::Name(_) => Kind::Value,
            Self::Refused { cause: Cause::Gpu, .. } => Kind::Gpu,
            Self::Io { .. } => Kind::Os,
            _ => Kind::Usage,
        }
    }
}

/// What to do about a name that is taken.
pub fn name_in_use(name: &str) -> String {
    let remove = base::text::command_line(["podman", "rm", "-f", name]);
    format!("choose another name, or remove the container with `{remove}`")
}

/// How to choose another directory, or to insist.
fn dangerous_mount(path: &std::path::Path) -> String {
    let shown = base::text::shell_quote(&path.to_string_lossy());
    let variable = crate::hostdir::VARIABLE;
    format!(
        "give a directory that holds the project alone; to mount this one all the same, pass \
         `--allow-dangerous-mount {shown}` or set `{variable}={shown}`"
    )
}
