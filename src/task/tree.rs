//! Removing a directory tree that a container has filled: no link is followed, whatever is renamed meanwhile.
//!
//! Invariants: every entry is reached through the descriptor of its directory; the number of open descriptors does not
//! grow with the depth of the tree; an entry that cannot be removed does not keep the others; nothing is removed on
//! another file system that is mounted there. Refuses a name that is no plain one.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::fault::TaskError;

const ROOT: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const DIRECTORY: OFlags = ROOT.union(OFlags::NOFOLLOW);
/// Levels that are walked at once; what lies deeper is moved up first.
const DEPTH: usize = 64;

/// Removes `name` in `root` with everything below it; false when there is nothing of that name.
///
/// # Errors
/// [`TaskError::TreeLeft`] when something is left, after everything else is gone.
pub fn remove(root: &Path, name: &OsStr) -> Result<bool, TaskError> {
    crate::check_name("name of a directory", &name.to_string_lossy())?;
    let path = root.join(name);
    let parent = match rustix::fs::openat(CWD, root, ROOT, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(false),
        other => other.map_err(|error| TaskError::at("open", root)(error.into()))?,
    };
    let name = CString::new(name.as_bytes()).expect("a plain name has no NUL");
    let mut left = Left::default();
    match rustix::fs::unlinkat(&parent, &*name, AtFlags::empty()) {
        Ok(()) => return Ok(true),
        Err(Errno::NOENT) => return Ok(false),
        // Linux says the first, POSIX allows the second.
        Err(Errno::ISDIR | Errno::PERM) => remove_top(&parent, &name, &path, &mut left),
        Err(error) => left.add(&path, error),
    }
    match left.first {
        None => Ok(true),
        Some((first, source)) => Err(TaskError::TreeLeft { path, left: left.count, first, source }),
    }
}

/// What could not be removed; directories above it do not count.
#[derive(Default)]
struct Left {
    count: usize,
    first: Option<(PathBuf, io::Error)>,
}

impl Left {
    fn add(&mut self, path: &Path, error: Errno) {
        self.count += 1;
        self.first.get_or_insert_with(|| (path.to_owned(), error.into()));
    }
}

fn remove_top(parent: &OwnedFd, name: &CStr, path: &Path, left: &mut Left) {
    let opened = open_writable(parent, name).and_then(|top| Ok((rustix::fs::fstat(&top)?.st_dev, top)));
    let (device, top) = match opened {
        Ok(found) => found,
        Err(error) => return remove_empty(parent, name, path, error, left),
    };
    loop {
        let mut walk = Walk { top: &top, device, moved: 0, left: std::mem::take(left) };
        walk.empty(&top, path, DEPTH);
        *left = walk.left;
        // What was moved up is in the way of `path` now; a pass that moved nothing leaves nothing to do.
        if walk.moved == 0 {
            break;
        }
    }
    drop(top);
    if left.count == 0
        && let Err(error) = rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
    {
        left.add(path, error);
    }
}

/// For a directory that cannot be opened: gone when it was empty, else left for the reason it could not be opened.
fn remove_empty(parent: &OwnedFd, name: &CStr, path: &Path, why: Errno, left: &mut Left) {
    if rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).is_err() {
        left.add(path, why);
    }
}

struct Walk<'a> {
    top: &'a OwnedFd,
    device: u64,
    moved: usize,
    left: Left,
}

impl Walk<'_> {
    fn empty(&mut self, dir: &OwnedFd, path: &Path, depth: usize) {
        let names = match names(dir) {
            Ok(names) => names,
            Err(error) => return self.left.add(path, error),
        };
        for name in names {
            let below = path.join(OsStr::from_bytes(name.to_bytes()));
            match rustix::fs::unlinkat(dir, &*name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => self.remove_dir(dir, &name, &below, depth),
                Err(error) => self.left.add(&below, error),
            }
        }
    }

    fn remove_dir(&mut self, parent: &OwnedFd, name: &CStr, path: &Path, depth: usize) {
        let dir = match open_writable(parent, name) {
            Ok(dir) => dir,
            Err(error) => return remove_empty(parent, name, path, error, &mut self.left),
        };
        if rustix::fs::fstat(&dir).map_or(true, |found| found.st_dev != self.device) {
            return self.left.add(path, Errno::XDEV);
        }
        if depth == 0 {
            let aside = format!(".deep-{}", base::ident::random_hex(8));
            match rustix::fs::renameat(parent, name, self.top, &*aside) {
                Ok(()) => self.moved += 1,
                Err(error) => self.left.add(path, error),
            }
            return;
        }
        let before = self.left.count;
        self.empty(&dir, path, depth - 1);
        drop(dir);
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(_) if self.left.count > before => {}
            Err(error) => self.left.add(path, error),
        }
    }
}

fn names(dir: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if name.to_bytes() != b"." && name.to_bytes() != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Opens a directory below `parent`, giving its owner the rights to empty it when they were taken away.
fn open_writable(parent: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let dir = match rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let place = rustix::fs::openat(parent, name, DIRECTORY.union(OFlags::PATH), Mode::empty())?;
            // By descriptor: the name could have become a link.
            rustix::fs::chmod(format!("/proc/self/fd/{}", place.as_raw_fd()), Mode::RWXU)?;
            rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?
        }
        other => other?,
    };
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&dir)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        let _ = rustix::fs::fchmod(&dir, mode.union(Mode::RWXU));
    }
    Ok(dir)
}
