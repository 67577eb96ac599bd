//! Reading one YAML file that a person wrote: `project.yml`, a preset.
//!
//! Links are followed, people keep such files elsewhere. Refuses what is not a regular file, is larger than 4 MiB, or is
//! not UTF-8.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base::yaml;
use serde_json::{Value, json};

use crate::ProjectError;

const SIZE_LIMIT: u64 = 4 << 20;

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
    let text = open(path).and_then(|file| {
        if file.metadata()?.len() > SIZE_LIMIT {
            return Err(io::Error::other("larger than 4 MiB"));
        }
        let mut text = String::new();
        file.take(SIZE_LIMIT).read_to_string(&mut text)?;
        Ok(text)
    });
    text.map_err(ProjectError::read(path))
}

/// Opens a regular file; nobody waits for the other end of a pipe.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("not a regular file")),
    }
}
