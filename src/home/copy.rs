//! Copies one folder: by reference where the file system can (reflink), else by bytes.
//!
//! Invariants: links are copied as links and never followed; sockets, pipes and devices are left out; the copy has no
//! setuid bit. The source may hold whatever an earlier container left there, so number, depth and size are bounded.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};

use base::file::Dir;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags};

use crate::owner;

/// Most entries of one folder.
const ENTRY_LIMIT: usize = 20_000;
/// Most bytes of one folder.
const BYTE_LIMIT: u64 = 256 * 1024 * 1024;
/// Deepest nesting.
const DEPTH_LIMIT: usize = 32;

/// Copies with the bounds of one folder.
pub struct Copier<'a> {
    private: &'a [String],
    entries: usize,
    bytes: u64,
    /// Paths that were left out although they do not belong to one container.
    pub left_out: Vec<String>,
}

impl<'a> Copier<'a> {
    /// A copier that leaves out the paths matching `private`.
    pub fn new(private: &'a [String]) -> Self {
        Self { private, entries: 0, bytes: 0, left_out: Vec::new() }
    }

    /// Copies the content of `from` into the empty directory `to`.
    ///
    /// # Errors
    /// The operating system's for the copy; what cannot be read of the source is left out.
    pub fn copy(&mut self, from: &Dir, to: &Dir) -> io::Result<()> {
        self.directory(from, to, "", 0)
    }

    fn directory(&mut self, from: &Dir, to: &Dir, above: &str, depth: usize) -> io::Result<()> {
        for entry in rustix::fs::Dir::read_from(from.as_fd())? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = format!("{above}{}", name.to_string_lossy());
            if self.private.iter().any(|pattern| matches_pattern(pattern, &path)) {
                continue;
            }
            self.entries += 1;
            if self.entries > ENTRY_LIMIT || depth > DEPTH_LIMIT {
                return self.leave_out(&path);
            }
            self.entry(from, to, name, &path, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, from: &Dir, to: &Dir, name: &CStr, path: &str, depth: usize) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let stat = rustix::fs::statat(from.as_fd(), name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from.as_fd(), name, Vec::new())?;
                rustix::fs::symlinkat(target.as_c_str(), to.as_fd(), name)?;
                owner::hand_over_entry(to, name)
            }
            FileType::Directory => {
                let name = name.to_str().ok();
                match name.and_then(|name| Some((name, from.open_below(name.as_ref()).ok()?))) {
                    Some((name, below)) => {
                        let made = to.ensure_below(name, 0o700)?;
                        owner::hand_over(made.as_fd())?;
                        self.directory(&below, &made, &format!("{path}/"), depth + 1)
                    }
                    None => self.leave_out(path),
                }
            }
            FileType::RegularFile => match rustix::fs::openat(from.as_fd(), name, flags, Mode::empty()) {
                Ok(source) => self.file(source, to, name, path),
                Err(_) => self.leave_out(path),
            },
            _ => Ok(()),
        }
    }

    fn leave_out(&mut self, path: &str) -> io::Result<()> {
        self.left_out.push(path.to_owned());
        Ok(())
    }

    fn file(&mut self, source: OwnedFd, to: &Dir, name: &CStr, path: &str) -> io::Result<()> {
        let stat = rustix::fs::fstat(&source)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !regular || self.bytes.saturating_add(size) > BYTE_LIMIT {
            return self.leave_out(path);
        }
        self.bytes += size;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o777 | 0o600);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(to.as_fd(), name, flags, mode)?;
        owner::hand_over(&target)?;
        if size > 0 && rustix::fs::ioctl_ficlone(&target, &source).is_err() {
            io::copy(&mut File::from(source).take(size), &mut File::from(target))?;
        }
        Ok(())
    }
}

/// True when `path` matches, component by component; `*` stands for any characters of one component.
pub fn matches_pattern(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if matches_name(pattern, name) => {}
            _ => return false,
        }
    }
}

fn matches_name(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => match name.strip_prefix(head) {
            Some(rest) => (0..=rest.len()).filter_map(|at| rest.get(at..)).any(|rest| matches_name(tail, rest)),
            None => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::matches_pattern;

    #[test]
    fn pattern_matches_whole_components() {
        for (pattern, path, expected) in [
            ("projects", "projects", true),
            ("projects", "projects2", false),
            ("projects", "a/projects", false),
            ("opencode/opencode.db*", "opencode/opencode.db-wal", true),
            ("state_*.sqlite", "state_5.sqlite", true),
            ("state_*.sqlite", "state_5.sqlite-wal", false),
            ("*.sqlite*", "logs_1.sqlite-shm", true),
            ("*.sqlite*", "sqlite", false),
            ("a", "a/b", false),
        ] {
            assert_eq!(matches_pattern(pattern, path), expected, "{pattern} {path}");
        }
    }
}
