//! The audit log of one container: JSON lines, append only, kept below a size by moving it aside.
//!
//! A failure to write is returned and never stops anything. Every line is one write. Texts from a container are cleaned
//! and cut before they get here, and once more on the way in.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::directory::StateDirectory;

/// The file's name.
pub const FILE: &str = "audit.jsonl";
const MOVED: &str = "audit.jsonl.1";
/// The file is moved aside beyond this.
const MAX_SIZE: u64 = 8 * 1024 * 1024;
const MAX_TEXT: usize = 512;

/// One line; keys serialise in this order and only where they have a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// UTC time.
    #[serde(default)]
    pub ts: String,
    /// The container.
    #[serde(default)]
    pub container: String,
    /// What happened.
    #[serde(default)]
    pub action: String,
    /// The address or name that it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dest: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The port of a blocked connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The protocol of a blocked connection: `tcp`, `udp` or its number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub proto: String,
    /// The name of a blocked connection.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// What the launcher says about the task.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub dossier: Map<String, Value>,
}

impl AuditLine {
    /// A line about `action`, now.
    pub fn new(container: &str, action: &str) -> Self {
        let ts = base::clock::iso(SystemTime::now());
        Self { ts, container: container.to_owned(), action: action.to_owned(), ..Self::default() }
    }

    fn cleaned(mut self) -> Self {
        for text in [&mut self.container, &mut self.action, &mut self.dest, &mut self.detail, &mut self.domain] {
            *text = clean(text);
        }
        self
    }
}

/// Appends a line.
///
/// # Errors
/// The operating system's.
pub fn append(directory: &StateDirectory, line: AuditLine) -> io::Result<()> {
    let mut text = serde_json::to_string(&line.cleaned())?;
    text.push('\n');
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(directory.as_fd(), FILE, flags, Mode::from_raw_mode(0o600))?;
    let mut file = std::fs::File::from(fd);
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    file.write_all(text.as_bytes())?;
    if meta.len() > MAX_SIZE {
        rustix::fs::renameat(directory.as_fd(), FILE, directory.as_fd(), MOVED)?;
    }
    Ok(())
}

/// The last `count` lines of a directory, oldest first; lines that do not parse are skipped, no file is no line.
pub fn tail(directory: &Path, count: usize) -> Vec<AuditLine> {
    let read = |name: &str| base::file::read_regular(&directory.join(name), 2 * MAX_SIZE).unwrap_or_default();
    let text = [read(MOVED), read(FILE)].concat();
    let text = String::from_utf8_lossy(&text);
    let mut lines: Vec<AuditLine> =
        text.lines().rev().filter_map(|line| serde_json::from_str(line).ok()).take(count).collect();
    lines.reverse();
    lines
}

fn clean(text: &str) -> String {
    let end = (0..=text.len().min(MAX_TEXT)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    base::text::sanitize_tty(&text[..end])
}
