//! The pid file: it names the process whose death ends all services, and its lock says who may touch a container's
//! sockets.
//!
//! Invariants: nobody binds or unlinks anything of a container without the lock; the lock lives as long as the daemon,
//! which inherits it from the hook; a file that was replaced between opening and locking is not taken for the lock.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};

use crate::fault::SupervisorError;

/// A held lock with its file.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: OwnedFd,
}

impl PidFile {
    /// Takes the lock at once; `None` when a live supervisor holds it.
    ///
    /// # Errors
    /// [`SupervisorError::PidFile`].
    pub fn try_lock(path: &Path) -> Result<Option<Self>, SupervisorError> {
        let failed = |source: io::Error| SupervisorError::PidFile { path: path.to_owned(), source };
        loop {
            let file = open(path).map_err(failed)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(failed(error.into())),
            }
            if is_at(&file, path).map_err(failed)? {
                let path = path.to_owned();
                return Ok(Some(Self { path, file }));
            }
        }
    }

    /// Waits up to `limit` for the lock.
    ///
    /// # Errors
    /// As [`PidFile::try_lock`].
    pub fn lock(path: &Path, limit: Duration) -> Result<Option<Self>, SupervisorError> {
        let deadline = Instant::now() + limit;
        loop {
            let got = Self::try_lock(path)?;
            if got.is_some() || Instant::now() >= deadline {
                return Ok(got);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Adopts a lock that the hook took; `None` when the descriptor is not this file.
    pub fn adopt(path: &Path, fd: RawFd) -> Option<Self> {
        // SAFETY: the number comes from the hook that started us, which left the descriptor open for us alone.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        let _ = rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC);
        is_at(&file, path).ok().filter(|same| *same)?;
        Some(Self { path: path.to_owned(), file })
    }

    /// Writes the number of the daemon.
    ///
    /// # Errors
    /// [`SupervisorError::PidFile`].
    pub fn write(&self, pid: u32) -> Result<(), SupervisorError> {
        let text = format!("{pid}\n");
        // Never empty in between: somebody may be reading, and the number may be there already.
        let written = rustix::io::pwrite(&self.file, text.as_bytes(), 0);
        let written = written.and_then(|length| rustix::fs::ftruncate(&self.file, length as u64));
        written.map_err(|error| SupervisorError::PidFile { path: self.path.clone(), source: error.into() })
    }

    /// Removes the file; the lock ends with the last descriptor.
    pub fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }

    /// The descriptor's number, to hand it to the daemon.
    pub fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// The number in a pid file; `None` when there is no file or no number in it.
pub fn read(path: &Path) -> Option<i32> {
    let text = base::file::read_regular(path, 64).ok()?;
    let pid: i32 = std::str::from_utf8(&text).ok()?.trim().parse().ok()?;
    (pid > 0).then_some(pid)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600))?)
}

fn is_at(file: &OwnedFd, path: &Path) -> io::Result<bool> {
    let ours = rustix::fs::fstat(file)?;
    match rustix::fs::lstat(path) {
        Ok(there) => Ok((ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_and_a_fresh_file_after_removal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("supervisor-x.pid");
        let held = PidFile::try_lock(&path).unwrap().unwrap();
        held.write(4711).unwrap();
        held.write(12).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "12\n");
        assert!(PidFile::try_lock(&path).unwrap().is_none());
        held.remove();
        // The old lock is on a file that is no longer there: a new one can be had.
        let fresh = PidFile::try_lock(&path).unwrap().unwrap();
        assert!(!is_at(&held.file, &path).unwrap() && is_at(&fresh.file, &path).unwrap());
    }

    #[test]
    fn only_positive_numbers_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        assert_eq!(read(&path), None);
        for (text, expected) in [("7\n", Some(7)), ("0\n", None), ("-1", None), ("x", None), ("", None)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&path), expected, "{text:?}");
        }
    }
}
