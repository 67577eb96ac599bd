//! The audit file: one JSON line per request that presented a credential, or should have.
//!
//! Invariants: a request never fails or waits because of its audit line; several supervisors append to one file, so a
//! line is a single `O_APPEND` write; the file is 0600, never reached through a link, and kept below a size by moving it
//! aside: the newest lines are in the file, the ones before in `<name>.1`. Trouble is logged once until it goes away.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, Mode, OFlags};
use wire::audit::AuditLine;

/// The file is moved to `<name>.1` when it has grown beyond this.
const SIZE_LIMIT: u64 = 64 * 1024 * 1024;
/// How many lines go by between two looks at the size.
const CHECK_EVERY: u32 = 512;

/// Appends audit lines; without a path it does nothing.
pub struct Audit {
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    file: Option<File>,
    lines: u32,
    in_trouble: bool,
}

impl Audit {
    /// Does not touch the disk; the file is opened with the first line.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path, state: Mutex::default() }
    }

    /// Appends one line; its time stamp is set here.
    pub fn write(&self, mut line: AuditLine) {
        let Some(path) = &self.path else { return };
        line.ts = utc_stamp(SystemTime::now());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let written = append(&mut state, path, line.to_line().as_bytes());
        if let Err(error) = &written {
            state.file = None;
            if !state.in_trouble {
                tracing::warn!(%error, path = %path.display(), "cannot write the audit file");
            }
        }
        state.in_trouble = written.is_err();
    }
}

fn append(state: &mut State, path: &Path, line: &[u8]) -> io::Result<()> {
    if state.lines.is_multiple_of(CHECK_EVERY) {
        look_after(state, path);
    }
    state.lines = state.lines.wrapping_add(1);
    if state.file.is_none() {
        state.file = Some(open(path)?);
    }
    let file = state.file.as_mut().expect("opened above");
    let count = file.write(line)?;
    if count < line.len() {
        take_back(file, count as u64);
        return Err(io::Error::other("the disk took only a part of the line"));
    }
    Ok(())
}

/// Takes a torn line back, so that the next one begins a line of its own; not when somebody has written behind it.
fn take_back(file: &mut File, count: u64) {
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

/// Moves a large file aside, and lets go of a file that another supervisor has moved.
fn look_after(state: &mut State, path: &Path) {
    if size_of(path).is_some_and(|size| size > SIZE_LIMIT) {
        move_aside(path);
    }
    let named = identity(std::fs::symlink_metadata(path));
    let ours = state.file.as_ref().and_then(|f| identity(f.metadata()));
    if ours.is_none() || ours != named {
        state.file = None;
    }
}

/// Of several supervisors that see the same large file, the one with its lock moves it, and looks once more under the
/// lock: whoever comes late finds a fresh file at that name and must not move that one over the full one.
fn move_aside(path: &Path) {
    let Ok(file) = open(path) else { return };
    if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        return;
    }
    let (held, named) = (identity(file.metadata()), identity(std::fs::symlink_metadata(path)));
    if held.is_some() && held == named && size_of(path).is_some_and(|size| size > SIZE_LIMIT) {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".1");
        let _ = std::fs::rename(path, aside);
    }
}

fn size_of(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len())
}

fn identity(meta: io::Result<std::fs::Metadata>) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    meta.ok().map(|meta| (meta.dev(), meta.ino()))
}

/// ISO 8601 with seconds and the UTC offset.
fn utc_stamp(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = base::clock::civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}+00:00", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    #[test]
    fn stamps() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00+00:00"),
            (951_782_399, "2000-02-28T23:59:59+00:00"),
            (951_782_400, "2000-02-29T00:00:00+00:00"),
            (1_779_963_072, "2026-05-28T10:11:12+00:00"),
            (4_107_542_400, "2100-03-01T00:00:00+00:00"),
        ] {
            assert_eq!(utc_stamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn lines_of_several_writers_stay_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = path.clone();
                scope.spawn(move || {
                    let audit = Audit::new(Some(path));
                    for _ in 0..500 {
                        audit.write(AuditLine {
                            scope: format!("writer-{writer}"),
                            path: "/x".repeat(200),
                            outcome: "ok",
                            ..Default::default()
                        });
                    }
                });
            }
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2000);
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_torn_line_is_taken_back_unless_another_follows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let (mut ours, mut theirs) = (open(&path).unwrap(), open(&path).unwrap());
        ours.write_all(b"whole\ntor").unwrap();
        take_back(&mut ours, 3);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole\n");
        ours.write_all(b"tor").unwrap();
        theirs.write_all(b"other\n").unwrap();
        take_back(&mut ours, 3);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole\ntorother\n");
    }

    #[test]
    fn a_moved_or_large_file_is_started_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let audit = Audit::new(Some(path.clone()));
        audit.write(AuditLine::default());
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(SIZE_LIMIT + 1).unwrap();
        audit.state.lock().unwrap().lines = 0;
        audit.write(AuditLine::default());
        assert!(std::fs::metadata(&path).unwrap().len() < 1000);
        assert!(dir.path().join("audit.jsonl.1").exists());
    }

    #[test]
    fn a_late_mover_does_not_move_the_fresh_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let aside = dir.path().join("audit.jsonl.1");
        let full = || std::fs::File::create(&path).unwrap().set_len(SIZE_LIMIT + 1).unwrap();
        full();
        let held = open(&path).unwrap();
        rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        move_aside(&path);
        assert!(!aside.exists(), "another one is at it");
        drop(held);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let audit = Audit::new(Some(path.clone()));
                    audit.write(AuditLine::default());
                });
            }
        });
        assert_eq!(std::fs::metadata(&aside).unwrap().len() / (1024 * 1024), SIZE_LIMIT / (1024 * 1024));
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!((1..=8).contains(&lines), "{lines}");
    }

    #[test]
    fn an_unusable_place_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        for path in [link, dir.path().join("missing/audit.jsonl")] {
            Audit::new(Some(path)).write(AuditLine::default());
        }
        assert_eq!(std::fs::metadata(&victim).unwrap().len(), 0);
    }
}
