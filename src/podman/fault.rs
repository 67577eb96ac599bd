//! What can go wrong with a podman call.
//!
//! A non-zero exit status is a fault only where the caller has no use for it; then the fault carries podman's own words,
//! cleaned for a terminal.

use base::fault::{Fault, Kind};

/// A podman call that did not do what it was made for.
#[derive(Debug, thiserror::Error)]
pub enum PodmanError {
    /// There is no podman on `PATH`.
    #[error("`{program}` is not installed")]
    Missing {
        /// The program that was looked for.
        program: String,
    },
    /// The call was given up when its time had passed.
    #[error("podman did not {verb} `{object}` within {seconds} s")]
    TimedOut {
        /// What was asked of podman.
        verb: &'static str,
        /// Container or image.
        object: String,
        /// The limit.
        seconds: f64,
    },
    /// The output did not end where we stop keeping it.
    #[error("cannot {verb} `{object}`: the output is larger than {most} bytes")]
    TooLarge {
        /// What was asked of podman.
        verb: &'static str,
        /// Container or image.
        object: String,
        /// The bound.
        most: usize,
    },
    /// Podman answered with a non-zero status.
    #[error("cannot {verb} `{object}`: podman failed (rc={code}): {complaint}")]
    Failed {
        /// What was asked of podman.
        verb: &'static str,
        /// Container or image.
        object: String,
        /// Exit status.
        code: i32,
        /// Podman's error output, or a remark that there is none.
        complaint: String,
    },
    /// Podman succeeded and printed something else than expected.
    #[error("cannot {verb} `{object}`: podman printed {found}")]
    Garbled {
        /// What was asked of podman.
        verb: &'static str,
        /// Container or image.
        object: String,
        /// What was printed, quoted.
        found: String,
    },
    /// The name of the object would be read as an option.
    #[error("cannot {verb} `{object}`: no container or image can have this name")]
    BadName {
        /// What was asked of podman.
        verb: &'static str,
        /// The refused name.
        object: String,
    },
    /// The caller broke the call off.
    #[error("the call was interrupted while podman was to {verb} `{object}`")]
    Interrupted {
        /// What was asked of podman.
        verb: &'static str,
        /// Container or image.
        object: String,
    },
    /// Podman is older than what we can work with.
    #[error("podman {found} is too old")]
    TooOld {
        /// Its version.
        found: String,
    },
    /// The program could not be run at all.
    #[error("cannot run `{program}`")]
    Io {
        /// The program.
        program: String,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
}

impl Fault for PodmanError {
    fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "podman-missing",
            Self::TimedOut { .. } => "podman-timeout",
            Self::TooLarge { .. } => "podman-too-large",
            Self::Failed { .. } => "podman-failed",
            Self::Garbled { .. } => "podman-garbled",
            Self::Interrupted { .. } => "podman-interrupted",
            Self::BadName { .. } => "podman-bad-name",
            Self::TooOld { .. } => "podman-too-old",
            Self::Io { .. } => "podman-io",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => {
                Some("install podman 4.3 or newer, for example `apt install podman uidmap slirp4netns crun`".into())
            }
            Self::TooOld { .. } => Some("podman 4.3 or newer is needed".into()),
            Self::TooLarge { object, .. } => {
                let see = base::text::command_line(["podman", "logs", "--tail", "100", object]);
                Some(format!("ask for less, for a log for example with `{see}`"))
            }
            Self::TimedOut { .. } => Some("is another podman command hanging? `podman ps` must answer".into()),
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. } => Kind::NotFound,
            Self::TimedOut { .. } => Kind::Timeout,
            Self::Io { .. } => Kind::Os,
            _ => Kind::Runtime,
        }
    }
}
