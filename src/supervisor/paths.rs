//! Where a container's supervisor keeps its things, derived from the sidecar alone.
//!
//! Everything about credentials lies beside the vault named in the sidecar, the session's passphrase beside the
//! sockets; what the environment says about such places is not asked.

use std::path::{Path, PathBuf};

use wire::sidecar::Sidecar;

use crate::fault::SupervisorError;

/// Longest path that fits the kernel's socket address, in bytes (one of its 108 ends the text).
pub const SOCKET_PATH_MAX: usize = 107;
/// Sockets that a supervisor may leave in a container's runtime directory.
pub const SOCKETS: [&str; 3] = ["vault.sock", "ssh-agent.sock", "gate-server.sock"];

/// The pid file of a container.
pub fn pid_file(root: &Path, container: &str) -> PathBuf {
    root.join("pids").join(format!("supervisor-{container}.pid"))
}

/// The log of a container, which takes all output of its supervisor.
pub fn container_log(root: &Path, container: &str) -> PathBuf {
    root.join("logs").join(format!("{container}.log"))
}

/// The diary of all hooks.
pub fn hook_log(root: &Path) -> PathBuf {
    root.join("logs").join("hook.log")
}

/// A socket in the container's runtime directory.
///
/// # Errors
/// [`SupervisorError::SocketPath`] when the kernel could not take the whole path.
pub fn socket(sidecar: &Sidecar, name: &str) -> Result<PathBuf, SupervisorError> {
    let path = sidecar.container_runtime_dir().join(name);
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        return Err(SupervisorError::SocketPath(path));
    }
    Ok(path)
}

/// A file beside the vault.
pub fn beside_vault(sidecar: &Sidecar, name: &str) -> PathBuf {
    sidecar.db_path.with_file_name(name)
}

/// The passphrase of the operator's session.
pub fn session_file(sidecar: &Sidecar) -> PathBuf {
    sidecar.runtime_dir.join("vault.passphrase")
}

/// The first characters of an id, as people and socket names use them.
pub fn short(container: &str) -> &str {
    container.get(..12).unwrap_or(container)
}

/// Makes a directory with its parents, or takes one that is there, and forces 0700.
///
/// # Errors
/// [`SupervisorError::Directory`], also for a link or a directory of somebody else.
pub fn private_dir(path: &Path) -> Result<(), SupervisorError> {
    let failed = |source| SupervisorError::Directory { path: path.to_owned(), source };
    base::file::create_private_dir(path).map_err(failed)?;
    let flags = rustix::fs::OFlags::DIRECTORY
        | rustix::fs::OFlags::RDONLY
        | rustix::fs::OFlags::NOFOLLOW
        | rustix::fs::OFlags::CLOEXEC;
    let dir = rustix::fs::open(path, flags, rustix::fs::Mode::empty());
    let dir = dir.map_err(|e| failed(e.into()))?;
    rustix::fs::fchmod(&dir, rustix::fs::Mode::from_raw_mode(0o700)).map_err(|e| failed(e.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    // improves: 21-1.1-one-directory 21-7.6-runtime-directory
    #[test]
    fn everything_hangs_on_the_sidecar() {
        let mut sidecar = Sidecar {
            container_name: "c".into(),
            db_path: "/v/credentials.db".into(),
            runtime_dir: "/r".into(),
            ..Sidecar::default()
        };
        let routes = beside_vault(&sidecar, "routes.json");
        assert_eq!(routes, Path::new("/v/routes.json"));
        assert_eq!(session_file(&sidecar), Path::new("/r/vault.passphrase"));
        let socket_path = socket(&sidecar, "vault.sock").unwrap();
        assert_eq!(socket_path, Path::new("/r/run/c/vault.sock"));
        sidecar.container_name = "n".repeat(89);
        assert_eq!(socket(&sidecar, "vault.sock").unwrap().as_os_str().len(), 107);
        sidecar.container_name.push('n');
        assert!(socket(&sidecar, "vault.sock").is_err());
    }

    #[test]
    fn directories_are_private_and_links_refused() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o777)).unwrap();
        private_dir(&inner).unwrap();
        let mode = std::fs::metadata(&inner).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        symlink(&inner, dir.path().join("l")).unwrap();
        assert!(private_dir(&dir.path().join("l")).is_err());
    }
}
