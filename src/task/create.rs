//! A new task: an identifier that nobody else has, its metadata, and its directory.
//!
//! The identifier is reserved by creating the dossier, which only one process can. Killed at any moment, the task either
//! was never listed or is listed as created, and [`prepare`] completes its directory. A directory that is there already
//! is never adopted. Nothing is synchronised to the disk: a power cut can take nothing but a task without content.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::book::{self, Book, Meta, check_name, dossier_name};
use crate::disk::{Care, Folder};
use crate::document;
use crate::fault::TaskError;
use crate::moment;

const TRIES: usize = 100;
/// What the container may write into; mounted at `/workspace`.
pub const WORKSPACE: &str = "workspace-dangerous";
const MARKER: &str = ".new-task-marker";
const README: &str = include_str!("README.txt");

/// A task that was just created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its identifier.
    pub id: String,
    /// Its directory.
    pub dir: PathBuf,
}

/// Creates a task named `name` below `tasks_root`.
///
/// # Errors
/// [`TaskError`]; nothing of the task is left.
pub fn create(book: &Book, tasks_root: &Path, project: &str, name: &str) -> Result<Created, TaskError> {
    create_with(book, tasks_root, project, name, crate::id::draw)
}

pub(crate) fn create_with(
    book: &Book,
    tasks_root: &Path,
    project: &str,
    name: &str,
    mut draw: impl FnMut() -> String,
) -> Result<Created, TaskError> {
    check_name("project identifier", project)?;
    base::file::create_private_dir(tasks_root).map_err(TaskError::at("create", tasks_root))?;
    let folder = book.make()?;
    for _ in 0..TRIES {
        let id = draw();
        let dir = tasks_root.join(&id);
        if dir.symlink_metadata().is_ok() || !reserve(book, &folder, project, &id, name)? {
            continue;
        }
        match furnish(book, &folder, &id, &dir) {
            Ok(true) => return Ok(Created { id, dir }),
            other => {
                let _ = folder.remove(&book::meta_name(&id));
                let _ = folder.remove(&dossier_name(&id));
                other?;
            }
        }
    }
    Err(TaskError::NoFreeId { dir: book.dir().to_owned(), tries: TRIES })
}

/// Creates the dossier of `id` unless one of its files exists.
fn reserve(book: &Book, folder: &Folder, project: &str, id: &str, name: &str) -> Result<bool, TaskError> {
    if book.has(folder, id)? {
        return Ok(false);
    }
    let members = [("project", project), ("task", id), ("name", name)];
    let dossier: Meta = members.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect();
    let file = dossier_name(id);
    let text = document::render_dossier(&dossier);
    folder.create(&file, text.as_bytes(), Care::Quick).map_err(TaskError::at("create", book.dir().join(&file)))
}

/// Writes the rest of the metadata and creates the directory; false when somebody else has the directory.
fn furnish(book: &Book, folder: &Folder, id: &str, dir: &Path) -> Result<bool, TaskError> {
    let workspace = dir.to_str().ok_or_else(|| TaskError::Unwritable {
        path: book.dir().join(book::meta_name(id)),
        reason: format!("the directory `{}` is not UTF-8", dir.display()),
    })?;
    let meta = Meta::from_iter([
        ("mode".to_owned(), Value::Null),
        ("workspace".to_owned(), Value::from(workspace)),
        ("web_port".to_owned(), Value::Null),
        ("created_at".to_owned(), Value::from(moment::iso(SystemTime::now()))),
    ]);
    book.put_meta(folder, id, &meta, Care::Quick)?;
    match private_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        other => other.map_err(TaskError::at("create", dir))?,
    }
    if let Err(error) = fill(dir) {
        let _ = std::fs::remove_dir_all(dir);
        return Err(TaskError::at("fill", dir)(error));
    }
    Ok(true)
}

/// Completes the directory of a task whose creation was cut short; one that is complete stays as it is.
///
/// # Errors
/// The operating system's.
pub fn prepare(dir: &Path) -> Result<(), TaskError> {
    if let Some(root) = dir.parent() {
        base::file::create_private_dir(root).map_err(TaskError::at("create", root))?;
    }
    let new = match private_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => !dir.join(WORKSPACE).is_dir(),
        other => other.map(|()| true).map_err(TaskError::at("create", dir))?,
    };
    if new { fill(dir).map_err(TaskError::at("fill", dir)) } else { Ok(()) }
}

/// The marker comes before the workspace has its name, so that a workspace that exists is complete.
fn fill(dir: &Path) -> io::Result<()> {
    std::fs::write(dir.join("README.md"), README)?;
    let beside = dir.join(format!(".{WORKSPACE}"));
    match private_dir(&beside) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    std::fs::write(beside.join(MARKER), "")?;
    std::fs::rename(&beside, dir.join(WORKSPACE))
}

fn private_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path)
}
