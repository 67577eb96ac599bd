//! One writer at a time per mirror: a lock beside it, which outlives the mirror being moved aside.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base::lock::Lock;

use crate::fault::{MirrorError, io};

/// Hears what git says about its progress, line by line, and nothing (`None`) from time to time; returns false to give up.
pub type Listener<'a> = &'a mut dyn FnMut(Option<&str>) -> bool;

/// How long somebody else's synchronisation is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// Most bytes of one line of progress; an upstream sends its own as well.
const MAX_PROGRESS: usize = 4096;

/// A file beside `path` whose name begins with a dot.
pub(crate) fn sibling(path: &Path, ending: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{ending}"))
}

/// Waits for the mirror (or the clone cache) to be ours; its directory must exist.
///
/// # Errors
/// [`MirrorError::Busy`] after ten minutes or when `listener` gives up.
pub fn hold(path: &Path, listener: Listener<'_>) -> Result<Lock, MirrorError> {
    let file = sibling(path, "lock");
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(lock) = Lock::try_acquire(&file).map_err(io("lock", &file))? {
            return Ok(lock);
        }
        if Instant::now() >= deadline || !listener(None) {
            return Err(MirrorError::Busy(path.to_owned()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Cuts what git writes to standard error into lines for a listener; both line breaks and returns end one.
pub(crate) fn lines<'a>(listener: Listener<'a>) -> impl FnMut(&[u8]) -> bool + 'a {
    let mut pending = Vec::new();
    move |bytes: &[u8]| {
        if bytes.is_empty() {
            return listener(None);
        }
        let mut wanted = true;
        for part in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let room = MAX_PROGRESS.saturating_sub(pending.len());
            pending.extend_from_slice(&part[..part.len().min(room)]);
            if !part.ends_with(b"\n") && !part.ends_with(b"\r") {
                break;
            }
            let line = base::text::sanitize_tty(String::from_utf8_lossy(&pending).trim());
            pending.clear();
            wanted &= line.is_empty() || listener(Some(&base::text::redact_userinfo(&line)));
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // holds: hostile-text-is-cleaned
    #[test]
    fn progress_is_cut_into_clean_lines_of_bounded_length() {
        let mut heard: Vec<String> = Vec::new();
        let mut listener = |line: Option<&str>| {
            heard.extend(line.map(str::to_owned));
            true
        };
        let mut feed = lines(&mut listener);
        for part in [b"remote: 10%".as_slice(), b" a\rremote: \x1b]0;t\x07b\n", b"\n", &[b'x'; 9000], b"\nend\n"] {
            assert!(feed(part));
        }
        drop(feed);
        assert_eq!(heard[..2], ["remote: 10% a", "remote: \\x1b]0;t\\x07b"]);
        assert_eq!((heard[2].len(), heard[3].as_str()), (MAX_PROGRESS, "end"));
    }
}
