//! What the host hands to a container in its `agent-config` directory: the token of a web page, and prompts.
//!
//! The container can write into the directory. So the directory itself is not followed when it is a link, a file is
//! written beside and then takes the place of whatever has its name, and nothing is ever written through a link or into a
//! file that has another name elsewhere.

use std::io;
use std::path::Path;

use base::file::{Dir, PRIVATE, PUBLIC};
use rustix::io::Errno;

use crate::fault::TaskError;
use crate::work;

const TOKEN: &str = "toad.token";
const PROMPT: &str = "prompt.txt";
const HISTORY: &str = "prompt-history.txt";
const SEPARATOR: &str = "\n\n---\n\n";
/// So much of older prompts is kept, from the end.
const HISTORY_LIMIT: usize = 4 << 20;
const READ_LIMIT: u64 = 16 << 20;

/// Writes the token of the task's web page, without a line end, readable by its owner alone.
///
/// # Errors
/// [`TaskError::File`]; whatever was there is as it was.
pub fn token(dir: &Path, token: &str) -> Result<(), TaskError> {
    let put = work::open(dir).and_then(|folder| folder.write_atomic(TOKEN, token.as_bytes(), PRIVATE));
    put.map_err(TaskError::at("write", dir.join(TOKEN)))
}

/// Makes `prompt` the current one and adds the one before to the history.
///
/// # Errors
/// [`TaskError::File`].
pub fn prompt(dir: &Path, prompt: &str) -> Result<(), TaskError> {
    let folder = work::open(dir).map_err(TaskError::at("open", dir))?;
    if let Some(old) = read(&folder, PROMPT).map_err(TaskError::at("read", dir.join(PROMPT)))? {
        let mut history = read(&folder, HISTORY).map_err(TaskError::at("read", dir.join(HISTORY)))?.unwrap_or_default();
        history.extend_from_slice(&old);
        history.extend_from_slice(SEPARATOR.as_bytes());
        let kept = &history[history.len().saturating_sub(HISTORY_LIMIT)..];
        folder.write_atomic(HISTORY, kept, PUBLIC).map_err(TaskError::at("write", dir.join(HISTORY)))?;
    }
    folder.write_atomic(PROMPT, prompt.as_bytes(), PUBLIC).map_err(TaskError::at("write", dir.join(PROMPT)))
}

/// A regular file, or nothing: what the container put in its place is none of ours.
fn read(folder: &Dir, name: &str) -> io::Result<Option<Vec<u8>>> {
    match folder.read(Path::new(name), READ_LIMIT) {
        Ok(content) => Ok(Some(content)),
        Err(error) if is_foreign(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_foreign(error: &io::Error) -> bool {
    let foreign = [Errno::LOOP, Errno::NXIO].map(|errno| Some(errno.raw_os_error()));
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput)
        || foreign.contains(&error.raw_os_error())
}
