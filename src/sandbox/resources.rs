//! What one container gets for itself: a private directory for sockets, and ports in TCP mode.
//!
//! Invariants: the name is checked before a path is made of it; the directory is 0700; the ports of one call differ.

use std::net::TcpListener;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fault::LaunchError;
use crate::spec::Place;

/// Longest socket name that is bound in the directory, with its separator.
const LONGEST_SOCKET: usize = "/gate-server.sock".len();
/// Bytes that a socket address holds, without the closing NUL.
const SUN_PATH: usize = 107;

/// The resources of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerContainerResources {
    /// Directory that is mounted at `/run/terok`.
    pub container_runtime_dir: PathBuf,
    /// Port of the credential broker (TCP mode).
    pub token_broker_port: Option<u16>,
    /// Port of the SSH signer (TCP mode).
    pub ssh_signer_port: Option<u16>,
    /// Port of the git gate (TCP mode).
    pub gate_port: Option<u16>,
}

/// Makes the directory and finds the ports.
///
/// # Errors
/// [`LaunchError`] for an unsafe name, a path that is too long for sockets, or when the operating system refuses.
pub fn allocate(place: &Place, container: &str) -> Result<PerContainerResources, LaunchError> {
    base::ident::check_container_name(container)?;
    let directory = place.container_runtime_dir(container);
    if !place.tcp && directory.as_os_str().len() + LONGEST_SOCKET > SUN_PATH {
        return Err(LaunchError::LongPath(directory));
    }
    make_directory(&directory)?;
    let mut ports = if place.tcp {
        free_ports(3).map_err(LaunchError::io("find free ports for", &directory))?.into_iter().map(Some).collect()
    } else {
        vec![None; 3]
    };
    Ok(PerContainerResources {
        gate_port: ports.pop().flatten(),
        ssh_signer_port: ports.pop().flatten(),
        token_broker_port: ports.pop().flatten(),
        container_runtime_dir: directory,
    })
}

/// A plain directory of mode 0700; a link or a file of that name is refused.
fn make_directory(directory: &std::path::Path) -> Result<(), LaunchError> {
    use std::os::unix::fs::PermissionsExt;
    let fail = || LaunchError::io("create", directory);
    base::file::create_private_dir(directory).map_err(fail())?;
    let meta = std::fs::symlink_metadata(directory).map_err(fail())?;
    if !meta.is_dir() {
        return Err(fail()(std::io::Error::from_raw_os_error(rustix::io::Errno::NOTDIR.raw_os_error())));
    }
    if meta.permissions().mode() & 0o777 != 0o700 {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).map_err(fail())?;
    }
    Ok(())
}

/// Distinct free ports of the loopback; all are held until the last is found.
fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn place(root: &std::path::Path, tcp: bool) -> Place {
        Place { state_dir: root.join("s"), runtime_dir: root.join("r"), tcp }
    }

    #[test]
    fn socket_mode_has_a_private_directory_and_no_ports() {
        let root = tempfile::tempdir().unwrap();
        let made = allocate(&place(root.path(), false), "c1").unwrap();
        assert_eq!(made.container_runtime_dir, root.path().join("r/run/c1"));
        assert_eq!(std::fs::metadata(&made.container_runtime_dir).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!((made.token_broker_port, made.ssh_signer_port, made.gate_port), (None, None, None));
    }

    #[test]
    fn tcp_mode_has_three_different_ports() {
        let root = tempfile::tempdir().unwrap();
        let made = allocate(&place(root.path(), true), "c1").unwrap();
        let mut ports = [made.token_broker_port, made.ssh_signer_port, made.gate_port].map(Option::unwrap);
        ports.sort_unstable();
        assert!(ports[0] > 0 && ports[0] < ports[1] && ports[1] < ports[2]);
    }

    #[test]
    fn nothing_is_made_for_an_unsafe_name_or_a_link() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path(), false);
        for bad in ["../../x", ".", "", "a/b", "a b", &"n".repeat(200)] {
            assert!(allocate(&place, bad).is_err(), "{bad:?}");
        }
        assert!(!place.runtime_dir.exists());
        std::fs::create_dir_all(place.runtime_dir.join("run")).unwrap();
        std::os::unix::fs::symlink("/tmp", place.runtime_dir.join("run/c1")).unwrap();
        assert!(allocate(&place, "c1").is_err());
    }

    // improves: 21-7.6-name-length
    #[test]
    fn a_path_that_no_socket_fits_is_refused_by_name() {
        let place = place(&PathBuf::from("/").join("d".repeat(60)), false);
        let fault = allocate(&place, &"n".repeat(60)).unwrap_err();
        assert!(matches!(fault, LaunchError::LongPath(_)));
    }
}
