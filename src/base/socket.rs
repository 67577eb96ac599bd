//! Sockets of our services: a Unix socket that only its owner can open, or a port of the loopback address.
//!
//! Invariants: a Unix socket is 0600 from the moment it exists; a file that is not a socket and a socket that somebody
//! serves are left alone; TCP listens on 127.0.0.1 and nowhere else. The SELinux label of the socket is set for the one
//! `socket()` call and taken back; without SELinux that step does nothing.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Gid, Uid, getegid, geteuid, setfsgid, setfsuid};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::fault::{Fault, Kind};

/// Connections the kernel queues before we accept them.
const BACKLOG: i32 = 128;
/// How long to wait for a place in the queue of a listener that may have the name already.
const PROBE: Duration = Duration::from_secs(1);
/// Label that the policy module lets containers connect to.
const SELINUX_LABEL: &str = "system_u:object_r:terok_socket_t:s0";
const SELINUX_ROOT: &str = "/sys/fs/selinux/enforce";
const SOCKET_LABEL: &str = "/proc/thread-self/attr/sockcreate";

/// Why a socket was not bound.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Something else than a socket has the socket's name.
    #[error("cannot bind `{}`: it exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// Another process serves this socket.
    #[error("cannot bind `{}`: another process is listening there", .0.display())]
    InUse(PathBuf),
    /// The socket could not be made.
    #[error("cannot bind `{}`", .path.display())]
    BindUnix {
        /// The socket.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The loopback port could not be bound.
    #[error("cannot bind port {port} of the loopback address")]
    BindTcp {
        /// The port.
        port: u16,
        /// The cause.
        source: io::Error,
    },
}

impl Fault for SocketError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotASocket(_) => "socket-not-a-socket",
            Self::InUse(_) => "socket-in-use",
            Self::BindUnix { .. } => "socket-bind-unix",
            Self::BindTcp { .. } => "socket-bind-tcp",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotASocket(_) => Some("move the file away; it is left untouched".into()),
            Self::InUse(_) => Some("stop the other process that serves it first".into()),
            Self::BindTcp { .. } => Some("see who holds the port with `ss -ltnp`".into()),
            Self::BindUnix { .. } => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::BindUnix { .. } | Self::BindTcp { .. } => Kind::Os,
            Self::NotASocket(_) | Self::InUse(_) => Kind::Runtime,
        }
    }
}

/// A bound socket of either kind.
#[derive(Debug)]
pub enum Listener {
    /// A socket file.
    Unix(UnixListener),
    /// A port of the loopback address.
    Tcp(TcpListener),
    /// The same port of two loopback addresses: the host's and a container's.
    Ports {
        /// On the host.
        host: TcpListener,
        /// In the container's network namespace.
        container: TcpListener,
    },
}

impl Listener {
    /// Another handle of the same socket.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Ports { host, container } => {
                Self::Ports { host: host.try_clone()?, container: container.try_clone()? }
            }
        })
    }
}

/// The name of a Unix socket that we bound: dropping it takes the name away, unless somebody else has bound it meanwhile.
#[derive(Debug)]
pub struct SocketName {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl SocketName {
    /// The socket that is bound at `path` now.
    pub fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }
}

impl Drop for SocketName {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// Binds a Unix socket at `path`, mode 0600; missing parent directories are made 0700, a dead socket is replaced.
///
/// # Errors
/// [`SocketError::NotASocket`], [`SocketError::InUse`] or [`SocketError::BindUnix`].
pub fn bind_unix(path: &Path) -> Result<UnixListener, SocketError> {
    let failed = |source: io::Error| SocketError::BindUnix { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        crate::file::create_private_dir(parent).map_err(failed)?;
    }
    clear_dead_socket(path)?;
    let address = SocketAddrUnix::new(path).map_err(|e| failed(e.into()))?;
    let labelled = SocketLabel::set();
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    drop(labelled);
    let fd = fd.map_err(|e| failed(e.into()))?;
    // The kernel gives the new name the mode of the unbound socket: no window, and no umask that other threads feel.
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(crate::file::PRIVATE)).map_err(|e| failed(e.into()))?;
    match (path.parent().map(DirectoryOwner::of).transpose().map_err(failed)?.flatten(), path.file_name()) {
        (Some(owner), Some(name)) => owner.bind(&fd, name).map_err(failed)?,
        _ => rustix::net::bind(&fd, &address).map_err(|e| failed(e.into()))?,
    }
    rustix::net::listen(&fd, BACKLOG).map_err(|e| failed(e.into()))?;
    Ok(fd.into())
}

/// Binds `port` of 127.0.0.1; port 0 lets the kernel choose.
///
/// # Errors
/// [`SocketError::BindTcp`].
pub fn bind_tcp(port: u16) -> Result<TcpListener, SocketError> {
    let failed = |source| SocketError::BindTcp { port, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn clear_dead_socket(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::BindUnix { path: path.to_owned(), source };
    let kind = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !kind.is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    match crate::connect::connect_unix(path, PROBE) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) | Err(_) => Err(SocketError::InUse(path.to_owned())),
    }
}

/// The owner of a directory that real root gave to a container, whose ids are its own: sockets in it belong to that owner.
struct DirectoryOwner {
    directory: OwnedFd,
    uid: Uid,
    gid: Gid,
}

impl DirectoryOwner {
    /// `None` unless we are real root and the directory belongs to another account.
    fn of(directory: &Path) -> io::Result<Option<Self>> {
        if !crate::user::is_really_root() {
            return Ok(None);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, directory, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&directory)?;
        let owner = Self { directory, uid: Uid::from_raw(stat.st_uid), gid: Gid::from_raw(stat.st_gid) };
        Ok((stat.st_uid != 0).then_some(owner))
    }

    /// Binds in the directory as its owner, who may have no way to it by its path.
    fn bind(&self, socket: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let directory = PathBuf::from(format!("/proc/self/fd/{}", self.directory.as_raw_fd()));
        let address = SocketAddrUnix::new(directory.join(name))?;
        setfsgid(self.gid);
        setfsuid(self.uid);
        let bound = rustix::net::bind(socket, &address);
        setfsuid(geteuid());
        setfsgid(getegid());
        Ok(bound?)
    }
}

/// The label for sockets this thread creates, in force until dropped. Absent where SELinux is.
struct SocketLabel;

impl SocketLabel {
    fn set() -> Option<Self> {
        if !Path::new(SELINUX_ROOT).exists() {
            return None;
        }
        match std::fs::write(SOCKET_LABEL, SELINUX_LABEL) {
            Ok(()) => Some(Self),
            Err(error) => {
                tracing::warn!(%error, "cannot label the socket for selinux");
                None
            }
        }
    }
}

impl Drop for SocketLabel {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(SOCKET_LABEL, "") {
            tracing::warn!(%error, "cannot take the selinux socket label back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    // improves: 21-5.2-socket-no-window
    #[test]
    fn a_dead_socket_is_replaced_and_the_mode_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/vault.sock");
        drop(bind_unix(&path).unwrap());
        let listener = bind_unix(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(bind_unix(&path), Err(SocketError::InUse(_))));
        drop(listener);
    }

    #[test]
    fn a_socket_of_real_root_belongs_to_the_owner_of_its_directory() {
        if !crate::user::is_really_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        // Its owner cannot pass the directory above it.
        let inner = dir.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::os::unix::fs::chown(&inner, Some(12_345), Some(12_345)).unwrap();
        let path = inner.join("a.sock");
        let _listener = bind_unix(&path).unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.permissions().mode() & 0o777), (12_345, 12_345, 0o600));
        let mine = dir.path().join("mine");
        std::fs::write(&mine, "").unwrap();
        assert_eq!(std::fs::metadata(mine).unwrap().uid(), 0);
    }

    #[test]
    fn a_name_goes_with_its_socket_and_spares_a_successors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let listener = bind_unix(&path).unwrap();
        let name = SocketName::of(&path);
        std::fs::rename(&path, dir.path().join("moved")).unwrap();
        let successor = bind_unix(&path).unwrap();
        drop((listener, name));
        assert!(path.exists());
        drop((SocketName::of(&path), successor));
        assert!(!path.exists());
    }

    #[test]
    fn files_and_links_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "keep").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link] {
            assert!(matches!(bind_unix(path), Err(SocketError::NotASocket(_))));
        }
        assert_eq!(std::fs::read(&file).unwrap(), b"keep");
    }

    // improves: 21-7.6-name-length
    #[test]
    fn a_path_too_long_for_a_socket_is_refused_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x".repeat(120));
        assert!(matches!(bind_unix(&path), Err(SocketError::BindUnix { .. })));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn tcp_is_loopback_only_and_exclusive() {
        let listener = bind_tcp(0).unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(address.ip(), Ipv4Addr::LOCALHOST);
        assert!(matches!(bind_tcp(address.port()), Err(SocketError::BindTcp { .. })));
    }
}
