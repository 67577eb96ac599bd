//! The metadata of a project's tasks: read without a lock, changed under the lock of the task.
//!
//! Invariants:
//! - a change reads what is there, changes the named keys, and replaces whole files: changes of different keys never
//!   undo each other, and keys that nobody here knows stay;
//! - a task exists when one of its two files does;
//! - files are 0600 in a directory of 0700.
//!
//! Refuses identifiers that are no plain name.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::disk::{Care, Folder};
use crate::document;
use crate::fault::TaskError;
use crate::hold::Hold;

const DOSSIER: &str = "_dossier.json";
const META: &str = "_meta.yml";
/// No file of ours is near it.
pub(crate) const LIMIT: u64 = 4 << 20;

/// A mapping with the keys of both files.
pub type Meta = Map<String, Value>;

/// The directory that holds the metadata of one project's tasks.
#[derive(Clone, Debug)]
pub struct Book {
    dir: PathBuf,
}

/// Checks that a project or task is named by one plain path component.
///
/// # Errors
/// [`TaskError::Unsafe`].
pub fn check_name(what: &'static str, name: &str) -> Result<(), TaskError> {
    let refuse = |why| Err(TaskError::Unsafe { what, name: name.to_owned(), why });
    match name {
        "" => refuse("it is empty"),
        "." => refuse("it names a directory"),
        _ if name.starts_with("..") => refuse("it begins with two dots"),
        _ if name.contains(['/', '\\', '\0']) => refuse("it contains a path separator"),
        _ => Ok(()),
    }
}

/// A task under its lock, with its files as they were read.
struct Held {
    _hold: Hold,
    folder: Folder,
    dossier: Option<Vec<u8>>,
    meta: Option<Vec<u8>>,
}

impl Book {
    /// The book in `dir`, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the dossier of `task` lies.
    ///
    /// # Errors
    /// [`TaskError::Unsafe`].
    pub fn dossier_path(&self, task: &str) -> Result<PathBuf, TaskError> {
        check_name("task identifier", task)?;
        Ok(self.dir.join(dossier_name(task)))
    }

    /// Where everything else about `task` lies.
    ///
    /// # Errors
    /// [`TaskError::Unsafe`].
    pub fn meta_path(&self, task: &str) -> Result<PathBuf, TaskError> {
        check_name("task identifier", task)?;
        Ok(self.dir.join(meta_name(task)))
    }

    /// True when one of the two files exists.
    ///
    /// # Errors
    /// [`TaskError::Unsafe`], or the operating system's.
    pub fn exists(&self, task: &str) -> Result<bool, TaskError> {
        check_name("task identifier", task)?;
        match self.open()? {
            Some(folder) => self.has(&folder, task),
            None => Ok(false),
        }
    }

    pub(crate) fn has(&self, folder: &Folder, task: &str) -> Result<bool, TaskError> {
        let at = |name: String| folder.has(&name).map_err(TaskError::at("look for", self.dir.join(&name)));
        Ok(at(meta_name(task))? || at(dossier_name(task))?)
    }

    pub(crate) fn open(&self) -> Result<Option<Folder>, TaskError> {
        match Folder::open(&self.dir) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TaskError::at("open", &self.dir)(error)),
        }
    }

    /// What is in the names of the files, each once, in the directory's order; also names that are no identifier.
    ///
    /// # Errors
    /// The operating system's; a missing directory is an empty one.
    pub fn ids(&self) -> Result<Vec<String>, TaskError> {
        let Some(folder) = self.open()? else { return Ok(Vec::new()) };
        let names = folder.names().map_err(TaskError::at("list", &self.dir))?;
        let mut seen = std::collections::HashSet::with_capacity(names.len());
        let stems = names.into_iter().filter_map(|name| stem(&name).map(str::to_owned));
        Ok(stems.filter(|stem| seen.insert(stem.clone())).collect())
    }

    /// The well-formed identifiers among [`Book::ids`].
    ///
    /// # Errors
    /// As [`Book::ids`].
    pub fn well_formed(&self) -> Result<Vec<String>, TaskError> {
        Ok(self.ids()?.into_iter().filter(|id| crate::id::is_id(id)).collect())
    }

    /// Both files of `task` as one mapping; `None` when neither exists.
    ///
    /// # Errors
    /// [`TaskError::Malformed`] for the first file that does not hold what it should.
    pub fn read(&self, task: &str) -> Result<Option<Meta>, TaskError> {
        check_name("task identifier", task)?;
        let Some(folder) = self.open()? else { return Ok(None) };
        let (dossier, meta) = self.contents(&folder, task)?;
        if dossier.is_none() && meta.is_none() {
            return Ok(None);
        }
        let dossier = self.dossier_of(task, dossier)?;
        let meta = self.meta_of(task, meta)?;
        Ok(Some(merged(meta, &dossier)))
    }

    /// Like [`Book::read`], with whatever can be read of damaged files and the reasons for the rest; `None` also when
    /// there is nothing that can be read.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn read_leniently(
        &self,
        folder: &Folder,
        task: &str,
    ) -> Result<(Option<Meta>, Vec<TaskError>), TaskError> {
        let (dossier, meta) = self.contents(folder, task)?;
        let mut trouble = Vec::new();
        let exists = dossier.is_some();
        let dossier = match self.dossier_of(task, dossier) {
            Ok(dossier) => exists.then_some(dossier),
            Err(error) => {
                trouble.push(error);
                None
            }
        };
        let remains = match meta {
            None => None,
            Some(content) => match document::parse_meta(&self.dir.join(meta_name(task)), &content) {
                Ok(meta) => Some(meta),
                Err(error) => {
                    trouble.push(error);
                    Some(document::salvage(&content)).filter(|meta| !meta.is_empty())
                }
            },
        };
        let known = remains.is_some() || dossier.is_some();
        Ok((known.then(|| merged(remains.unwrap_or_default(), &dossier.unwrap_or_default())), trouble))
    }

    /// The raw contents of dossier and meta file.
    #[allow(clippy::type_complexity)] // twice the same, and nobody else sees it
    pub(crate) fn contents(
        &self,
        folder: &Folder,
        task: &str,
    ) -> Result<(Option<Vec<u8>>, Option<Vec<u8>>), TaskError> {
        let read = |name: String| folder.read(&name, LIMIT).map_err(TaskError::at("read", self.dir.join(&name)));
        Ok((read(dossier_name(task))?, read(meta_name(task))?))
    }

    fn dossier_of(&self, task: &str, content: Option<Vec<u8>>) -> Result<Meta, TaskError> {
        let path = self.dir.join(dossier_name(task));
        content.map_or_else(|| Ok(Meta::new()), |content| document::parse_dossier(&path, &content))
    }

    fn meta_of(&self, task: &str, content: Option<Vec<u8>>) -> Result<Meta, TaskError> {
        let path = self.dir.join(meta_name(task));
        content.map_or_else(|| Ok(Meta::new()), |content| document::parse_meta(&path, &content))
    }

    /// Replaces both files of `task` by `meta`, creating them where needed. What the dossier holds are texts that are
    /// not empty.
    ///
    /// # Errors
    /// [`TaskError`]; every file is as it was or as it should be.
    pub fn write(&self, task: &str, meta: &Meta) -> Result<(), TaskError> {
        check_name("task identifier", task)?;
        let folder = self.make()?;
        let _hold = Hold::take(&self.dir, task)?;
        let (dossier, rest) = split(meta);
        self.put_dossier(&folder, task, &dossier, Care::Durable)?;
        self.put_meta(&folder, task, &rest, Care::Durable)
    }

    /// Sets and removes single keys of `task`; false when there is no such task.
    ///
    /// # Errors
    /// [`TaskError`]; a damaged file is not touched.
    pub fn update(&self, task: &str, changes: &Meta, removed: &[String]) -> Result<bool, TaskError> {
        self.change(task, |meta, dossier| {
            for (key, value) in changes {
                match document::dossier_key(key) {
                    Some(key) => set_dossier(dossier, key, value),
                    None => drop(meta.insert(key.clone(), value.clone())),
                }
            }
            for key in removed {
                match document::dossier_key(key) {
                    Some(key) => drop(dossier.shift_remove(key)),
                    None => drop(meta.shift_remove(key)),
                }
            }
        })
    }

    /// Takes the lock of a task and reads its files; `None` when there is no such task, also when it went meanwhile.
    fn hold(&self, task: &str) -> Result<Option<Held>, TaskError> {
        if !self.exists(task)? {
            return Ok(None);
        }
        let hold = Hold::take(&self.dir, task)?;
        let Some(folder) = self.open()? else { return Ok(None) };
        let (dossier, meta) = self.contents(&folder, task)?;
        if dossier.is_none() && meta.is_none() {
            hold.discard();
            return Ok(None);
        }
        Ok(Some(Held { _hold: hold, folder, dossier, meta }))
    }

    /// Reads the task under its lock, lets `act` change meta and dossier, and writes the file that changed.
    pub(crate) fn change(&self, task: &str, act: impl FnOnce(&mut Meta, &mut Meta)) -> Result<bool, TaskError> {
        let Some(Held { _hold, folder, dossier, meta }) = self.hold(task)? else { return Ok(false) };
        let (old_dossier, old_meta) = (self.dossier_of(task, dossier)?, self.meta_of(task, meta)?);
        let (mut dossier, mut meta) = (old_dossier.clone(), old_meta.clone());
        act(&mut meta, &mut dossier);
        if dossier != old_dossier {
            self.put_dossier(&folder, task, &dossier, Care::Durable)?;
        }
        if meta != old_meta {
            self.put_meta(&folder, task, &meta, Care::Durable)?;
        }
        Ok(true)
    }

    /// Gives the task another name, also when its dossier is missing or damaged; false when there is no such task.
    ///
    /// # Errors
    /// [`TaskError`].
    pub fn rename(&self, project: &str, task: &str, name: &str) -> Result<bool, TaskError> {
        let Some(Held { _hold, folder, dossier, .. }) = self.hold(task)? else { return Ok(false) };
        let mut dossier = self.dossier_of(task, dossier).unwrap_or_default();
        for (key, value) in [("project", project), ("task", task)] {
            dossier.entry(key).or_insert_with(|| Value::from(value));
        }
        dossier.insert("name".to_owned(), Value::from(name));
        self.put_dossier(&folder, task, &dossier, Care::Durable)?;
        Ok(true)
    }

    /// Marks the task as being deleted, so that a deletion that is cut short can be seen and repeated.
    ///
    /// # Errors
    /// [`TaskError`].
    pub fn mark_deleting(&self, task: &str) -> Result<bool, TaskError> {
        self.update(task, &Meta::from_iter([("deleting".to_owned(), Value::Bool(true))]), &[])
    }

    /// Removes the task from the book. The mark of its deletion goes last, so that whatever is left says what it is.
    ///
    /// # Errors
    /// The first failure; the other files are still tried.
    pub fn forget(&self, task: &str) -> Result<(), TaskError> {
        check_name("task identifier", task)?;
        let Some(folder) = self.open()? else { return Ok(()) };
        let hold = Hold::take(&self.dir, task)?;
        let mut names: Vec<String> = folder.names().map_err(TaskError::at("list", &self.dir))?;
        self.sweep(&names, task);
        names.retain(|name| is_rest(name, task));
        names.extend([dossier_name(task), meta_name(task)]);
        let remove = |name: &String| folder.remove(name).map_err(TaskError::at("remove", self.dir.join(name)));
        let failures: Vec<TaskError> = names.iter().filter_map(|name| remove(name).err()).collect();
        hold.discard();
        let _ = folder.sync();
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    /// Removes the locks of tasks that were forgotten by a process that was killed in the middle of it.
    fn sweep(&self, names: &[String], held: &str) {
        let locks = names.iter().filter_map(|name| name.strip_prefix('.')?.strip_suffix(".lock"));
        let known: std::collections::HashSet<&str> = names.iter().filter_map(|name| stem(name)).collect();
        for task in locks.filter(|task| *task != held && !known.contains(task)) {
            Hold::sweep(&self.dir, task);
        }
    }

    pub(crate) fn make(&self) -> Result<Folder, TaskError> {
        Folder::make_private(&self.dir).map_err(TaskError::at("create", &self.dir))
    }

    pub(crate) fn put_dossier(&self, folder: &Folder, task: &str, dossier: &Meta, care: Care) -> Result<(), TaskError> {
        let name = dossier_name(task);
        let text = document::render_dossier(dossier);
        folder.replace(&name, text.as_bytes(), care).map_err(TaskError::at("write", self.dir.join(&name)))
    }

    pub(crate) fn put_meta(&self, folder: &Folder, task: &str, meta: &Meta, care: Care) -> Result<(), TaskError> {
        let name = meta_name(task);
        let path = self.dir.join(&name);
        let text = document::render_meta(&path, meta)?;
        folder.replace(&name, text.as_bytes(), care).map_err(TaskError::at("write", path))
    }
}

/// The directory and the task that a dossier's path means.
///
/// # Errors
/// [`TaskError::Handle`] for any other path.
pub fn of_handle(handle: &Path) -> Result<(Book, String), TaskError> {
    let name = handle.file_name().and_then(|name| name.to_str());
    match (name.and_then(|name| name.strip_suffix(DOSSIER)), handle.parent()) {
        (Some(task), Some(dir)) if !task.is_empty() => Ok((Book::new(dir), task.to_owned())),
        _ => Err(TaskError::Handle(handle.to_owned())),
    }
}

pub(crate) fn dossier_name(task: &str) -> String {
    format!("{task}{DOSSIER}")
}

pub(crate) fn meta_name(task: &str) -> String {
    format!("{task}{META}")
}

/// The task in the name of one of its two files.
fn stem(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(DOSSIER).or_else(|| name.strip_suffix(META))?;
    (!stem.is_empty() && !stem.starts_with('.')).then_some(stem)
}

/// True for what a killed writer of this task left: ours begin with a dot, the predecessor's do not.
fn is_rest(name: &str, task: &str) -> bool {
    let bare = name.strip_prefix('.').unwrap_or(name);
    name.ends_with(".tmp") && (bare.starts_with(&dossier_name(task)) || bare.starts_with(&meta_name(task)))
}

fn merged(mut meta: Meta, dossier: &Meta) -> Meta {
    for (ours, theirs) in document::DOSSIER_KEYS {
        if let Some(Value::String(text)) = dossier.get(theirs) {
            meta.insert(ours.to_owned(), Value::from(text.as_str()));
        }
    }
    meta
}

fn split(meta: &Meta) -> (Meta, Meta) {
    let (mut dossier, mut rest) = (Meta::new(), Meta::new());
    for (ours, theirs) in document::DOSSIER_KEYS {
        if let Some(value) = meta.get(ours) {
            set_dossier(&mut dossier, theirs, value);
        }
    }
    rest.extend(
        meta.iter().filter(|(key, _)| document::dossier_key(key).is_none()).map(|(k, v)| (k.clone(), v.clone())),
    );
    (dossier, rest)
}

/// The dossier holds texts, and none that is empty.
fn set_dossier(dossier: &mut Meta, key: &str, value: &Value) {
    match value.as_str() {
        Some(text) if !text.is_empty() => drop(dossier.insert(key.to_owned(), Value::from(text))),
        _ => drop(dossier.shift_remove(key)),
    }
}
