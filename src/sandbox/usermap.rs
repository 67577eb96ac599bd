//! Decides how the ids inside a container map to ids of the host.
//!
//! | podman runs as | the container gets |
//! |---|---|
//! | an ordinary user | that user's ids; the user is 1000 inside |
//! | root of a user namespace | the ids of that namespace |
//! | root of the host | nothing, unless the caller asks for it: then a range of ids that no account has |
//!
//! Invariant: no id inside a container is root of the host, so neither a process nor a file that it makes is.

use crate::fault::LaunchError;

/// Maps the caller to the image's user.
const KEEP_ID: &str = "--userns=keep-id:uid=1000,gid=1000";
/// The first host id of containers of root, above all ranges that are given to accounts and containers by default.
pub const FIRST_ID: u32 = 0x7f00_0000;
/// How many ids a container of root has.
pub const IDS: u32 = 65_536;

/// How ids are mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserMap {
    /// The caller is the image's user.
    Caller,
    /// As in the surrounding user namespace.
    #[default]
    Surrounding,
    /// A range of ids that no account has.
    Subordinate,
}

impl UserMap {
    /// For this process; `allow_root` says that root of the host may launch.
    ///
    /// # Errors
    /// [`LaunchError::Root`].
    pub fn detect(allow_root: bool) -> Result<Self, LaunchError> {
        Self::choose(base::user::effective_uid() == 0, base::user::is_really_root(), allow_root)
    }

    fn choose(root: bool, of_the_host: bool, allow_root: bool) -> Result<Self, LaunchError> {
        match (root, of_the_host) {
            (false, _) => Ok(Self::Caller),
            (true, false) => Ok(Self::Surrounding),
            (true, true) if allow_root => Ok(Self::Subordinate),
            (true, true) => Err(LaunchError::Root),
        }
    }

    /// Podman's options.
    pub fn args(self) -> Vec<String> {
        let range = format!("0:{FIRST_ID}:{IDS}");
        match self {
            Self::Caller => vec![KEEP_ID.to_owned()],
            Self::Surrounding => Vec::new(),
            Self::Subordinate => vec!["--uidmap".into(), range.clone(), "--gidmap".into(), range],
        }
    }

    /// True when podman runs rootless.
    pub fn rootless(self) -> bool {
        self == Self::Caller
    }

    /// True when podman must give writable mounts to the container's user.
    pub fn reowns(self) -> bool {
        self == Self::Subordinate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // holds: root-is-refused
    #[test]
    fn root_of_the_host_launches_only_when_asked_for() {
        assert_eq!(UserMap::choose(false, false, false).unwrap(), UserMap::Caller);
        assert_eq!(UserMap::choose(true, false, false).unwrap(), UserMap::Surrounding);
        assert!(matches!(UserMap::choose(true, true, false), Err(LaunchError::Root)));
        let map = UserMap::choose(true, true, true).unwrap();
        assert_eq!(map.args().join(" "), "--uidmap 0:2130706432:65536 --gidmap 0:2130706432:65536");
        assert!(map.reowns() && !map.rootless());
    }
}
