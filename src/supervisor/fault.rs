//! What can keep a supervisor from starting. Exit status 2: the sidecar or the arguments; 3: everything else.

use std::io;
use std::path::PathBuf;

use base::fault::{Fault, Kind, explain};
use wire::sidecar::SidecarError;

/// Why there is no supervisor.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The arguments make no sense.
    #[error("cannot understand the arguments: {0}")]
    Usage(String),
    /// The runtime did not hand over the container's state.
    #[error("cannot read the container's state from standard input")]
    State(#[source] io::Error),
    /// The annotation does not name a sidecar of ours.
    #[error("cannot use the sidecar `{path}`: {why}")]
    Annotation {
        /// What the annotation says.
        path: String,
        /// The broken rule.
        why: &'static str,
    },
    /// The sidecar cannot be read.
    #[error("cannot read the sidecar `{path}`")]
    ReadSidecar {
        /// The sidecar.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The sidecar's content is off.
    #[error("cannot use the sidecar `{path}`")]
    Sidecar {
        /// The sidecar.
        path: PathBuf,
        /// The cause.
        source: SidecarError,
    },
    /// TCP mode without the port of a service.
    #[error("cannot serve the {service}: the sidecar asks for TCP but has no `{key}`")]
    Port {
        /// The service.
        service: &'static str,
        /// The missing member.
        key: &'static str,
    },
    /// A directory of ours cannot be made or is not ours.
    #[error("cannot prepare the directory `{path}`")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A log cannot be opened.
    #[error("cannot open the log `{path}`")]
    Log {
        /// The log.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The pid file cannot be opened, locked or written.
    #[error("cannot use the pid file `{path}`")]
    PidFile {
        /// The pid file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A live supervisor holds the lock.
    #[error("cannot supervise container `{0}`: another supervisor serves it")]
    Held(String),
    /// The container's process is not to be found.
    #[error("cannot watch container `{container}`: {why}")]
    Container {
        /// The container's id.
        container: String,
        /// What is wrong.
        why: String,
    },
    /// The name of a socket does not fit the kernel's structure.
    #[error(
        "cannot bind `{}`: the path has {} bytes and a socket's may have {}",
        .0.display(), .0.as_os_str().len(), crate::paths::SOCKET_PATH_MAX
    )]
    SocketPath(PathBuf),
    /// A service cannot start.
    #[error("cannot start the {service}")]
    Service {
        /// The service.
        service: &'static str,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// What the cause says can be done.
        hint: Option<String>,
    },
    /// A process cannot be started.
    #[error("cannot start the supervisor's process")]
    Spawn(#[source] io::Error),
    /// The daemon's executable cannot be run.
    #[error("cannot run the supervisor's program `{path}`")]
    Program {
        /// The executable.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The daemon gave its cause through the readiness pipe.
    #[error("{text}")]
    Reported {
        /// The cause, as one line.
        text: String,
        /// The daemon's exit status.
        code: u8,
    },
    /// The daemon ended without a word.
    #[error("the supervisor ended before it was ready")]
    Died,
    /// The daemon neither served nor failed in time.
    #[error("the supervisor was not ready within {0} s")]
    Slow(u64),
}

impl SupervisorError {
    /// Wraps what kept a service from starting, with its hint.
    pub fn service(service: &'static str, source: impl Fault + Send + Sync + 'static) -> Self {
        let hint = source.hint();
        Self::Service { service, source: Box::new(source), hint }
    }

    /// Message, causes and hint on one line, for a log or a pipe.
    pub fn one_line(&self) -> String {
        base::text::sanitize_tty(&explain(self).replace("\nhint: ", "; hint: "))
    }
}

impl Fault for SupervisorError {
    fn code(&self) -> &'static str {
        match self {
            Self::Usage(_) => "supervisor-usage",
            Self::State(_) => "supervisor-state",
            Self::Annotation { .. } => "supervisor-annotation",
            Self::ReadSidecar { .. } => "supervisor-read-sidecar",
            Self::Sidecar { .. } => "supervisor-sidecar",
            Self::Port { .. } => "supervisor-port",
            Self::Directory { .. } => "supervisor-directory",
            Self::Log { .. } => "supervisor-log",
            Self::PidFile { .. } => "supervisor-pid-file",
            Self::Held(_) => "supervisor-held",
            Self::Container { .. } => "supervisor-container",
            Self::SocketPath(_) => "supervisor-socket-path",
            Self::Service { .. } => "supervisor-service",
            Self::Spawn(_) => "supervisor-spawn",
            Self::Program { .. } => "supervisor-program",
            Self::Reported { .. } => "supervisor-reported",
            Self::Died => "supervisor-died",
            Self::Slow(_) => "supervisor-slow",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Service { hint, .. } => hint.clone(),
            Self::Sidecar { source, .. } => source.hint(),
            Self::Annotation { .. } | Self::Port { .. } => {
                Some("launch the container again through the launcher".into())
            }
            Self::SocketPath(_) => {
                Some("choose a shorter container name, or a shorter TEROK_SANDBOX_RUNTIME_DIR".into())
            }
            Self::Program { .. } => Some("install the hooks again with `terok-executor setup`".into()),
            Self::Died | Self::Slow(_) => Some("the container's log says more".into()),
            _ => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Annotation { .. } | Self::ReadSidecar { .. } | Self::Sidecar { .. } => 2,
            Self::Reported { code, .. } => *code,
            _ => 3,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Usage(_) => Kind::Usage,
            Self::Annotation { .. } | Self::Sidecar { .. } | Self::SocketPath(_) => Kind::Value,
            Self::Directory { .. } | Self::Log { .. } | Self::PidFile { .. } | Self::Program { .. } => Kind::Os,
            Self::Slow(_) => Kind::Timeout,
            _ => Kind::Runtime,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_keeps_cause_and_hint() {
        let error = SupervisorError::Sidecar { path: "/s/a\nb.json".into(), source: SidecarError::Shape };
        let line = error.one_line();
        assert!(!line.contains('\n') && line.contains("not a JSON object"));
        assert!(line.contains("; hint: launch"), "{line}");
        assert_eq!(error.exit_code(), 2);
        let name = format!("/r/{}", "x".repeat(120));
        let long = SupervisorError::SocketPath(name.into());
        assert!(long.one_line().contains("has 123 bytes"), "{}", long.one_line());
    }
}
