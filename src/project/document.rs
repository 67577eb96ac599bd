//! Reading one YAML file that a person wrote: `project.yml`, a preset.
//!
//! Links are followed, people keep such files elsewhere. Refuses what is not a regular file, is larger than 4 MiB, or is
//! not UTF-8. Parsed documents are kept by the state of their file, so that a listing that is repeated reads nothing
//! but directories.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use base::yaml;
use serde_json::{Value, json};

use crate::ProjectError;
use crate::schema::{self, FieldError};

const SIZE_LIMIT: u64 = 4 << 20;
/// Kept documents; more are read anew each time.
const KEPT: usize = 4096;

/// Device, inode, size, and both times in nanoseconds.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));
type Kept = HashMap<PathBuf, (Stamp, Arc<Written>)>;
static KNOWN: Mutex<Option<Kept>> = Mutex::new(None);

/// What somebody wrote.
#[derive(Debug)]
pub(crate) struct Written {
    /// As it stands there; an empty document is an empty mapping.
    pub raw: Value,
    project: OnceLock<Result<Value, Vec<FieldError>>>,
}

impl Written {
    /// Checked as a `project.yml`, once.
    pub fn project(&self) -> Result<&Value, &[FieldError]> {
        let check = || schema::validate(schema::Document::Project, &self.raw);
        self.project.get_or_init(check).as_ref().map_err(Vec::as_slice)
    }
}

/// The document of `path`.
///
/// # Errors
/// [`ProjectError::Read`] or [`ProjectError::Yaml`].
pub(crate) fn read(path: &Path) -> Result<Arc<Written>, ProjectError> {
    let stamp = stamp(&std::fs::metadata(path).map_err(ProjectError::read(path))?);
    if let Some(known) = known(path, stamp) {
        return Ok(known);
    }
    let text = read_text(path)?;
    let parsed = yaml::parse(&text).map_err(|source| ProjectError::Yaml { path: path.to_owned(), source })?;
    let raw = if parsed.is_null() { json!({}) } else { parsed };
    let document = Arc::new(Written { raw, project: OnceLock::new() });
    keep(path, stamp, &document);
    Ok(document)
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

fn stamp(about: &std::fs::Metadata) -> Stamp {
    let times = ((about.mtime(), about.mtime_nsec()), (about.ctime(), about.ctime_nsec()));
    (about.dev(), about.ino(), about.size(), times.0, times.1)
}

fn known(path: &Path, stamp: Stamp) -> Option<Arc<Written>> {
    let guard = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let (then, document) = guard.as_ref()?.get(path)?;
    (*then == stamp).then(|| Arc::clone(document))
}

/// A file that changed within the last moments is not kept: it may change again without its stamp showing it.
fn keep(path: &Path, stamp: Stamp, document: &Arc<Written>) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let settled = now.is_ok_and(|now| stamp.4.0 + 2 < now.as_secs().cast_signed());
    let mut guard = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = guard.get_or_insert_with(HashMap::new);
    if !settled {
        known.remove(path);
    } else if known.len() < KEPT || known.contains_key(path) {
        known.insert(path.to_owned(), (stamp, Arc::clone(document)));
    }
}
