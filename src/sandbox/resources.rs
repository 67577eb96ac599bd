//! What one container gets for itself: a private directory for sockets, and ports in TCP mode.
//!
//! Invariants: the name is checked before a path is made of it; the directory is 0700; the ports of one call differ,
//! and are those of no other container, running or not.
//!
//! Until podman is called this process holds the ports itself. From then on until the supervisor binds them they are
//! protected by where they lie: below the range that the kernel gives to programs that do not ask for a port, and in a
//! sidecar, which every other launch looks at.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::fault::LaunchError;
use crate::spec::Place;

/// Longest socket name that is bound in the directory, with its separator.
const LONGEST_SOCKET: usize = "/gate-server.sock".len();
/// Bytes that a socket address holds, without the closing NUL.
const SUN_PATH: usize = 107;

/// Where ports are looked for: above the ports of system services, below Linux's ephemeral ones.
const PORTS: std::ops::Range<u16> = 20_000..32_700;
/// So many ports are tried before any that the kernel offers is taken.
const TRIES: usize = 512;

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
        let held =
            free_ports(3, &taken(place, container)).map_err(LaunchError::io("find free ports for", &directory))?;
        let ports = held.iter().map(|listener| listener.local_addr().ok().map(|address| address.port())).collect();
        HELD.lock().unwrap_or_else(PoisonError::into_inner).insert(directory.clone(), held);
        ports
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

/// Ports that this process keeps for launches under way, by the container's directory.
static HELD: Mutex<BTreeMap<PathBuf, Vec<TcpListener>>> = Mutex::new(BTreeMap::new());

/// Lets go of the ports of one launch, so that its supervisor can bind them.
pub fn release(place: &Place, container: &str) {
    let directory = place.container_runtime_dir(container);
    HELD.lock().unwrap_or_else(PoisonError::into_inner).remove(&directory);
}

/// The ports in the sidecars of other containers; a sidecar that cannot be read reserves nothing.
fn taken(place: &Place, container: &str) -> BTreeSet<u16> {
    let own = place.sidecar(container);
    let folder = own.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let others = folder.into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| *path != own);
    let told = others.filter_map(|path| crate::sidecar::read(&path).ok());
    told.flat_map(|one| [one.tcp_port, one.ssh_signer_port, one.gate_port]).flatten().collect()
}

/// Distinct free ports of the loopback, held.
fn free_ports(count: usize, taken: &BTreeSet<u16>) -> std::io::Result<Vec<TcpListener>> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let mut held: Vec<TcpListener> = Vec::with_capacity(count);
    for _ in 0..TRIES {
        if held.len() == count {
            break;
        }
        let port = random_port();
        if !taken.contains(&port) {
            held.extend(bind(port).ok());
        }
    }
    while held.len() < count {
        held.push(bind(0)?);
    }
    Ok(held)
}

fn random_port() -> u16 {
    let digits = base::ident::random_hex(4);
    let number = u32::from_str_radix(&digits, 16).unwrap_or_default();
    PORTS.start + (number % u32::from(PORTS.end - PORTS.start)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn place(root: &std::path::Path, tcp: bool) -> Place {
        Place { state_dir: root.join("s"), runtime_dir: root.join("r"), tcp, allow_root: false }
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

    // improves: 21-7.2-ports-held
    #[test]
    fn ports_are_held_until_they_are_released_and_never_given_twice() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path(), true);
        let ports = |made: &PerContainerResources| [made.token_broker_port, made.ssh_signer_port, made.gate_port];
        let first = allocate(&place, "c1").unwrap();
        let bind = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        for port in ports(&first).map(Option::unwrap) {
            assert!(PORTS.contains(&port), "{port} lies among the ephemeral ports");
            assert!(bind(port).is_err(), "{port} is not held");
        }
        let sidecar = wire::sidecar::Sidecar {
            container_name: "c1".into(),
            db_path: "/v/db".into(),
            runtime_dir: place.runtime_dir.clone(),
            ipc_mode: wire::sidecar::IpcMode::Tcp,
            tcp_port: first.token_broker_port,
            ssh_signer_port: first.ssh_signer_port,
            ..Default::default()
        };
        crate::sidecar::write(&place, &sidecar).unwrap();
        release(&place, "c1");
        assert!(bind(first.gate_port.unwrap()).is_ok());
        let kept = BTreeSet::from([first.token_broker_port.unwrap(), first.ssh_signer_port.unwrap()]);
        assert_eq!(taken(&place, "c2"), kept);
        assert_eq!(taken(&place, "c1"), BTreeSet::new(), "a container may get its own ports again");
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
