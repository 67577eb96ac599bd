//! What this process has read of tasks whose files have not changed since: front ends ask for the same list again and
//! again.
//!
//! Nothing is believed without looking: a remembered task counts only while its two files have the same
//! stamps. A file that changed a moment ago is not remembered (see `base::stamp`).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::shared::Shared;
use base::stamp::Stamp;

use crate::disk::Folder;
use crate::list::Row;

/// Most projects whose tasks are remembered.
const BOOKS: usize = 64;

/// Those of the two files of a task.
pub(crate) type Stamps = [Option<Stamp>; 2];
pub(crate) type Known = HashMap<String, (Stamps, Row)>;

static BOOKS_READ: Shared<BTreeMap<(PathBuf, String), Arc<Known>>> = Shared::new();

/// What is remembered of the tasks in `dir`.
pub(crate) fn recall(dir: &Path, project: &str) -> Arc<Known> {
    let books = BOOKS_READ.lock();
    books.get(&(dir.to_owned(), project.to_owned())).cloned().unwrap_or_default()
}

/// Remembers `known` instead of what was remembered of the tasks in `dir`.
pub(crate) fn keep(dir: &Path, project: &str, known: Known) {
    let mut books = BOOKS_READ.lock();
    if books.len() >= BOOKS {
        books.clear();
    }
    books.insert((dir.to_owned(), project.to_owned()), Arc::new(known));
}

/// How the files of `task` look now.
pub(crate) fn stamp(folder: &Folder, task: &str) -> Stamps {
    [crate::book::dossier_name(task), crate::book::meta_name(task)].map(|name| folder.stamp(&name))
}

/// True when every change that is made from now on will be seen in the stamps.
pub(crate) fn is_settled(stamps: &Stamps) -> bool {
    stamps.iter().flatten().all(Stamp::is_settled)
}
