//! Flow-back: named keys of named files of a copy, checked, into the shared folder.
//!
//! Everything in a copy is hostile: a file is read beneath its folder without following links, must be a plain file of
//! bounded size and a JSON object, and every named key in it must have its shape. One misfit refuses the whole file.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::file::Dir;
use base::lock::Lock;
use rustix::fs::FileType;
use serde_json::{Map, Value};

use crate::fault::HomeError;
use crate::manifest::{Copied, Manifest};
use crate::shape::Keys;
use crate::{LOCK_FILE, SIZE_LIMIT, owner};

const LOCK_LIMIT: Duration = Duration::from_secs(30);

/// Result of one flow-back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Changed keys, as `<folder>/<file>: <key>`.
    pub changed: Vec<String>,
    /// Refused files with the reason.
    pub refused: Vec<String>,
}

/// Brings back what the containers of one task changed; a directory without copies has nothing to bring back.
///
/// # Errors
/// [`HomeError`] when the record cannot be read or written. Refused files are in the report.
pub fn collect(home: &Path) -> Result<Report, HomeError> {
    if !home.is_dir() {
        return Ok(Report::default());
    }
    let _lock = Lock::directory(home).map_err(HomeError::file("lock", home))?;
    match Manifest::read(home)? {
        Some(mut manifest) => collect_locked(home, &mut manifest),
        None => Ok(Report::default()),
    }
}

/// As [`collect`], for a caller that holds the lock; the record is written when a value changed.
pub fn collect_locked(home: &Path, manifest: &mut Manifest) -> Result<Report, HomeError> {
    let root = Dir::open(home).map_err(HomeError::file("open", home))?;
    let mut report = Report::default();
    for (name, copied) in &mut manifest.folders {
        for (file, keys) in &copied.flows_back.clone() {
            let shown = format!("{name}/{file}");
            match collect_file(&root, &manifest.mounts, name, file, keys, copied) {
                Ok(changed) => report.changed.extend(changed.into_iter().map(|key| format!("{shown}: {key}"))),
                Err(why) => report.refused.push(format!("cannot take over settings of `{shown}`: {why}")),
            }
        }
    }
    if !report.changed.is_empty() {
        manifest.write(home)?;
    }
    Ok(report)
}

fn collect_file(
    root: &Dir,
    mounts: &Path,
    folder: &str,
    file: &str,
    keys: &Keys,
    copied: &mut Copied,
) -> Result<Vec<String>, String> {
    let Some(found) = root.open_below(Path::new(folder)).map_or_else(absent, |dir| read_object(&dir, file))? else {
        return Ok(Vec::new());
    };
    let known = copied.baseline.entry(file.to_owned()).or_default();
    let mut changes = Map::new();
    for (key, shape) in keys {
        let Some(value) = found.get(key).filter(|value| known.get(key) != Some(value)) else { continue };
        if !shape.fits(value) {
            return Err(format!("`{key}` is not a plain value"));
        }
        changes.insert(key.clone(), value.clone());
    }
    if changes.is_empty() || !write_shared(mounts, folder, file, &changes)? {
        return Ok(Vec::new());
    }
    let names = changes.keys().cloned().collect();
    known.extend(changes);
    Ok(names)
}

/// False when the shared folder no longer exists.
fn write_shared(mounts: &Path, folder: &str, file: &str, changes: &Map<String, Value>) -> Result<bool, String> {
    let opened = Dir::open(mounts).and_then(|base| base.open_below(Path::new(folder)));
    let dir = match opened {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.to_string()),
    };
    let _lock = lock(mounts).map_err(|error| error.to_string())?;
    update(&dir, file, changes).map(|_| true)
}

/// Waits for the right to change shared folders.
///
/// # Errors
/// The operating system's, also when another process keeps the lock for long.
pub fn lock(mounts: &Path) -> io::Result<Lock> {
    Lock::acquire(&lock_path(mounts), LOCK_LIMIT)
}

/// The lock file of a directory of shared folders.
pub fn lock_path(mounts: &Path) -> PathBuf {
    mounts.join(LOCK_FILE)
}

fn absent<T>(error: io::Error) -> Result<Option<T>, String> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(None),
        _ => Err(error.to_string()),
    }
}

/// The JSON object in a plain file below `dir`; `None` when there is none.
pub(crate) fn read_object(dir: &Dir, file: &str) -> Result<Option<Map<String, Value>>, String> {
    match dir.read(Path::new(file), SIZE_LIMIT) {
        Ok(bytes) if bytes.trim_ascii().is_empty() => Ok(None),
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| "not a JSON object".into()),
        Err(error) if is_link(&error) => Err("a link is in its path".into()),
        Err(error) => absent(error),
    }
}

fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// Sets members of a JSON object file below `dir`; true when it was written. Directories on the way are created.
pub(crate) fn update(dir: &Dir, file: &str, changes: &Map<String, Value>) -> Result<bool, String> {
    let before = read_object(dir, file)?;
    let mut after = before.clone().unwrap_or_default();
    after.extend(changes.clone());
    if before.as_ref() == Some(&after) {
        return Ok(false);
    }
    let text = serde_json::to_string_pretty(&after).expect("plain JSON serialises") + "\n";
    replace(dir, file, text.as_bytes()).map(|()| true).map_err(|error| error.to_string())
}

/// Replaces a file below `dir` (0600); directories on the way are created, a link in its place is replaced.
pub(crate) fn replace(dir: &Dir, file: &str, content: &[u8]) -> io::Result<()> {
    let mut parts: Vec<&str> = file.split('/').collect();
    let name = parts.pop().unwrap_or_default();
    let mut current: Option<Dir> = None;
    for part in parts {
        let above = current.as_ref().unwrap_or(dir);
        let fresh = above.entry_type(part)?.is_none();
        let below = above.ensure_below(part, 0o700)?;
        if fresh {
            owner::hand_over(below.as_fd())?;
        }
        current = Some(below);
    }
    let parent = current.as_ref().unwrap_or(dir);
    if parent.entry_type(name)? == Some(FileType::Directory) {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "a directory is in its place"));
    }
    parent.write_atomic(name, content, base::file::PRIVATE)?;
    owner::hand_over_entry(parent, name)
}
