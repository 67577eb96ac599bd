//! What this process has read of tasks whose files have not changed since: front ends ask for the same list again and
//! again.
//!
//! Nothing is believed without looking: a remembered task counts only while its two files have the same inode, size and
//! times. A file that changed a moment ago is not remembered, because one more change within the clock's grain would
//! not be seen.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::disk::Folder;
use crate::list::Row;

/// Coarser than the grain of any file system's clock.
const GRAIN: Duration = Duration::from_millis(200);
/// Most projects whose tasks are remembered.
const BOOKS: usize = 64;

/// Inode, size, and times of change of the two files of a task.
pub(crate) type Stamp = [[i128; 4]; 2];
pub(crate) type Known = HashMap<String, (Stamp, Row)>;

static BOOKS_READ: Mutex<BTreeMap<(PathBuf, String), Arc<Known>>> = Mutex::new(BTreeMap::new());

/// What is remembered of the tasks in `dir`.
pub(crate) fn recall(dir: &Path, project: &str) -> Arc<Known> {
    let books = BOOKS_READ.lock().unwrap_or_else(PoisonError::into_inner);
    books.get(&(dir.to_owned(), project.to_owned())).cloned().unwrap_or_default()
}

/// Remembers `known` instead of what was remembered of the tasks in `dir`.
pub(crate) fn keep(dir: &Path, project: &str, known: Known) {
    let mut books = BOOKS_READ.lock().unwrap_or_else(PoisonError::into_inner);
    if books.len() >= BOOKS {
        books.clear();
    }
    books.insert((dir.to_owned(), project.to_owned()), Arc::new(known));
}

/// How the files of `task` look now.
pub(crate) fn stamp(folder: &Folder, task: &str) -> Stamp {
    [crate::book::dossier_name(task), crate::book::meta_name(task)].map(|name| folder.stamp(&name))
}

/// True when every change that is made from now on will be seen in the stamp.
pub(crate) fn is_settled(stamp: &Stamp) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let limit = i128::try_from(now.saturating_sub(GRAIN).as_nanos()).unwrap_or_default();
    stamp.iter().all(|[_, _, modified, changed]| *modified < limit && *changed < limit)
}
