//! Network namespaces: opening the one of a process, and entering it on a thread of its own.
//!
//! A thread that entered cannot come back where the way back needs rights that a rootless process lacks. So the thread
//! ends after its work, and what it opened stays in the namespace it was opened in.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::fault::NftError;

/// `ioctl` number that yields the user namespace which owns a namespace.
const NS_GET_USERNS: libc::c_ulong = 0xb701;

/// An open network namespace.
#[derive(Debug)]
pub struct NetworkNamespace {
    file: File,
    subject: String,
}

impl AsFd for NetworkNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl NetworkNamespace {
    /// Opens the namespace of a process.
    ///
    /// # Errors
    /// [`NftError::Namespace`] when there is no such process or it is not ours.
    pub fn of_process(pid: i32) -> Result<Self, NftError> {
        Self::open(Path::new(&format!("/proc/{pid}/ns/net")))
    }

    /// Opens the namespace of the calling thread.
    ///
    /// # Errors
    /// [`NftError::Namespace`] without `/proc`.
    pub fn current() -> Result<Self, NftError> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    fn open(path: &Path) -> Result<Self, NftError> {
        let subject = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok(Self { file, subject }),
            Err(source) => Err(NftError::Namespace { subject, source }),
        }
    }

    /// Device and inode, which tell two namespaces apart.
    ///
    /// # Errors
    /// [`NftError::Namespace`].
    pub fn identity(&self) -> Result<(u64, u64), NftError> {
        let meta = self.file.metadata().map_err(|source| self.fault(source))?;
        Ok((meta.dev(), meta.ino()))
    }

    /// True when both are one namespace.
    ///
    /// # Errors
    /// [`NftError::Namespace`].
    pub fn is_same(&self, other: &Self) -> Result<bool, NftError> {
        Ok(self.identity()? == other.identity()?)
    }

    /// Runs `work` on a new thread inside the namespace and waits for it.
    ///
    /// # Errors
    /// [`NftError::Namespace`] when the thread cannot start or enter.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NftError> {
        let entered = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("netns".into()).stack_size(256 * 1024);
            let spawned = thread.spawn_scoped(scope, || {
                move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(work())
            });
            let panicked = |_| io::Error::other("the thread inside panicked");
            spawned.and_then(|handle| handle.join().map_err(panicked)?)
        });
        entered.map_err(|source| self.fault(source))
    }

    /// Moves the calling process inside, through the user namespace that owns this one where that is another.
    ///
    /// For small programs with one thread: there is no way back.
    ///
    /// # Errors
    /// [`NftError::Namespace`].
    pub fn enter(&self) -> Result<(), NftError> {
        let direct = move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network));
        if direct.is_ok() {
            return Ok(());
        }
        let owner = self.owner()?;
        let enter = |fd: BorrowedFd<'_>, kind| move_into_link_name_space(fd, Some(kind));
        enter(owner.as_fd(), LinkNameSpaceType::User)
            .and_then(|()| enter(self.as_fd(), LinkNameSpaceType::Network))
            .map_err(|errno| self.fault(errno.into()))
    }

    fn owner(&self) -> Result<OwnedFd, NftError> {
        // SAFETY: the request takes no argument and returns a new descriptor, which nothing else owns.
        let fd = unsafe { libc::ioctl(self.file.as_raw_fd(), NS_GET_USERNS) };
        if fd < 0 {
            return Err(self.fault(io::Error::last_os_error()));
        }
        // SAFETY: see above.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    fn fault(&self, source: io::Error) -> NftError {
        NftError::Namespace { subject: self.subject.clone(), source }
    }
}
