//! Connects to a Unix socket in a directory that a container can write to.
//!
//! Invariants:
//! - The socket's own name is never followed when it is a link. The directory is ours; its path may contain links.
//! - A full or silent listener costs at most the given limit.
//! - The caller learns which process listens and decides whether it is the expected one.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connects to the socket at `path`; connecting and each later read and write take at most `limit`.
///
/// # Errors
/// `ELOOP` for a link, `ENOTSOCK` for anything else that is no socket, `EAGAIN` when the listener's queue
/// stays full, otherwise the operating system's.
pub fn connect_unix(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let pinned = OFlags::PATH | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, directory, pinned | OFlags::DIRECTORY, Mode::empty())?;
    // A single component cannot leave its directory, so `NOFOLLOW` refuses everything that `openat2` would.
    let socket = rustix::fs::openat(&directory, name, pinned | OFlags::NOFOLLOW, Mode::empty())?;
    match FileType::from_raw_mode(rustix::fs::fstat(&socket)?.st_mode) {
        FileType::Socket => {}
        FileType::Symlink => return Err(rustix::io::Errno::LOOP.into()),
        _ => return Err(rustix::io::Errno::NOTSOCK.into()),
    }
    // The descriptor names the checked socket, whatever is at the path by now.
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", socket.as_raw_fd()))?;
    let stream = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The send timeout also bounds the wait for a place in the listener's queue.
    set_socket_timeout(&stream, Timeout::Send, Some(limit))?;
    set_socket_timeout(&stream, Timeout::Recv, Some(limit))?;
    rustix::net::connect(&stream, &address)?;
    Ok(stream.into())
}

/// The process that listens on the socket of a connection; `None` when it is not in our pid namespace.
pub fn listener_pid(stream: &UnixStream) -> Option<i32> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    // SAFETY: the kernel writes at most `length` bytes into the structure that the option is documented to return.
    let status = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    (status == 0 && credentials.pid > 0).then_some(credentials.pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::time::Instant;

    const LIMIT: Duration = Duration::from_millis(200);

    // holds: supervision-proof-real
    #[test]
    fn links_and_other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (inner, real) = (dir.path().join("inner"), dir.path().join("real.sock"));
        let _listener = UnixListener::bind(&real).unwrap();
        std::fs::create_dir(&inner).unwrap();
        symlink(&real, inner.join("link.sock")).unwrap();
        std::fs::write(inner.join("file.sock"), "").unwrap();
        let code = |path: &Path| connect_unix(path, LIMIT).unwrap_err().raw_os_error().unwrap();
        assert_eq!(code(&inner.join("link.sock")), libc::ELOOP);
        assert_eq!(code(&inner.join("file.sock")), libc::ENOTSOCK);
        assert_eq!(code(&inner.join("none.sock")), libc::ENOENT);
    }

    // holds: supervision-proof-real
    #[test]
    fn full_queue_costs_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let _queued = connect_unix(&path, LIMIT).unwrap();
        let began = Instant::now();
        let refused = connect_unix(&path, LIMIT).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(began.elapsed() < 10 * LIMIT, "{:?}", began.elapsed());
    }

    #[test]
    fn listener_is_identified_and_long_paths_work() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let short = dir.path().join("a.sock");
        let _listener = UnixListener::bind(&short).unwrap();
        std::fs::rename(&short, deep.join("a.sock")).unwrap();
        let stream = connect_unix(&deep.join("a.sock"), LIMIT).unwrap();
        assert_eq!(listener_pid(&stream), i32::try_from(std::process::id()).ok());
    }
}
