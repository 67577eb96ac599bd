//! The lock of one task: whoever changes a task's files holds it, across processes and threads.
//!
//! The lock is a file of its own, `.<task>.lock`, which no reader looks at. It goes away with its task: only its holder
//! removes it, and who gets a lock on a file that has no name any more takes the new one.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};

use crate::fault::TaskError;

/// Longest wait for somebody else; a change takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub(crate) struct Hold {
    _file: OwnedFd,
    path: PathBuf,
}

impl Hold {
    /// Waits for the lock of `task`.
    pub(crate) fn take(dir: &Path, task: &str) -> Result<Self, TaskError> {
        let path = dir.join(format!(".{task}.lock"));
        let deadline = Instant::now() + PATIENCE;
        loop {
            match try_take(&path).map_err(TaskError::at("lock", &path))? {
                Some(file) => return Ok(Self { _file: file, path }),
                None if Instant::now() >= deadline => {
                    return Err(TaskError::Locked { task: task.to_owned(), seconds: PATIENCE.as_secs() });
                }
                None => std::thread::sleep(Duration::from_micros(500)),
            }
        }
    }

    /// Removes the file of a lock that nobody holds; it belonged to a task that is gone.
    pub(crate) fn sweep(dir: &Path, task: &str) {
        let path = dir.join(format!(".{task}.lock"));
        if let Ok(Some(_file)) = try_take(&path) {
            let _ = std::fs::remove_file(&path);
        }
    }

    /// Removes the lock's file with the task it belonged to.
    pub(crate) fn discard(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn try_take(path: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok((rustix::fs::fstat(&file)?.st_nlink > 0).then_some(file)),
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
