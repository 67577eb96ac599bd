//! Chooses the seccomp profile of a container, and stores it where podman reads it.
//!
//! The profiles are the data that `tools/seccomp.py` makes. They are written below the state directory and not read from
//! the installed package, because podman reads the file again and a package can be removed. A microVM keeps podman's
//! own profile: its guest has a kernel of its own, and the filter would act on the monitor.

use std::path::PathBuf;

use crate::extra;
use crate::fault::LaunchError;
use crate::spec::{Place, RunSpec};

const MICROVM: &str = "krun";
const LIMIT: u64 = 256 * 1024;

/// Which calls a container may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// For every container without a reason for another one.
    Standard,
    /// For containers with `no-new-privileges`: files get no setuid and setgid bits.
    Restricted,
    /// For containers that run containers: user namespaces and mounts.
    Nested,
}

impl Profile {
    /// The profile of a launch; `None` where podman's own one stays.
    pub fn of(spec: &RunSpec) -> Option<Self> {
        match spec {
            _ if spec.runtime.as_deref() == Some(MICROVM) => None,
            _ if is_nested(&spec.extra_args) => Some(Self::Nested),
            _ if !spec.unrestricted => Some(Self::Restricted),
            _ => Some(Self::Standard),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Restricted => "restricted",
            Self::Nested => "nested",
        }
    }

    /// The profile as podman reads it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Standard => include_str!("../../python/terok_sandbox/resources/seccomp/standard.json"),
            Self::Restricted => include_str!("../../python/terok_sandbox/resources/seccomp/restricted.json"),
            Self::Nested => include_str!("../../python/terok_sandbox/resources/seccomp/nested.json"),
        }
    }

    /// Stores the profile and returns its path.
    ///
    /// # Errors
    /// [`LaunchError::Io`] when it cannot be written.
    pub fn install(self, place: &Place) -> Result<PathBuf, LaunchError> {
        let path = place.state_dir.join("podman").join(format!("seccomp-{}.json", self.name()));
        if !base::file::read_regular(&path, LIMIT).is_ok_and(|bytes| bytes == self.text().as_bytes()) {
            base::file::write_private(&path, self.text().as_bytes()).map_err(LaunchError::io("write", &path))?;
        }
        Ok(path)
    }

    /// Podman's option for this profile.
    ///
    /// # Errors
    /// As [`Profile::install`].
    pub fn option(self, place: &Place) -> Result<String, LaunchError> {
        Ok(format!("seccomp={}", self.install(place)?.display()))
    }
}

/// True when these options ask for containers inside the container.
pub fn is_nested(options: &[String]) -> bool {
    extra::values(options, "--security-opt").contains(&"label=nested")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn spec(extra: &[&str], unrestricted: bool, runtime: Option<&str>) -> RunSpec {
        serde_json::from_value(serde_json::json!({
            "container_name": "c", "image": "i", "extra_args": extra, "unrestricted": unrestricted, "runtime": runtime,
        }))
        .unwrap()
    }

    #[test]
    fn the_launch_decides_the_profile() {
        assert_eq!(Profile::of(&spec(&[], true, None)), Some(Profile::Standard));
        assert_eq!(Profile::of(&spec(&[], false, Some("crun"))), Some(Profile::Restricted));
        assert_eq!(Profile::of(&spec(&["--security-opt", "label=nested"], false, None)), Some(Profile::Nested));
        assert_eq!(Profile::of(&spec(&["--security-opt=label=nested"], true, Some("krun"))), None);
    }

    #[test]
    fn a_profile_is_stored_privately_and_repaired() {
        let dir = tempfile::tempdir().unwrap();
        let place =
            Place { state_dir: dir.path().join("s"), runtime_dir: dir.path().join("r"), tcp: false, allow_root: false };
        let path = Profile::Nested.install(&place).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(Profile::Nested.option(&place).unwrap(), format!("seccomp={}", path.display()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), Profile::Nested.text());
    }
}
