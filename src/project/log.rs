//! The log of this layer: one line per event, for whoever looks for the cause afterwards.
//!
//! Invariants: a line is one line whatever its text holds; the file is 0600, appended to in whole lines, and not followed
//! through a link. When it has grown too large it is moved aside, in place of the one moved aside before, so that both
//! together stay below twice [`LIMIT`].

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Size above which the log is moved aside.
pub const LIMIT: u64 = 8 << 20;

/// Appends a line that begins with `stamp`, the caller's local time.
///
/// # Errors
/// The operating system's, which nobody should make anything of.
pub fn append(path: &Path, stamp: &str, level: &str, message: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        base::file::create_private_dir(parent)?;
    }
    make_room(path)?;
    let (level, message) = (base::text::sanitize_tty(level), base::text::sanitize_tty(message));
    let line = format!("[{stamp}] {level}: {message}\n");
    open(path)?.write_all(line.as_bytes())
}

fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Two processes may both find the file too large; the second then moves a file that is nearly empty, which loses the
/// predecessor. The lock makes the second look again.
fn make_room(path: &Path) -> io::Result<()> {
    let large = |path: &Path| path.symlink_metadata().is_ok_and(|about| about.is_file() && about.len() > LIMIT);
    if !large(path) {
        return Ok(());
    }
    let file = open(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    match large(path) {
        true => std::fs::rename(path, older(path)),
        false => Ok(()),
    }
}

fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_line_is_one_line_and_the_file_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/terok.log");
        append(&path, "now", "WARNING", "a\nb\u{1b}[2J").unwrap();
        append(&path, "now", "DEBUG", "c").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "[now] WARNING: a b\\x1b[2J\n[now] DEBUG: c\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    // improves: 30-9.5-log-bounded
    #[test]
    fn a_large_log_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("terok.log");
        File::create(&path).unwrap().set_len(LIMIT + 1).unwrap();
        append(&path, "now", "DEBUG", "new").unwrap();
        assert_eq!(older(&path).metadata().unwrap().len(), LIMIT + 1);
        assert!(path.metadata().unwrap().len() < 64);
    }

    #[test]
    fn links_and_missing_places_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join("terok.log"), dir.path().join("target"));
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(append(&path, "now", "DEBUG", "x").is_err() && !target.exists());
        std::fs::write(&target, "").unwrap();
        assert!(append(&target.join("log"), "now", "DEBUG", "x").is_err());
    }
}
