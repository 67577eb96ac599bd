//! The daemon's beginning: harden, read the sidecar, take or adopt the lock, find the container, then watch.
//!
//! Started by the hook it inherits the lock and the readiness pipe; started by a person it takes the lock itself and
//! asks podman for the container's process.

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use base::fault::Fault;

use crate::container::{Init, Watched};
use crate::fault::SupervisorError;
use crate::harden;
use crate::paths;
use crate::pidfile::PidFile;
use crate::ready::Teller;
use crate::service::compose;
use crate::sidecarfile::SidecarFile;
use crate::signals::Signals;
use crate::watchdog::{self, Duty};

/// Names the descriptors that the hook left open: `<readiness pipe>,<lock>`.
pub const DESCRIPTORS: &str = "TEROK_SUPERVISOR_DESCRIPTORS";

/// The daemon's arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Full id of the container.
    pub container: String,
    /// Absolute path of the sidecar.
    pub sidecar: String,
    /// The container's first process, when the hook knows it.
    pub init: Option<Init>,
}

/// Supervises to the end; the exit status.
pub fn run(order: &Order) -> u8 {
    harden::set_oom_score();
    harden::process();
    harden::allocator();
    Signals::disarm();
    let (pipe, lock) = inherited();
    let mut teller = Teller::new(pipe);
    match prepare(order, lock) {
        Ok((pidfile, rest)) => {
            let (sidecar, container, services) = rest;
            watchdog::run(Duty { sidecar, pidfile, container, teller, services, locked: None })
        }
        Err(error) => {
            teller.failed(&error);
            error.exit_code()
        }
    }
}

type Rest = (wire::sidecar::Sidecar, Watched, Vec<Box<dyn crate::service::Service>>);

fn prepare(order: &Order, lock: Option<RawFd>) -> Result<(PidFile, Rest), SupervisorError> {
    let file = SidecarFile::locate(&order.sidecar)?;
    let sidecar = file.read()?;
    pin_environment(&sidecar);
    let pidfile = take_lock(&paths::pid_file(&file.root, &order.container), order, lock)?;
    match begin(order, sidecar) {
        Ok(rest) => Ok((pidfile, rest)),
        Err(error) => {
            pidfile.remove();
            Err(error)
        }
    }
}

fn begin(order: &Order, sidecar: wire::sidecar::Sidecar) -> Result<Rest, SupervisorError> {
    let init = match order.init {
        Some(init) => init,
        None => Init::ask_podman(&order.container)?,
    };
    let container = Watched::new(init, &order.container)?;
    let services = compose(&sidecar, &order.container, init)?;
    let directory = sidecar.container_runtime_dir();
    paths::private_dir(&directory)?;
    for name in paths::SOCKETS {
        clear_obstacle(&directory, name)
            .map_err(|source| SupervisorError::Directory { path: directory.clone(), source })?;
    }
    Ok((sidecar, container, services))
}

/// Frees a socket's name of whatever else the container left there. The name is a single component, so no link is
/// followed. A directory is renamed, because removing a large one could take longer than a start may.
fn clear_obstacle(directory: &Path, name: &str) -> std::io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let path = directory.join(name);
    match std::fs::symlink_metadata(&path).map(|meta| meta.file_type()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(kind) if kind.is_socket() => Ok(()),
        Ok(kind) if kind.is_dir() => set_aside(directory, name),
        Ok(_) => std::fs::remove_file(&path),
    }
}

/// The new name cannot be foreseen, so the container cannot have taken it.
fn set_aside(directory: &Path, name: &str) -> std::io::Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    std::fs::rename(directory.join(name), directory.join(format!("{name}.{}.aside", now.as_nanos())))
}

/// A lock that was taken here is not ours to remove when somebody else holds it.
fn take_lock(path: &Path, order: &Order, inherited: Option<RawFd>) -> Result<PidFile, SupervisorError> {
    if let Some(adopted) = inherited.and_then(|fd| PidFile::adopt(path, fd)) {
        // The hook writes it as well, unless it was killed meanwhile; the next one must be able to find us.
        adopted.write(std::process::id())?;
        return Ok(adopted);
    }
    if let Some(parent) = path.parent() {
        paths::private_dir(parent)?;
    }
    let held = || SupervisorError::Held(paths::short(&order.container).to_owned());
    let taken = PidFile::try_lock(path)?.ok_or_else(held)?;
    taken.write(std::process::id())?;
    Ok(taken)
}

fn inherited() -> (Option<RawFd>, Option<RawFd>) {
    let text = std::env::var(DESCRIPTORS).unwrap_or_default();
    // SAFETY: there is one thread, and nobody else reads the environment yet.
    unsafe { std::env::remove_var(DESCRIPTORS) };
    let mut numbers = text.split(',').map(|n| n.parse().ok().filter(|n| *n > 2));
    (numbers.next().flatten(), numbers.next().flatten())
}

/// The launcher's view of where configuration lies wins over whatever podman handed on.
fn pin_environment(sidecar: &wire::sidecar::Sidecar) {
    for (name, value) in &sidecar.environment {
        // SAFETY: there is one thread, and nobody else reads the environment yet.
        unsafe { std::env::set_var(name, value) };
    }
}

/// The path that marks a process as the supervisor of an installation: `<state>/supervisor_wrapper.py`.
///
/// The state root is that of the installed executable; one run from elsewhere counts to the sidecar's root.
pub fn identity(executable: &Path, root: &Path) -> PathBuf {
    let folder = executable.parent();
    let installed = folder.filter(|f| f.file_name() == Some("hooks".as_ref()));
    let state = installed.and_then(Path::parent).unwrap_or(root);
    state.join(base::pid::SUPERVISOR_IDENTITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    // holds: container-stays-startable
    #[test]
    fn names_of_sockets_are_cleared_of_anything_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("vault.sock/deep/down")).unwrap();
        std::fs::write(at("ssh-agent.sock"), "").unwrap();
        std::os::unix::fs::symlink("/etc", at("gate-server.sock")).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(at("live.sock")).unwrap();
        for name in ["vault.sock", "ssh-agent.sock", "gate-server.sock", "live.sock", "absent.sock"] {
            clear_obstacle(dir.path(), name).unwrap();
            assert_eq!(at(name).symlink_metadata().is_ok(), name == "live.sock", "{name}");
        }
        let left = std::fs::read_dir(dir.path()).unwrap().flatten();
        let aside: Vec<_> = left.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        assert!(aside.len() == 1 && aside[0].join("deep/down").is_dir(), "{aside:?}");
    }

    #[test]
    fn identity_is_beside_the_installed_hooks() {
        let root = Path::new("/other");
        for (executable, expected) in [
            ("/state/hooks/terok-supervisor", "/state/supervisor_wrapper.py"),
            ("/usr/bin/terok-supervisor", "/other/supervisor_wrapper.py"),
        ] {
            assert_eq!(identity(Path::new(executable), root), Path::new(expected));
        }
    }
}
