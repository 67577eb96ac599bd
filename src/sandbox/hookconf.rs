//! Podman's `containers.conf`: which files it reads in our case, and the `hooks_dir` list in them.
//!
//! Invariants: a file is replaced atomically and only by text that parses again and says what was meant; comments, order
//! and foreign entries stay; a link to the file stays a link. Later files replace the list of earlier ones, so a list
//! that we begin takes over what was in force before.

use std::io;
use std::path::{Path, PathBuf};

use base::fault::{Fault, Kind};
use podman::conffile::{ALONE, ConfFileError, ConfFiles, LAST, Rules, load};
use toml_edit::{Array, DocumentMut, Item, Table, Value};

/// Where podman looks for hooks when no file has a list.
const DEFAULT_DIRS: [&str; 2] = ["/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d"];

/// Why podman's configuration does not do.
#[derive(Debug, thiserror::Error)]
pub enum ConfFault {
    /// It cannot be read or understood.
    #[error(transparent)]
    Unusable(#[from] ConfFileError),
    /// It cannot be written.
    #[error("cannot {doing} podman's configuration `{}`", .path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The list lacks our directory.
    #[error("podman's configuration `{}` does not list the hooks directory `{}`", .path.display(), .hooks_dir.display())]
    NotListed {
        /// The deciding file.
        path: PathBuf,
        /// Our directory.
        hooks_dir: PathBuf,
    },
    /// The environment makes podman read another file.
    #[error("`{variable}` makes podman read `{}`, which does not list the hooks directory `{}`", .path.display(), .hooks_dir.display())]
    Hidden {
        /// The variable.
        variable: &'static str,
        /// The file it names.
        path: PathBuf,
        /// Our directory.
        hooks_dir: PathBuf,
    },
}

impl Fault for ConfFault {
    fn code(&self) -> &'static str {
        match self {
            Self::Unusable(inner) => inner.code(),
            Self::File { .. } => "hook-conf-file",
            Self::NotListed { .. } => "hook-conf-not-listed",
            Self::Hidden { .. } => "hook-conf-hidden",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unusable(inner) => inner.hint(),
            Self::File { .. } => None,
            Self::NotListed { .. } => Some("list it with `terok-executor setup`".into()),
            Self::Hidden { variable, hooks_dir, .. } => Some(format!(
                "unset {variable}, or add `hooks_dir = [\"{}\"]` to the section `[engine]` of that file",
                hooks_dir.display()
            )),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Unusable(inner) => inner.kind(),
            Self::File { .. } => Kind::Os,
            Self::NotListed { .. } | Self::Hidden { .. } => Kind::Runtime,
        }
    }
}

/// The files that podman reads; the account's own one is the one that we patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf(ConfFiles);

impl Conf {
    /// What podman would read when called from this process.
    pub fn detect() -> Self {
        Self(ConfFiles::detect(Rules::Layered))
    }

    /// One file and nothing else.
    pub fn only(path: &Path) -> Self {
        Self(ConfFiles::only(path))
    }

    /// The file that [`Conf::list`] patches.
    pub fn target(&self) -> &Path {
        &self.0.own
    }

    /// Adds a directory to the list in the target, unless it is there; true when the file was changed.
    ///
    /// # Errors
    /// [`ConfFault`]; the file is untouched then.
    pub fn list(&self, hooks_dir: &Path) -> Result<bool, ConfFault> {
        let mut document = load(self.target())?.unwrap_or_default();
        let present = read_list(&document, self.target())?;
        let wanted = hooks_dir.to_string_lossy().into_owned();
        if present.iter().flatten().any(|entry| same_dir(entry, hooks_dir)) {
            return Ok(false);
        }
        let list = match present {
            Some(list) => list,
            None => self.in_force()?,
        };
        set_list(&mut document, self.target(), &list, &wanted)?;
        self.replace(&document.to_string(), hooks_dir)?;
        Ok(true)
    }

    /// The list that our own one would hide: the last one of the files read before, or podman's defaults.
    fn in_force(&self) -> Result<Vec<String>, ConfFault> {
        let mut found = None;
        for path in self.0.usual.iter().take_while(|path| **path != self.0.own) {
            if let Some(document) = load(path)? {
                found = read_list(&document, path)?.or(found);
            }
        }
        let defaults = || DEFAULT_DIRS.iter().filter(|d| Path::new(d).is_dir()).map(|d| (*d).to_owned());
        Ok(found.unwrap_or_else(|| defaults().collect()))
    }

    fn replace(&self, text: &str, hooks_dir: &Path) -> Result<(), ConfFault> {
        let path = std::fs::canonicalize(self.target()).unwrap_or_else(|_| self.0.own.clone());
        let failed = |doing| {
            let path = path.clone();
            move |source| ConfFault::File { doing, path, source }
        };
        let again: DocumentMut = text.parse().map_err(|source| ConfFileError::Syntax { path: path.clone(), source })?;
        if !read_list(&again, &path)?.iter().flatten().any(|entry| same_dir(entry, hooks_dir)) {
            return Err(ConfFault::NotListed { path, hooks_dir: hooks_dir.to_owned() });
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed("create the directory of"))?;
        }
        let mode = std::fs::metadata(&path).map(|meta| std::os::unix::fs::PermissionsExt::mode(&meta.permissions()));
        let mode = mode.map_or(base::file::PUBLIC, |mode| mode & 0o777);
        base::file::write_atomic(&path, text.as_bytes(), mode).map_err(failed("write"))
    }

    /// Proves that the list podman ends up with has the directory.
    ///
    /// # Errors
    /// [`ConfFault`] naming the file that decides.
    pub fn require(&self, hooks_dir: &Path) -> Result<(), ConfFault> {
        let named = [(ALONE, self.0.alone.as_deref()), (LAST, self.0.last.as_deref())];
        let mut decided = false;
        for (variable, path) in named.into_iter().filter_map(|(variable, path)| Some((variable, path?))) {
            let list = load(path)?.map(|document| read_list(&document, path)).transpose()?.flatten();
            let listed = list.iter().flatten().any(|entry| same_dir(entry, hooks_dir));
            // The last file only counts when it has a list of its own.
            let decides = variable == ALONE || list.is_some();
            if decides && !listed {
                let (path, hooks_dir) = (path.to_owned(), hooks_dir.to_owned());
                return Err(ConfFault::Hidden { variable, path, hooks_dir });
            }
            decided |= decides;
        }
        if decided { Ok(()) } else { self.require_in_files(hooks_dir) }
    }

    fn require_in_files(&self, hooks_dir: &Path) -> Result<(), ConfFault> {
        let mut decider = (self.0.own.clone(), false);
        for path in &self.0.usual {
            let list = load(path)?.map(|document| read_list(&document, path)).transpose()?.flatten();
            if let Some(list) = list {
                decider = (path.clone(), list.iter().any(|entry| same_dir(entry, hooks_dir)));
            }
        }
        match decider {
            (_, true) => Ok(()),
            (path, false) => Err(ConfFault::NotListed { path, hooks_dir: hooks_dir.to_owned() }),
        }
    }
}

fn same_dir(entry: &str, dir: &Path) -> bool {
    let entry = Path::new(entry);
    entry == dir || matches!((std::fs::canonicalize(entry), std::fs::canonicalize(dir)), (Ok(a), Ok(b)) if a == b)
}

/// The list; podman also takes a single text.
fn read_list(document: &DocumentMut, path: &Path) -> Result<Option<Vec<String>>, ConfFileError> {
    let refuse = |why: &str| ConfFileError::Shape { path: path.to_owned(), why: why.to_owned() };
    let Some(engine) = document.get("engine") else { return Ok(None) };
    let engine = engine.as_table_like().ok_or_else(|| refuse("`engine` is not a table"))?;
    match engine.get("hooks_dir").and_then(Item::as_value) {
        None if engine.get("hooks_dir").is_some_and(|item| !item.is_none()) => {
            Err(refuse("`hooks_dir` is not a list of texts"))
        }
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![text.value().clone()])),
        // Newer versions allow `{append = true}` as a last member, which is no directory.
        Some(Value::Array(array)) => Ok(Some(array.iter().filter_map(Value::as_str).map(str::to_owned).collect())),
        Some(_) => Err(refuse("`hooks_dir` is not a list of texts")),
    }
}

fn set_list(document: &mut DocumentMut, path: &Path, list: &[String], wanted: &str) -> Result<(), ConfFault> {
    let refuse = || ConfFileError::Shape { path: path.to_owned(), why: "`engine` is not a table".to_owned() };
    let engine = document.entry("engine").or_insert_with(|| Item::Table(Table::new()));
    let engine = engine.as_table_like_mut().ok_or_else(refuse)?;
    if let Some(array) = engine.get_mut("hooks_dir").and_then(Item::as_array_mut) {
        array.insert(list.len().min(array.len()), wanted);
        return Ok(());
    }
    let array: Array = list.iter().map(String::as_str).chain([wanted]).collect();
    match engine.get_mut("hooks_dir").and_then(Item::as_value_mut) {
        // A text becomes a list; what is written around it stays.
        Some(scalar) => {
            let decor = scalar.decor().clone();
            *scalar = Value::Array(array);
            *scalar.decor_mut() = decor;
        }
        None => {
            engine.insert("hooks_dir", toml_edit::value(array));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "hookconf_test.rs"]
mod tests;
