//! The directories that all containers share, reached without trusting anything a container may have put there.
//!
//! Invariants: no component below the mounts base is followed; what is not a plain directory or file is refused; one
//! lock file, outside every mounted directory, serialises changes; new entries belong to the container's user.

use std::io;
use std::path::{Path, PathBuf};

use base::file::Dir;
use base::lock::Lock;
use home::owner::{hand_over, hand_over_entry};
use rustix::fs::FileType;
use serde_json::{Map, Value};

use crate::fault::AgentError;

/// Largest settings file we change, in bytes.
pub const SIZE_LIMIT: u64 = 16 * 1024 * 1024;

/// Creates and opens the directory that holds the shared ones.
///
/// # Errors
/// [`AgentError::File`].
pub fn open_base(mounts: &Path) -> Result<Dir, AgentError> {
    base::file::create_private_dir(mounts)
        .and_then(|()| Dir::open(mounts))
        .map_err(AgentError::file("create the directory", mounts))
}

/// Waits for the right to change shared files.
///
/// # Errors
/// [`AgentError::File`], also when another process keeps the lock for long.
pub fn lock(mounts: &Path) -> Result<Lock, AgentError> {
    home::collect::lock(mounts).map_err(AgentError::file("lock", home::collect::lock_path(mounts)))
}

/// Creates (0700) and opens a directory some levels below `parent`; `path` is for messages.
///
/// # Errors
/// [`AgentError::SharedMount`] when a component is a link or file.
pub fn ensure_dir(parent: &Dir, parts: &[&str], path: &Path) -> Result<Dir, AgentError> {
    let mut current: Option<Dir> = None;
    for part in parts {
        let above = current.as_ref().unwrap_or(parent);
        let fresh = above.entry_type(part).map_err(AgentError::file("look at", path))?.is_none();
        let dir = above.ensure_below(part, 0o700).map_err(|error| refuse(path, error))?;
        if fresh {
            hand_over(dir.as_fd()).map_err(AgentError::file("give away", path))?;
        }
        current = Some(dir);
    }
    current.ok_or_else(|| AgentError::SharedMount { path: path.to_owned(), why: "it has no name".into() })
}

fn refuse(path: &Path, error: io::Error) -> AgentError {
    match error.raw_os_error() {
        Some(code) if [rustix::io::Errno::LOOP, rustix::io::Errno::NOTDIR].iter().any(|e| e.raw_os_error() == code) => {
            AgentError::SharedMount { path: path.to_owned(), why: "it is not a plain directory".into() }
        }
        _ => AgentError::File { action: "create the directory", path: path.to_owned(), source: error },
    }
}

/// Makes sure that a plain file exists, empty when it is new (0600).
///
/// # Errors
/// [`AgentError::SharedMount`] when something else has the name.
pub fn ensure_file(dir: &Dir, name: &str, path: &Path) -> Result<(), AgentError> {
    let look = |dir: &Dir| dir.entry_type(name).map_err(AgentError::file("look at", path));
    if look(dir)?.is_none()
        && dir.create_new(name, b"", base::file::PRIVATE).map_err(AgentError::file("create", path))?
    {
        return hand_over_entry(dir, name).map_err(AgentError::file("give away", path));
    }
    match look(dir)? {
        Some(FileType::RegularFile) => Ok(()),
        _ => Err(AgentError::SharedMount { path: path.to_owned(), why: "it is not a plain file".into() }),
    }
}

/// The text of a plain file; `None` when there is none, or a link in its place.
///
/// # Errors
/// [`AgentError::SharedMount`] for anything else that is no readable plain file.
pub fn read(dir: &Dir, name: &str, path: &Path) -> Result<Option<Vec<u8>>, AgentError> {
    match dir.entry_type(name).map_err(AgentError::file("look at", path))? {
        None | Some(FileType::Symlink) => Ok(None),
        Some(_) => match dir.read(Path::new(name), SIZE_LIMIT) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(AgentError::SharedMount { path: path.to_owned(), why: error.to_string() }),
        },
    }
}

/// Replaces one entry; a link of that name is replaced, not followed.
///
/// # Errors
/// [`AgentError::File`].
pub fn write(dir: &Dir, name: &str, content: &[u8], mode: u32, path: &Path) -> Result<(), AgentError> {
    dir.write_atomic(name, content, mode)
        .and_then(|()| hand_over_entry(dir, name))
        .map_err(AgentError::file("write", path))
}

/// Changes a JSON object file under the lock; true when it was written.
///
/// A missing file is an empty object. A file that is no JSON object is kept beside as `<file>.terok-bak`. A change that
/// changes nothing leaves the file as it is, byte for byte.
///
/// # Errors
/// [`AgentError`] of the file operations.
pub fn update_json(
    mounts: &Path,
    place: &[&str],
    file: &str,
    change: impl FnOnce(&mut Map<String, Value>),
) -> Result<bool, AgentError> {
    let base = open_base(mounts)?;
    let _lock = lock(mounts)?;
    let folder = place.iter().fold(mounts.to_path_buf(), |path, part| path.join(part));
    let path: PathBuf = folder.join(file);
    let dir = ensure_dir(&base, place, &folder)?;
    let before = read(&dir, file, &path)?;
    let parsed = before.as_deref().and_then(|bytes| serde_json::from_slice::<Map<String, Value>>(bytes).ok());
    let mut after = parsed.clone().unwrap_or_default();
    change(&mut after);
    if parsed.as_ref() == Some(&after) {
        return Ok(false);
    }
    if let (Some(bytes), None) = (&before, &parsed)
        && !bytes.trim_ascii().is_empty()
    {
        write(&dir, &format!("{file}.terok-bak"), bytes, base::file::PRIVATE, &path)?;
    }
    let text = serde_json::to_string_pretty(&after).expect("plain JSON serialises") + "\n";
    write(&dir, file, text.as_bytes(), base::file::PRIVATE, &path)?;
    Ok(true)
}
