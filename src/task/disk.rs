//! Whole files in the directory of a project's tasks: written beside, then put in place; nobody sees half of one.
//!
//! Every temporary name is used once. It begins with a dot and the task, so that a killed writer's rest is invisible
//! and goes away with its task.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use base::stamp::Stamp;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

const PRIVATE: Mode = Mode::from_raw_mode(0o600);

/// Whether a power cut may take back what was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// It may: nothing of worth would be lost.
    Quick,
    /// It may take back the last seconds, but never leave half of it.
    Durable,
}

/// An open directory of ours.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl Folder {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// Opens and, where needed, creates a directory that only we may enter; one that was wider becomes so.
    pub(crate) fn make_private(path: &Path) -> io::Result<Self> {
        let folder = match Self::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                base::file::create_private_dir(path)?;
                Self::open(path)?
            }
            other => other?,
        };
        let mode = rustix::fs::fstat(&folder.0)?.st_mode;
        if mode & 0o077 != 0 {
            // Somebody else's directory stays as it is; then it is theirs to protect.
            let _ = rustix::fs::fchmod(&folder.0, Mode::from_raw_mode(mode & 0o700));
        }
        Ok(folder)
    }

    /// Creates `name`; false when it is taken. Where the file system can, nothing has a name before.
    pub(crate) fn create(&self, name: &str, content: &[u8], care: Care) -> io::Result<bool> {
        match self.link_nameless(name, content, care) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(error),
            Err(_) => self.create_beside(name, content, care),
        }
    }

    fn link_nameless(&self, name: &str, content: &[u8], care: Care) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.0, ".", flags, PRIVATE)?);
        write_to(&mut file, content, care)?;
        match rustix::fs::linkat(&file, "", &self.0, name, AtFlags::EMPTY_PATH) {
            // Before Linux 6.10 only the privileged may link a file that has no name; others need the one in /proc.
            Err(Errno::NOENT) => {
                let place = format!("/proc/self/fd/{}", file.as_raw_fd());
                Ok(rustix::fs::linkat(CWD, place, &self.0, name, AtFlags::SYMLINK_FOLLOW)?)
            }
            other => Ok(other?),
        }
    }

    fn create_beside(&self, name: &str, content: &[u8], care: Care) -> io::Result<bool> {
        let beside = self.write_beside(name, content, care)?;
        let done = match rustix::fs::renameat_with(&self.0, &*beside, &self.0, name, RenameFlags::NOREPLACE) {
            // Some file systems do not know the flag; a link is exclusive on all that have one.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let linked = rustix::fs::linkat(&self.0, &*beside, &self.0, name, AtFlags::empty());
                let _ = rustix::fs::unlinkat(&self.0, &*beside, AtFlags::empty());
                linked
            }
            other => other,
        };
        match done {
            Ok(()) => Ok(true),
            Err(error) => {
                let _ = rustix::fs::unlinkat(&self.0, &*beside, AtFlags::empty());
                if error == Errno::EXIST { Ok(false) } else { Err(error.into()) }
            }
        }
    }

    /// Puts `content` in the place of `name`.
    pub(crate) fn replace(&self, name: &str, content: &[u8], care: Care) -> io::Result<()> {
        let beside = self.write_beside(name, content, care)?;
        let done = rustix::fs::renameat(&self.0, &*beside, &self.0, name);
        if done.is_err() {
            let _ = rustix::fs::unlinkat(&self.0, &*beside, AtFlags::empty());
        }
        Ok(done?)
    }

    fn write_beside(&self, name: &str, content: &[u8], care: Care) -> io::Result<String> {
        let beside = format!(".{name}.{}.tmp", base::ident::random_hex(6));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.0, &*beside, flags, PRIVATE)?);
        match write_to(&mut file, content, care) {
            Ok(()) => Ok(beside),
            Err(error) => {
                let _ = rustix::fs::unlinkat(&self.0, &*beside, AtFlags::empty());
                Err(error)
            }
        }
    }

    /// Reads one regular file of at most `limit` bytes; `None` when there is none.
    pub(crate) fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        // Nearly all are small: one question instead of three, which is most of the time of a long listing.
        let mut small = [0; 4096];
        match rustix::io::read(&fd, &mut small)? {
            read if read < small.len() => Ok(Some(small[..read].to_vec())),
            _ => {
                rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(0))?;
                base::file::read_open(fd, limit).map(Some)
            }
        }
    }

    /// True when `name` exists, whatever it is.
    pub(crate) fn has(&self, name: &str) -> io::Result<bool> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// How the file looks now; `None` without one.
    pub(crate) fn stamp(&self, name: &str) -> Option<Stamp> {
        rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).ok().as_ref().map(Stamp::of_stat)
    }

    /// Removes one file; one that is not there is no failure.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The names in it, in the directory's order; what is not UTF-8 is no name of ours.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            if let Ok(name) = entry?.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Makes what was created, renamed and removed in it survive a power cut.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }
}

fn write_to(file: &mut File, content: &[u8], care: Care) -> io::Result<()> {
    file.write_all(content)?;
    match care {
        Care::Durable => file.sync_data(),
        Care::Quick => Ok(()),
    }
}
