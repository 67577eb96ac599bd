//! Files written so that nobody ever sees half of one, and read so that no link can redirect us.
//!
//! Invariants: a replaced file is complete or untouched; private files are 0600 from their first byte; the last path
//! component is never followed when it is a symbolic link. [`Dir`] does the same below a directory that somebody else
//! can write: no component below it is followed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};

/// Mode of files that hold tokens or secrets.
pub const PRIVATE: u32 = 0o600;
/// Mode of files anybody may read.
pub const PUBLIC: u32 = 0o644;

/// Creates `path` with its parents; new directories are 0700.
///
/// # Errors
/// The operating system's, for example when a parent is a file.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces `path` by `content`: temporary file in the same directory, fsync, rename. Parents must exist.
///
/// # Errors
/// The operating system's; the temporary file is gone afterwards, the old content untouched.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let (parent, name) = split(path)?;
    Dir::open(&parent)?.write_atomic(&name, content, mode)
}

/// Like [`write_atomic`] with mode 0600; creates missing parents 0700.
///
/// # Errors
/// The operating system's.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        create_private_dir(parent)?;
    }
    write_atomic(path, content, PRIVATE)
}

/// Creates `path` exclusively with `mode` and writes `content`; false when something is there already.
///
/// # Errors
/// The operating system's; a partial file is removed.
pub fn create_new(path: &Path, content: &[u8], mode: u32) -> io::Result<bool> {
    let (parent, name) = split(path)?;
    Dir::open(&parent)?.create_new(&name, content, mode)
}

/// Reads a regular file of at most `limit` bytes; the last component is not followed when it is a link.
///
/// # Errors
/// `InvalidInput` when it is not a regular file or too large, else the operating system's.
pub fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let fd = rustix::fs::openat(
        CWD,
        path,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    read_open(fd, limit)
}

/// Reads what was opened, when it is a regular file of at most `limit` bytes. Open it `NONBLOCK`: it may be a pipe.
///
/// # Errors
/// As [`read_regular`].
pub fn read_open(fd: OwnedFd, limit: u64) -> io::Result<Vec<u8>> {
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let expected = u64::try_from(stat.st_size).unwrap_or(0).min(limit);
    let mut content = Vec::with_capacity(usize::try_from(expected).unwrap_or(0) + 1);
    File::from(fd).take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("larger than {limit} bytes")));
    }
    Ok(content)
}

fn split(path: &Path) -> io::Result<(PathBuf, String)> {
    let name = path.file_name().and_then(|n| n.to_str());
    let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no usable file name"))?;
    let parent = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_path_buf(),
        _ => PathBuf::from("."),
    };
    Ok((parent, name.to_owned()))
}

/// An open directory; everything below it is reached without following a link.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl Dir {
    /// Opens a directory that we trust (its path may contain links).
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// Opens the directory `relative` below this one; refuses links in every component and `..`.
    ///
    /// # Errors
    /// `ELOOP` or `ENOTDIR` for a link, else the operating system's.
    pub fn open_below(&self, relative: &Path) -> io::Result<Self> {
        Ok(Self(self.open_at(relative, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?))
    }

    /// Creates (0700 with `mode`) and opens one directory below this one; an existing plain directory is taken as it is.
    ///
    /// # Errors
    /// A link or file of that name, else the operating system's.
    pub fn ensure_below(&self, name: &str, mode: u32) -> io::Result<Self> {
        match rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => self.open_below(Path::new(name)),
            Err(error) => Err(error.into()),
        }
    }

    fn open_at(&self, relative: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(&self.0, relative, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, mode, resolve)?)
    }

    /// Reads a regular file below this directory, at most `limit` bytes.
    ///
    /// # Errors
    /// As [`read_regular`].
    pub fn read(&self, relative: &Path, limit: u64) -> io::Result<Vec<u8>> {
        read_open(self.open_at(relative, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?, limit)
    }

    /// Replaces one entry of this directory; a link of that name is replaced, not followed.
    ///
    /// # Errors
    /// The operating system's; the temporary file is gone afterwards.
    pub fn write_atomic(&self, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
        let temporary = format!(".{name}.{}.tmp", crate::ident::random_hex(6));
        let written = self.create_new(&temporary, content, mode).and_then(|_| {
            rustix::fs::renameat(&self.0, temporary.as_str(), &self.0, name)?;
            Ok(())
        });
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&self.0, temporary.as_str(), AtFlags::empty());
        }
        written
    }

    /// Creates one entry exclusively; false when the name is taken (by anything, also a dangling link).
    ///
    /// # Errors
    /// The operating system's; a partial file is removed.
    pub fn create_new(&self, name: &str, content: &[u8], mode: u32) -> io::Result<bool> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let fd = match self.open_at(Path::new(name), flags, Mode::from_raw_mode(mode)) {
            Ok(fd) => fd,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(error),
        };
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
        let mut file = File::from(fd);
        let written = file.write_all(content).and_then(|()| file.sync_all());
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&self.0, name, AtFlags::empty());
        }
        written.map(|()| true)
    }

    /// The type of one entry without following it; `None` when it does not exist.
    ///
    /// # Errors
    /// The operating system's.
    pub fn entry_type(&self, name: &str) -> io::Result<Option<FileType>> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes one file entry; true when there was one.
    ///
    /// # Errors
    /// The operating system's.
    pub fn remove_file(&self, name: &str) -> io::Result<bool> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The descriptor, for calls this type does not wrap.
    pub fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn scratch() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn atomic_write_replaces_links_and_sets_the_mode() {
        let dir = scratch();
        let (victim, target) = (dir.path().join("victim"), dir.path().join("file"));
        std::fs::write(&victim, "old").unwrap();
        symlink(&victim, &target).unwrap();
        write_atomic(&target, b"new", PRIVATE).unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"old");
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let dir = scratch();
        std::fs::create_dir(dir.path().join("taken")).unwrap();
        assert!(write_atomic(&dir.path().join("taken"), b"x", PUBLIC).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn reading_refuses_links_directories_and_large_files() {
        let dir = scratch();
        let file = dir.path().join("f");
        std::fs::write(&file, "12345").unwrap();
        symlink(&file, dir.path().join("l")).unwrap();
        assert_eq!(read_regular(&file, 5).unwrap(), b"12345");
        assert!(read_regular(&file, 4).is_err());
        assert!(read_regular(&dir.path().join("l"), 9).is_err());
        assert!(read_regular(dir.path(), 9).is_err());
    }

    #[test]
    fn nothing_below_a_directory_is_followed() {
        let (outside, inside) = (scratch(), scratch());
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        symlink(outside.path(), inside.path().join("out")).unwrap();
        let dir = Dir::open(inside.path()).unwrap();
        assert!(dir.open_below(Path::new("out")).is_err());
        assert!(dir.read(Path::new("out/secret"), 9).is_err());
        assert!(dir.read(Path::new("../etc/passwd"), 9).is_err());
        assert!(dir.ensure_below("out", 0o700).is_err());
        assert!(dir.ensure_below("new", 0o700).is_ok());
        assert_eq!(dir.entry_type("out").unwrap(), Some(FileType::Symlink));
        assert!(!dir.create_new("out", b"", PRIVATE).unwrap());
        assert!(dir.remove_file("out").unwrap() && !dir.remove_file("out").unwrap());
    }
}
