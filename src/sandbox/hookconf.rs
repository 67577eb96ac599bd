//! Podman's `containers.conf`: which files it reads in our case, and the `hooks_dir` list in them.
//!
//! Invariants: a file is replaced atomically and only by text that parses again and says what was meant; comments, order
//! and foreign entries stay; a link to the file stays a link. Later files replace the list of earlier ones, so a list
//! that we begin takes over what was in force before.

use std::io;
use std::path::{Path, PathBuf};

use base::fault::{Fault, Kind};
use toml_edit::{Array, DocumentMut, Item, Table, Value};

const SYSTEM: &str = "/etc/containers/containers.conf";
const VENDOR: &str = "/usr/share/containers/containers.conf";
/// Where podman looks for hooks when no file has a list.
const DEFAULT_DIRS: [&str; 2] = ["/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d"];
const SIZE_LIMIT: u64 = 1024 * 1024;

/// Why podman's configuration does not do.
#[derive(Debug, thiserror::Error)]
pub enum ConfFault {
    /// It cannot be read or written.
    #[error("cannot {doing} podman's configuration `{}`", .path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is not TOML.
    #[error("cannot understand podman's configuration `{}`", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: toml_edit::TomlError,
    },
    /// `engine` or `hooks_dir` is something else than podman takes.
    #[error("cannot use podman's configuration `{}`: {why}", .path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
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
            Self::File { .. } => "hook-conf-file",
            Self::Syntax { .. } => "hook-conf-syntax",
            Self::Shape { .. } => "hook-conf-shape",
            Self::NotListed { .. } => "hook-conf-not-listed",
            Self::Hidden { .. } => "hook-conf-hidden",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File { .. } => None,
            Self::Syntax { .. } | Self::Shape { .. } => Some("correct the file; podman refuses it as well".into()),
            Self::NotListed { .. } => Some("list it with `terok-executor setup`".into()),
            Self::Hidden { variable, hooks_dir, .. } => Some(format!(
                "unset {variable}, or add `hooks_dir = [\"{}\"]` to the section `[engine]` of that file",
                hooks_dir.display()
            )),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::File { .. } => Kind::Os,
            Self::Syntax { .. } | Self::Shape { .. } => Kind::Value,
            Self::NotListed { .. } | Self::Hidden { .. } => Kind::Runtime,
        }
    }
}

/// The files that podman reads, in order, and the one that we patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf {
    target: PathBuf,
    read: Vec<PathBuf>,
    named: Vec<(&'static str, PathBuf)>,
}

impl Conf {
    /// What podman would read when called from this process.
    pub fn detect() -> Self {
        let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let config = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
        let user = config.map(|dir| dir.join("containers/containers.conf"));
        let named = ["CONTAINERS_CONF", "CONTAINERS_CONF_OVERRIDE"];
        let named = named.into_iter().filter_map(|name| Some((name, variable(name)?))).collect();
        Self::of(base::user::is_really_root(), user, named)
    }

    /// Real root's list is the system's: older versions of podman do not read a user file for root.
    fn of(root: bool, user: Option<PathBuf>, named: Vec<(&'static str, PathBuf)>) -> Self {
        let mut read: Vec<PathBuf> = [VENDOR, SYSTEM].map(PathBuf::from).into();
        read.extend(drop_ins(Path::new(SYSTEM)));
        let user = user.filter(|_| !root);
        if let Some(user) = &user {
            read.push(user.clone());
            read.extend(drop_ins(user));
        }
        let target = user.unwrap_or_else(|| SYSTEM.into());
        Self { target, read, named }
    }

    /// One file and nothing else.
    pub fn only(path: &Path) -> Self {
        Self { target: path.to_owned(), read: vec![path.to_owned()], named: Vec::new() }
    }

    /// The file that [`Conf::list`] patches.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Adds a directory to the list in the target, unless it is there; true when the file was changed.
    ///
    /// # Errors
    /// [`ConfFault`]; the file is untouched then.
    pub fn list(&self, hooks_dir: &Path) -> Result<bool, ConfFault> {
        let mut document = load(&self.target)?.unwrap_or_default();
        let present = read_list(&document, &self.target)?;
        let wanted = hooks_dir.to_string_lossy().into_owned();
        if present.iter().flatten().any(|entry| same_dir(entry, hooks_dir)) {
            return Ok(false);
        }
        let list = match present {
            Some(list) => list,
            None => self.in_force()?,
        };
        set_list(&mut document, &self.target, &list, &wanted)?;
        self.replace(&document.to_string(), hooks_dir)?;
        Ok(true)
    }

    /// The list that our own one would hide: the last one of the files read before, or podman's defaults.
    fn in_force(&self) -> Result<Vec<String>, ConfFault> {
        let mut found = None;
        for path in self.read.iter().take_while(|path| **path != self.target) {
            if let Some(document) = load(path)? {
                found = read_list(&document, path)?.or(found);
            }
        }
        let defaults = || DEFAULT_DIRS.iter().filter(|d| Path::new(d).is_dir()).map(|d| (*d).to_owned());
        Ok(found.unwrap_or_else(|| defaults().collect()))
    }

    fn replace(&self, text: &str, hooks_dir: &Path) -> Result<(), ConfFault> {
        let path = std::fs::canonicalize(&self.target).unwrap_or_else(|_| self.target.clone());
        let failed = |doing| {
            let path = path.clone();
            move |source| ConfFault::File { doing, path, source }
        };
        let again: DocumentMut = text.parse().map_err(|source| ConfFault::Syntax { path: path.clone(), source })?;
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
        let mut alone = None;
        for (variable, path) in &self.named {
            let list = load(path)?.map(|document| read_list(&document, path)).transpose()?.flatten();
            let listed = list.iter().flatten().any(|entry| same_dir(entry, hooks_dir));
            // The override only counts when it has a list of its own.
            let decides = *variable == "CONTAINERS_CONF" || list.is_some();
            if decides && !listed {
                let (path, hooks_dir) = (path.clone(), hooks_dir.to_owned());
                return Err(ConfFault::Hidden { variable, path, hooks_dir });
            }
            alone = alone.or(decides.then_some(()));
        }
        match alone {
            Some(()) => Ok(()),
            None => self.require_in_files(hooks_dir),
        }
    }

    fn require_in_files(&self, hooks_dir: &Path) -> Result<(), ConfFault> {
        let mut decider = (self.target.clone(), false);
        for path in &self.read {
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

/// `containers.conf.d/*.conf` beside a file, in order.
fn drop_ins(conf: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(conf.with_extension("conf.d"));
    let mut files: Vec<PathBuf> = entries.into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.retain(|path| path.extension() == Some("conf".as_ref()));
    files.sort();
    files
}

fn same_dir(entry: &str, dir: &Path) -> bool {
    let entry = Path::new(entry);
    entry == dir || matches!((std::fs::canonicalize(entry), std::fs::canonicalize(dir)), (Ok(a), Ok(b)) if a == b)
}

fn load(path: &Path) -> Result<Option<DocumentMut>, ConfFault> {
    let failed = |source| ConfFault::File { doing: "read", path: path.to_owned(), source };
    // The operator's own file may be a link, as dotfile managers make them.
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let bytes = base::file::read_regular(&real, SIZE_LIMIT).map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|e| failed(io::Error::other(e)))?;
    text.parse().map(Some).map_err(|source| ConfFault::Syntax { path: path.to_owned(), source })
}

/// The list; podman also takes a single text.
fn read_list(document: &DocumentMut, path: &Path) -> Result<Option<Vec<String>>, ConfFault> {
    let refuse = |why| ConfFault::Shape { path: path.to_owned(), why };
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
    let refuse = || ConfFault::Shape { path: path.to_owned(), why: "`engine` is not a table" };
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
