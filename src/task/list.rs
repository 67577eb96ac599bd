//! All tasks of a project, or one, as front ends show them.
//!
//! One pass over the directory; a file that cannot be read is told about and hides nobody else. A task of which one
//! file is missing or only half written is listed with what the rest says.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::book::{Book, Meta};
use crate::disk::Folder;
use crate::fault::TaskError;
use crate::memory::{self, Known, Stamps};
use crate::work;

/// From so many tasks on it pays to read them in several threads.
const PART: usize = 200;

/// One task; the names are those of the value type that Python makes of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs)] // the reference of the value type tells
pub struct Row {
    pub task_id: String,
    pub project_id: String,
    pub mode: Option<String>,
    pub workspace: String,
    pub web_port: Option<i64>,
    pub web_token: Option<String>,
    pub backend: Option<String>,
    pub preset: Option<String>,
    pub name: String,
    pub provider: Option<String>,
    pub unrestricted: Option<bool>,
    pub exit_code: Option<i64>,
    pub deleting: bool,
    pub initialized: bool,
    pub created_at: Option<String>,
    pub work_status: Option<String>,
    pub work_message: Option<String>,
}

/// The tasks that could be read, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct Listing {
    /// Sorted by identifier.
    pub rows: Vec<Row>,
    /// One text for each damaged file.
    pub trouble: Vec<String>,
}

/// Lists the tasks of `project`; without `tasks_root` nothing is said about their work. A directory that cannot be read
/// is trouble like any other; a missing one is empty.
pub fn list(book: &Book, project: &str, tasks_root: Option<&Path>) -> Listing {
    let mut listing = Listing::default();
    let opened = book.open().and_then(|folder| Ok((folder, book.well_formed()?)));
    let (folder, mut ids) = match opened {
        Ok((Some(folder), ids)) => (folder, ids),
        Ok((None, _)) => return listing,
        Err(error) => {
            listing.trouble.push(explain(&error));
            return listing;
        }
    };
    ids.sort_unstable();
    let known = memory::recall(book.dir(), project);
    let roots = tasks_root.and_then(|root| work::Root::open(root).ok());
    let read = |ids: &[String]| {
        let mut part = Part::default();
        for id in ids {
            let stamp = memory::stamp(&folder, id);
            let recorded = match known.get(id).filter(|(then, _)| *then == stamp) {
                Some((_, row)) => Ok((Some(row.clone()), Vec::new())),
                None => recorded(book, &folder, project, id),
            };
            part.add(stamp, recorded, |row| complete(row, tasks_root, roots.as_ref()));
        }
        part
    };
    let parts = in_parts(&ids, read);
    if parts.iter().any(|part| part.is_news(&known)) || known.len() > ids.len() {
        let fresh = parts.iter().flat_map(|part| &part.fresh);
        memory::keep(
            book.dir(),
            project,
            fresh.map(|(stamp, row)| (row.task_id.clone(), (*stamp, row.clone()))).collect(),
        );
    }
    for part in parts {
        listing.rows.extend(part.listing.rows);
        listing.trouble.extend(part.listing.trouble);
    }
    listing
}

/// A part of a listing, and what of it can be remembered.
#[derive(Default)]
struct Part {
    listing: Listing,
    fresh: Vec<(Stamps, Row)>,
}

impl Part {
    fn add(&mut self, stamp: Stamps, recorded: Recorded, complete: impl Fn(&mut Row)) {
        let (row, trouble) = recorded.unwrap_or_else(|error| (None, vec![error]));
        if let Some(mut row) = row {
            if trouble.is_empty() && memory::is_settled(&stamp) {
                self.fresh.push((stamp, row.clone()));
            }
            complete(&mut row);
            self.listing.rows.push(row);
        }
        self.listing.trouble.extend(trouble.iter().map(explain));
    }

    fn is_news(&self, known: &Known) -> bool {
        self.fresh.iter().any(|(stamp, row)| known.get(&row.task_id).is_none_or(|(then, _)| then != stamp))
    }
}

type Recorded = Result<(Option<Row>, Vec<TaskError>), TaskError>;

/// Reads long lists in several threads, each a part, in the order of the list.
fn in_parts(ids: &[String], read: impl Fn(&[String]) -> Part + Sync) -> Vec<Part> {
    let hands = std::thread::available_parallelism().map_or(1, |hands| hands.get().min(4));
    if ids.len() < PART || hands == 1 {
        return vec![read(ids)];
    }
    let parts: Vec<&[String]> = ids.chunks(ids.len().div_ceil(hands)).collect();
    std::thread::scope(|scope| {
        let running: Vec<_> = parts.into_iter().map(|part| scope.spawn(|| read(part))).collect();
        running.into_iter().map(|part| part.join().expect("reading does not panic")).collect()
    })
}

/// One task, `None` when there is none of that identifier.
///
/// # Errors
/// [`TaskError`] when its files cannot be read.
pub fn one(book: &Book, project: &str, id: &str, tasks_root: Option<&Path>) -> Result<Option<Row>, TaskError> {
    crate::book::check_name("task identifier", id)?;
    let Some(folder) = book.open()? else { return Ok(None) };
    let roots = tasks_root.and_then(|root| work::Root::open(root).ok());
    match recorded(book, &folder, project, id)? {
        (None, mut trouble) if !trouble.is_empty() => Err(trouble.remove(0)),
        (None, _) => Ok(None),
        (Some(mut row), _) => {
            complete(&mut row, tasks_root, roots.as_ref());
            Ok(Some(row))
        }
    }
}

fn explain(error: &TaskError) -> String {
    base::fault::explain(error)
}

/// What the files of the task say.
fn recorded(book: &Book, folder: &Folder, project: &str, id: &str) -> Recorded {
    let (meta, trouble) = book.read_leniently(folder, id)?;
    let Some(meta) = meta else { return Ok((None, trouble)) };
    Ok((
        Some(Row {
            task_id: id.to_owned(),
            project_id: project.to_owned(),
            mode: text(&meta, "mode"),
            workspace: text(&meta, "workspace").unwrap_or_default(),
            web_port: number(&meta, "web_port"),
            web_token: text(&meta, "web_token"),
            backend: text(&meta, "backend"),
            preset: text(&meta, "preset"),
            name: text(&meta, "name").map(|name| base::text::clean_line(&name)).unwrap_or_default(),
            provider: text(&meta, "provider"),
            unrestricted: meta.get("unrestricted").and_then(Value::as_bool),
            exit_code: number(&meta, "exit_code"),
            deleting: meta.get("deleting").is_some_and(crate::claude::is_true),
            initialized: meta.get("ready_at").is_some_and(|value| !value.is_null()),
            created_at: text(&meta, "created_at"),
            work_status: None,
            work_message: None,
        }),
        trouble,
    ))
}

/// Adds what the agent says now, and the directory of a task that does not know its own.
fn complete(row: &mut Row, tasks_root: Option<&Path>, roots: Option<&work::Root>) {
    let status = roots.map(|roots| roots.status(&row.task_id)).unwrap_or_default();
    (row.work_status, row.work_message) = (status.status, status.message);
    if let (true, Some(root)) = (row.workspace.is_empty(), tasks_root) {
        row.workspace = root.join(&row.task_id).to_string_lossy().into_owned();
    }
}

fn text(meta: &Meta, key: &str) -> Option<String> {
    meta.get(key)?.as_str().map(str::to_owned)
}

fn number(meta: &Meta, key: &str) -> Option<i64> {
    meta.get(key)?.as_i64()
}
