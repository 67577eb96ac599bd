//! Advisory locks between processes, held as long as the guard lives.
//!
//! A lock file is created 0600, is never followed when it is a link, and stays behind: removing it would let two
//! processes hold "the" lock on two different files. Where nothing should stay behind, the directory itself is locked.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};

/// Locked in place of a directory that cannot be.
const BESIDE: &str = ".terok.lock";

/// A held exclusive lock; dropping it releases it.
#[derive(Debug)]
pub struct Lock {
    _file: OwnedFd,
}

impl Lock {
    /// Takes the lock at once, or returns `None` when somebody else holds it.
    ///
    /// # Errors
    /// The operating system's when the lock file cannot be opened.
    pub fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the lock of a directory itself; for those who hold it for moments.
    ///
    /// # Errors
    /// The operating system's.
    pub fn directory(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self::of_directory(rustix::fs::openat(CWD, path, flags, Mode::empty())?, path)
    }

    fn of_directory(dir: OwnedFd, path: &Path) -> io::Result<Self> {
        let exclusive = FlockOperation::LockExclusive;
        match rustix::fs::flock(&dir, exclusive) {
            Ok(()) => Ok(Self { _file: dir }),
            // NFS locks nothing but what is open for writing, which no directory can be.
            Err(rustix::io::Errno::BADF) => {
                let file = open(&path.join(BESIDE))?;
                rustix::fs::flock(&file, exclusive)?;
                Ok(Self { _file: file })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the lock, at most `limit`.
    ///
    /// # Errors
    /// `TimedOut` when the limit passes, else the operating system's.
    pub fn acquire(path: &Path, limit: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(lock) = Self::try_acquire(path)? {
                return Ok(lock);
            }
            if Instant::now() >= deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "another process holds the lock"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_locked_has_a_lock_beside() {
        let dir = tempfile::tempdir().unwrap();
        drop(Lock::directory(dir.path()).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        // A descriptor of this kind cannot be locked anywhere.
        let bare = rustix::fs::openat(CWD, dir.path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let held = Lock::of_directory(bare, dir.path()).unwrap();
        assert!(Lock::try_acquire(&dir.path().join(BESIDE)).unwrap().is_none());
        drop(held);
    }

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::try_acquire(&path).unwrap().expect("free");
        assert!(Lock::try_acquire(&path).unwrap().is_none());
        let late = Lock::acquire(&path, Duration::from_millis(20)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        drop(held);
        // Not at once: a child that another test is just starting shares the descriptor until it executes its program.
        assert!(Lock::acquire(&path, Duration::from_secs(5)).is_ok());
    }
}
