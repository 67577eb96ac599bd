//! Log lines: `<time> <LEVEL> <logger>: <message>`, one write each, UTC.
//!
//! The daemon's standard error is the container's log; the hooks share one diary. Either is set aside when it has grown
//! large, so that no container can fill the host's disk with what is said about it. Control characters from outside are
//! neutralised. A log that cannot be written never stops anything.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, Mode, OFlags};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

const DIARY_LIMIT: u64 = 1024 * 1024;
const LOG_LIMIT: u64 = 16 * 1024 * 1024;
/// How many lines of a log go by between two looks at its size.
const LOOK_EVERY: u32 = 1024;

/// One finished line.
pub fn line(level: &str, logger: &str, message: &str) -> String {
    let message = base::text::sanitize_tty(message);
    format!("{} {level} {logger}: {message}\n", stamp(SystemTime::now()))
}

/// Writes a line to standard error.
pub fn say(level: &str, logger: &str, message: &str) {
    let _ = io::stderr().write_all(line(level, logger, message).as_bytes());
}

/// Appends a line to a file, which is made 0600; a link is not followed.
///
/// # Errors
/// The operating system's.
pub fn append(path: &Path, level: &str, logger: &str, message: &str) -> io::Result<()> {
    open(path)?.write_all(line(level, logger, message).as_bytes())
}

/// Opens a log for appending.
///
/// # Errors
/// The operating system's.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600))?.into())
}

/// Sets a grown diary aside; one predecessor is kept.
pub fn rotate(path: &Path) {
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.len() > DIARY_LIMIT) {
        let _ = std::fs::rename(path, path.with_extension("log.1"));
    }
}

/// Sets the log behind standard error aside when it has grown, if it is one of ours.
fn look_after_our_log() {
    let Ok(path) = std::fs::read_link("/proc/self/fd/2") else { return };
    let is_id = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_hexdigit());
    let ours = path.parent().is_some_and(|folder| folder.ends_with("logs"))
        && path.extension() == Some("log".as_ref())
        && path.file_stem().and_then(|stem| stem.to_str()).is_some_and(is_id);
    if let (true, Ok(log)) = (ours, io::stderr().as_fd().try_clone_to_owned()) {
        begin_anew(&File::from(log), &path);
    }
}

/// Copied and emptied instead of renamed: watchdog and worker have it open, and go on in the same file.
fn begin_anew(log: &File, path: &Path) {
    if log.metadata().is_ok_and(|meta| meta.is_file() && meta.len() > LOG_LIMIT) {
        let aside = path.with_extension("log.1");
        if std::fs::copy(path, &aside).is_err() {
            let _ = std::fs::remove_file(&aside);
        }
        let _ = log.set_len(0);
    }
}

/// `2026-05-28T10:11:12.345Z`.
fn stamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = base::clock::civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

/// Sends the services' events of level INFO and above to standard error.
pub struct ToStderr;

impl Subscriber for ToStderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let logger = event.metadata().target().replace("::", ".");
        say(event.metadata().level().as_str(), &logger, &format!("{}{}", text.message, text.fields));
        static LINES: AtomicU32 = AtomicU32::new(0);
        if LINES.fetch_add(1, Ordering::Relaxed) % LOOK_EVERY == LOOK_EVERY - 1 {
            look_after_our_log();
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.fields.push_str(&format!(" {}={value:?}", field.name()));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn stamps() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000Z"),
            (1_779_963_072, "2026-05-28T10:11:12.000Z"),
        ] {
            assert_eq!(stamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn one_line_each_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook.log");
        append(&path, "INFO", "hook", "a\nb\x1b[0m").unwrap();
        append(&path, "ERROR", "hook", "c").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains(" INFO hook: a b\\x1b[0m\n"), "{text}");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(append(&link, "INFO", "hook", "x").is_err());
    }

    #[test]
    fn a_grown_log_begins_anew_for_everybody_who_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ab12.log");
        let (mut watchdog, worker) = (open(&path).unwrap(), open(&path).unwrap());
        watchdog.write_all(b"begun\n").unwrap();
        begin_anew(&worker, &path);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 6);
        worker.set_len(LOG_LIMIT + 1).unwrap();
        begin_anew(&worker, &path);
        watchdog.write_all(b"after\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"after\n");
        let aside = std::fs::read(dir.path().join("ab12.log.1")).unwrap();
        assert!(aside.starts_with(b"begun\n") && aside.len() as u64 == LOG_LIMIT + 1);
    }

    #[test]
    fn a_grown_diary_is_set_aside_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook.log");
        std::fs::write(&path, vec![b'x'; DIARY_LIMIT as usize + 1]).unwrap();
        rotate(&path);
        assert!(!path.exists() && dir.path().join("hook.log.1").exists());
        rotate(&path);
    }
}
