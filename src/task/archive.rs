//! The archive of a project's tasks: one directory for each, `<time>_<task>[_<name>]`, with `task.json` and the logs.
//!
//! Invariants: an entry appears whole or not at all, is on the disk before anybody deletes what it was made of, is 0600
//! in a directory of 0700, and holds no secret. What is being written begins with a dot and is locked by its writer, so
//! that the next one can remove what a killed one left.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags};
use serde::Serialize;
use serde_json::Value;

use crate::book::{Book, Meta, dossier_name, meta_name};
use crate::fault::TaskError;
use crate::{document, moment, name, tree};

const TASK: &str = "task.json";
const LOG: &str = "logs/container.log";
const UNFINISHED: &str = ".unfinished-";
/// Directories below `logs` that are taken along.
const DEPTH: usize = 8;

/// An entry, as the value type of Python has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs)] // the reference of the value type tells
pub struct Entry {
    pub archive_dir: PathBuf,
    pub archived_at: String,
    pub task_id: String,
    pub name: String,
    pub mode: Option<String>,
    pub exit_code: Option<i64>,
}

/// Archives what is known about `task`, and `logs` of `task_dir`; `None` when nothing is known.
///
/// # Errors
/// [`TaskError::File`]; nothing of the entry is left.
pub fn archive(book: &Book, task: &str, task_dir: &Path, root: &Path) -> Result<Option<PathBuf>, TaskError> {
    archive_at(book, task, task_dir, root, SystemTime::now())
}

pub(crate) fn archive_at(
    book: &Book,
    task: &str,
    task_dir: &Path,
    root: &Path,
    time: SystemTime,
) -> Result<Option<PathBuf>, TaskError> {
    crate::check_name("task identifier", task)?;
    let Some(folder) = book.open()? else { return Ok(None) };
    let contents = book.contents(&folder, task)?;
    if contents.0.is_none() && contents.1.is_none() {
        return Ok(None);
    }
    let (meta, trouble) = book.read_leniently(&folder, task)?;
    let meta = meta.unwrap_or_default();
    base::file::create_private_dir(root).map_err(TaskError::at("create", root))?;
    sweep(root);
    let draft = Draft::begin(root)?;
    let filled = draft.fill(&meta, task_dir).and_then(|()| match trouble.is_empty() {
        true => Ok(()),
        false => draft.keep_damaged(task, contents),
    });
    match filled.and_then(|()| draft.publish(root, &base_name(task, &meta, time))) {
        Ok(entry) => Ok(Some(entry)),
        Err(error) => {
            draft.discard();
            Err(TaskError::File { verb: "archive a task in", path: root.to_owned(), source: error })
        }
    }
}

/// `<time>_<task>[_<name>]`; a name that nobody here wrote is made plain first.
fn base_name(task: &str, meta: &Meta, time: SystemTime) -> String {
    let name = meta.get("name").and_then(Value::as_str).and_then(name::sanitise);
    let name = name.map_or_else(String::new, |name| format!("_{name}"));
    format!("{}_{task}{name}", moment::compact(time))
}

/// An entry that is being written.
struct Draft {
    path: PathBuf,
    _lock: OwnedFd,
}

impl Draft {
    /// Until it is locked a sweeper may take it for a killed writer's; then another one is begun.
    fn begin(root: &Path) -> Result<Self, TaskError> {
        loop {
            let path = root.join(format!("{UNFINISHED}{}", base::ident::random_hex(8)));
            if let Some(lock) = make_locked(&path).map_err(TaskError::at("create", &path))? {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    fn fill(&self, meta: &Meta, task_dir: &Path) -> io::Result<()> {
        let logs = task_dir.join("logs");
        if logs.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            copy_tree(&logs, &self.path.join("logs"), DEPTH)?;
        }
        let kept: Meta =
            meta.iter().filter(|(key, _)| !document::is_secret(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
        let mut text = serde_json::to_string_pretty(&kept)?;
        text.push('\n');
        write_whole(&self.path.join(TASK), text.as_bytes())
    }

    /// What could not be read is kept as it is, for a person.
    fn keep_damaged(&self, task: &str, contents: (Option<Vec<u8>>, Option<Vec<u8>>)) -> io::Result<()> {
        for (name, content) in [(dossier_name(task), contents.0), (meta_name(task), contents.1)] {
            if let Some(content) = content {
                write_whole(&self.path.join(name), document::without_secrets(&content).as_bytes())?;
            }
        }
        Ok(())
    }

    /// Gives the entry the first free name of `base`, `base_1`, and so on.
    fn publish(&self, root: &Path, base: &str) -> io::Result<PathBuf> {
        sync_dir(&self.path)?;
        for number in 0..1000 {
            let name = if number == 0 { base.to_owned() } else { format!("{base}_{number}") };
            let target = root.join(name);
            match rustix::fs::renameat_with(CWD, &self.path, CWD, &target, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    sync_dir(root)?;
                    return Ok(target);
                }
                Err(rustix::io::Errno::EXIST) => {}
                // Without the flag a directory still never replaces one that holds something.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if !target.exists() => {
                    std::fs::rename(&self.path, &target)?;
                    sync_dir(root)?;
                    return Ok(target);
                }
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "a thousand entries have that name"))
    }

    fn discard(&self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Makes a directory and locks it; `None` when a sweeper was faster, which removes it with the lock in its hand.
fn make_locked(path: &Path) -> io::Result<Option<OwnedFd>> {
    DirBuilder::new().mode(0o700).create(path)?;
    let lock = match open_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let _ = rustix::fs::flock(&lock, FlockOperation::LockExclusive);
    Ok(path.symlink_metadata().is_ok().then_some(lock))
}

/// Removes what killed writers left: nobody holds its lock.
fn sweep(root: &Path) {
    let Ok(entries) = std::fs::read_dir(root) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED)) {
        let Ok(dir) = open_dir(&entry.path()) else { continue };
        if rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = tree::remove(root, &entry.file_name());
        }
    }
}

/// Copies regular files; whatever else lies there (links, pipes) is left out.
fn copy_tree(from: &Path, to: &Path, depth: usize) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() && depth > 0 {
            copy_tree(&entry.path(), &target, depth - 1)?;
        } else if kind.is_file() {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let mut source = File::from(rustix::fs::openat(CWD, entry.path(), flags, Mode::empty())?);
            let mut copy = create_private(&target)?;
            io::copy(&mut source, &mut copy)?;
            copy.sync_all()?;
        }
    }
    sync_dir(to)
}

fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = create_private(path)?;
    io::Write::write_all(&mut file, content)?;
    file.sync_all()
}

fn create_private(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::fsync(open_dir(path)?)?)
}

/// The entries of a project's archive, the newest first; what cannot be read is left out.
pub fn list(root: &Path) -> Vec<Entry> {
    entry_names(root).into_iter().filter_map(|name| read_entry(root, &name)).collect()
}

/// The log of the newest entry whose name begins with `beginning` and that has one.
pub fn log(root: &Path, beginning: &str) -> Option<PathBuf> {
    let named = entry_names(root).into_iter().filter(|name| name.starts_with(beginning));
    named.map(|name| root.join(name).join(LOG)).find(|path| path.symlink_metadata().is_ok_and(|found| found.is_file()))
}

fn entry_names(root: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let is_dir = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let mut names: Vec<String> =
        entries.flatten().filter(is_dir).filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort_unstable_by(|a, b| b.cmp(a));
    names
}

fn read_entry(root: &Path, name: &str) -> Option<Entry> {
    let dir = root.join(name);
    let content = base::file::read_regular(&dir.join(TASK), crate::book::LIMIT).ok()?;
    let meta = document::parse_dossier(&dir.join(TASK), &content).ok()?;
    let mut parts = name.splitn(3, '_');
    let (time, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let text = |key: &str| meta.get(key).and_then(Value::as_str).map(base::text::clean_line);
    Some(Entry {
        archived_at: time.to_owned(),
        task_id: text("task_id").unwrap_or_else(|| id.to_owned()),
        name: text("name").unwrap_or_default(),
        mode: text("mode"),
        exit_code: meta.get("exit_code").and_then(Value::as_i64),
        archive_dir: dir,
    })
}
