//! Errors of the policy: entries, profiles and the state directory.

use std::io;
use std::path::PathBuf;

use base::fault::{Fault, Kind};

/// Why a policy cannot be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum ShieldError {
    /// A text is no entry.
    #[error("cannot use the entry `{text}`: {why}")]
    Entry {
        /// The text, safe to print.
        text: String,
        /// The broken rule.
        why: String,
    },
    /// A profile's name is malformed.
    #[error("cannot use the profile `{0}`: a name has letters, digits, `.`, `_` and `-`")]
    ProfileName(String),
    /// There is no such profile.
    #[error("cannot find the profile `{0}`")]
    NoProfile(String),
    /// A profile cannot be read.
    #[error("cannot read the profile `{}`", .path.display())]
    ReadProfile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The state directory must not be used.
    #[error("cannot use the state directory `{}`: {why}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The broken rule.
        why: &'static str,
    },
    /// A file of the state directory cannot be read or written.
    #[error("cannot {verb} `{}`", .path.display())]
    File {
        /// `read`, `write` or `lock`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A container id is malformed.
    #[error("cannot use the container id `{0}`: it is not 12 to 64 hexadecimal digits")]
    Container(String),
    /// A verdict would change nothing, because a more general entry decides.
    #[error("cannot allow `{target}`: the entry `{by}` denies it")]
    StillDenied {
        /// The target.
        target: String,
        /// The entry that decides.
        by: String,
    },
}

impl Fault for ShieldError {
    fn code(&self) -> &'static str {
        match self {
            Self::Entry { .. } => "shield-entry",
            Self::ProfileName(_) => "shield-profile-name",
            Self::NoProfile(_) => "shield-no-profile",
            Self::ReadProfile { .. } => "shield-read-profile",
            Self::Directory { .. } => "shield-directory",
            Self::File { .. } => "shield-file",
            Self::Container(_) => "shield-container",
            Self::StillDenied { .. } => "shield-still-denied",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Entry { .. } => Some("write a name, an address, a network such as `192.0.2.0/24`, or `@pypi`".into()),
            Self::NoProfile(_) => Some("list the profiles with `terok-shield profiles`".into()),
            Self::Directory { .. } => Some("make it a directory of your own with mode 0700".into()),
            Self::StillDenied { by, .. } => Some(format!("allow `{by}` first")),
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Entry { .. } | Self::ProfileName(_) | Self::Container(_) => Kind::Value,
            Self::NoProfile(_) => Kind::NotFound,
            Self::ReadProfile { .. } | Self::File { .. } => Kind::Os,
            Self::Directory { .. } | Self::StillDenied { .. } => Kind::Runtime,
        }
    }
}
