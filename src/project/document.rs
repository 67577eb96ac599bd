//! Reading one YAML file that a person wrote: `project.yml`, a preset.
//!
//! Links are followed, people keep such files elsewhere. Refuses what is not a regular file, is larger than 4 MiB, or is
//! not UTF-8.

use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use base::yaml;
use serde_json::{Value, json};

use crate::ProjectError;

const SIZE_LIMIT: u64 = 4 << 20;

/// One state of a file: device, inode, size, and both times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64, u64, u64, (i64, i64), (i64, i64));

impl Stamp {
    /// The state that `path` has now.
    ///
    /// # Errors
    /// [`ProjectError::Read`].
    pub fn of(path: &Path) -> Result<Self, ProjectError> {
        let about = std::fs::metadata(path).map_err(ProjectError::read(path))?;
        let times = ((about.mtime(), about.mtime_nsec()), (about.ctime(), about.ctime_nsec()));
        Ok(Self(about.dev(), about.ino(), about.size(), times.0, times.1))
    }

    /// False for a file that changed within the last moments: it may change again without its stamp showing it.
    pub fn is_settled(&self) -> bool {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.is_ok_and(|now| self.4.0 + 2 < now.as_secs().cast_signed())
    }
}

/// The document of `path`; an empty one is an empty mapping.
///
/// # Errors
/// [`ProjectError::Read`] or [`ProjectError::Yaml`].
pub(crate) fn read(path: &Path) -> Result<Value, ProjectError> {
    let text = read_text(path)?;
    let parsed = yaml::parse(&text).map_err(|source| ProjectError::Yaml { path: path.to_owned(), source })?;
    Ok(if parsed.is_null() { json!({}) } else { parsed })
}

/// The text of `path`.
///
/// # Errors
/// [`ProjectError::Read`].
pub(crate) fn read_text(path: &Path) -> Result<String, ProjectError> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path);
    let text = opened.and_then(|file| {
        let about = file.metadata()?;
        if !about.is_file() || about.len() > SIZE_LIMIT {
            return Err(io::Error::other("not a regular file of at most 4 MiB"));
        }
        let mut text = String::new();
        file.take(SIZE_LIMIT).read_to_string(&mut text)?;
        Ok(text)
    });
    text.map_err(ProjectError::read(path))
}
