//! Appends lines to one audit file and rotates it.
//!
//! Invariants: several processes append to one file, so a line is a single `O_APPEND` write; the file is 0600 and never
//! reached through a link; beyond its size limit it is renamed to `<name>.1`. An error is logged once until it is gone.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};

/// Lines between two checks of the size.
const CHECK_EVERY: u32 = 512;
/// Attempts to open a file that is removed meanwhile.
const OPEN_ATTEMPTS: u32 = 8;

/// One audit file; opened with the first line.
pub struct AuditFile {
    path: PathBuf,
    size_limit: u64,
    /// True when an open file carries a shared lock, which keeps [`remove_unused`] from it.
    locked: bool,
    file: Option<File>,
    lines: u32,
    in_trouble: bool,
}

impl AuditFile {
    /// A file that several containers append to.
    pub fn shared(path: PathBuf, size_limit: u64) -> Self {
        Self { path, size_limit, locked: false, file: None, lines: 0, in_trouble: false }
    }

    /// The file of one container.
    pub fn own(path: PathBuf, size_limit: u64) -> Self {
        Self { locked: true, ..Self::shared(path, size_limit) }
    }

    /// Appends one line; false when it could not be written.
    pub fn append(&mut self, line: &str) -> bool {
        let written = self.try_append(line.as_bytes());
        if let Err(error) = &written {
            self.file = None;
            if !self.in_trouble {
                tracing::warn!(%error, path = %self.path.display(), "cannot write the audit file");
            }
        }
        self.in_trouble = written.is_err();
        written.is_ok()
    }

    fn try_append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.lines.is_multiple_of(CHECK_EVERY) {
            self.check();
        }
        self.lines = self.lines.wrapping_add(1);
        if self.file.is_none() {
            self.file = Some(if self.locked { open_locked(&self.path)? } else { open(&self.path)? });
        }
        let file = self.file.as_mut().expect("opened above");
        let count = file.write(line)?;
        if count < line.len() {
            truncate_torn(file, count as u64);
            return Err(io::Error::other("the disk took only a part of the line"));
        }
        Ok(())
    }

    /// Rotates a large file, and closes a file that another process has renamed or removed.
    fn check(&mut self) {
        if size_of(&self.path).is_some_and(|size| size > self.size_limit) {
            // Our own lock would keep us from renaming it.
            self.file = None;
            rotate(&self.path, self.size_limit);
        }
        let named = identity(std::fs::symlink_metadata(&self.path));
        let ours = self.file.as_ref().and_then(|f| identity(f.metadata()));
        if ours.is_none() || ours != named {
            self.file = None;
        }
    }
}

/// The name under which `path` is kept when it is rotated.
fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Removes a torn line, so that the next one starts a line of its own; not when another process has written after it.
fn truncate_torn(file: &mut File, count: u64) {
    let (end, size) = (file.stream_position(), file.metadata().map(|meta| meta.len()));
    if let (Ok(end), Ok(size)) = (end, size)
        && end == size
    {
        let _ = file.set_len(end.saturating_sub(count));
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(base::file::PRIVATE))?;
    Ok(File::from(fd))
}

/// Opens a file with a shared lock; the file is the one of that name when the lock is held.
fn open_locked(path: &Path) -> io::Result<File> {
    for _ in 0..OPEN_ATTEMPTS {
        let file = open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) if identity(file.metadata()) == identity(std::fs::symlink_metadata(path)) => return Ok(file),
            Ok(()) | Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error.into()),
        }
    }
    open(path)
}

/// Renames a large file. Of several processes that see it, the one with the exclusive lock renames it, after a second
/// check under the lock: a late one finds the new file at that name and must not move it over the full one.
fn rotate(path: &Path, size_limit: u64) {
    let Ok(file) = open(path) else { return };
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return;
    }
    let (held, named) = (identity(file.metadata()), identity(std::fs::symlink_metadata(path)));
    if held.is_some() && held == named && size_of(path).is_some_and(|size| size > size_limit) {
        let _ = std::fs::rename(path, rotated(path));
    }
}

fn size_of(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len())
}

fn identity(meta: io::Result<std::fs::Metadata>) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    meta.ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Removes files of containers that have ended, the longest unchanged first, until at most `most_files` files and
/// `most_bytes` bytes are left. A file that a broker holds open stays.
///
/// # Errors
/// The directory cannot be read.
pub fn remove_unused(dir: &Path, most_files: usize, most_bytes: u64) -> io::Result<()> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        // A rotated part without its file belongs to a broker that was killed between rename and write.
        let name = path.to_string_lossy();
        let base = name.strip_suffix(".1").map_or_else(|| path.clone(), PathBuf::from);
        if base == path || !base.exists() {
            let changed = std::fs::symlink_metadata(&path).and_then(|meta| meta.modified()).ok();
            let size = size_of(&base).unwrap_or(0) + size_of(&rotated(&base)).unwrap_or(0);
            found.push((changed, size, base));
        }
    }
    found.sort();
    let (mut files, mut bytes) = (found.len(), found.iter().map(|(_, size, _)| size).sum::<u64>());
    for (_, size, path) in found {
        if files <= most_files && bytes <= most_bytes {
            break;
        }
        if remove(&path) {
            (files, bytes) = (files - 1, bytes - size);
        }
    }
    Ok(())
}

/// Removes one file and its rotated part, unless a broker holds it open.
fn remove(path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return false;
        }
        let _ = std::fs::remove_file(rotated(path));
        return std::fs::remove_file(path).is_ok();
    }
    std::fs::remove_file(rotated(path)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const LIMIT: u64 = 1024 * 1024;

    #[test]
    fn lines_of_several_writers_stay_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = path.clone();
                scope.spawn(move || {
                    let mut file = AuditFile::shared(path, u64::MAX);
                    for _ in 0..500 {
                        assert!(file.append(&format!("{writer}{}\n", "/x".repeat(200))));
                    }
                });
            }
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().filter(|line| line.len() == 401).count(), 2000);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn torn_line_is_removed_unless_another_follows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let (mut ours, mut theirs) = (open(&path).unwrap(), open(&path).unwrap());
        ours.write_all(b"whole\ntor").unwrap();
        truncate_torn(&mut ours, 3);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole\n");
        ours.write_all(b"tor").unwrap();
        theirs.write_all(b"other\n").unwrap();
        truncate_torn(&mut ours, 3);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole\ntorother\n");
    }

    #[test]
    fn large_file_is_rotated_and_a_renamed_one_reopened() {
        let dir = tempfile::tempdir().unwrap();
        for make in [AuditFile::shared, AuditFile::own] {
            let path = dir.path().join("audit.jsonl");
            let mut file = make(path.clone(), LIMIT);
            file.append("first\n");
            std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(LIMIT + 1).unwrap();
            file.lines = 0;
            file.append("second\n");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "second\n");
            assert_eq!(std::fs::metadata(rotated(&path)).unwrap().len(), LIMIT + 1);
            std::fs::remove_file(&path).unwrap();
            file.lines = 0;
            file.append("third\n");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "third\n");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn late_rotation_keeps_the_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let aside = rotated(&path);
        let full = || std::fs::File::create(&path).unwrap().set_len(LIMIT + 1).unwrap();
        full();
        let held = open(&path).unwrap();
        rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        rotate(&path, LIMIT);
        assert!(!aside.exists(), "another process holds the lock");
        drop(held);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| AuditFile::shared(path.clone(), LIMIT).append("line\n"));
            }
        });
        assert_eq!(std::fs::metadata(&aside).unwrap().len(), LIMIT + 1);
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!((1..=8).contains(&lines), "{lines}");
    }

    #[test]
    fn unusable_path_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "").unwrap();
        let link = dir.path().join("audit.jsonl");
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        for path in [link, dir.path().join("missing/audit.jsonl")] {
            assert!(!AuditFile::shared(path.clone(), LIMIT).append("line\n"));
            assert!(!AuditFile::own(path, LIMIT).append("line\n"));
        }
        assert_eq!(std::fs::metadata(&victim).unwrap().len(), 0);
    }

    #[test]
    fn removal_spares_files_in_use_and_starts_with_the_oldest() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let mut held = AuditFile::own(path("held.jsonl"), LIMIT);
        held.append("line\n");
        for (age, name) in [(9, "held.jsonl"), (8, "a.jsonl"), (7, "b.jsonl"), (6, "gone.jsonl.1"), (5, "c.jsonl")] {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path(name)).unwrap();
            (&file).write_all(&[b'x'; 100]).unwrap();
            file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        }
        std::fs::write(path("a.jsonl.1"), "older").unwrap();
        let left = || {
            let names = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names.join(" ")
        };
        remove_unused(dir.path(), 5, 10_000).unwrap();
        assert_eq!(left(), "a.jsonl a.jsonl.1 b.jsonl c.jsonl gone.jsonl.1 held.jsonl");
        remove_unused(dir.path(), 4, 10_000).unwrap();
        assert_eq!(left(), "b.jsonl c.jsonl gone.jsonl.1 held.jsonl");
        remove_unused(dir.path(), 4, 210).unwrap();
        assert_eq!(left(), "c.jsonl held.jsonl");
        remove_unused(dir.path(), 0, 0).unwrap();
        assert_eq!(left(), "held.jsonl");
    }
}
