//! Layered configuration: which `config.yml` files there are, and what they say together (`crate::stack` merges them).
//!
//! Invariants: values keep their YAML types; a file is read again only when it changed on disk, so an edit by us or by an
//! editor is seen by the next read of the same process; a broken layer is left out and said so once, naming file and
//! line, while the other layers still count. Reading has no side effect on disk.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Map, Value};

use crate::fault::{Fault, Kind};
use crate::path::{Namespace, PathError};
use crate::shared::Shared;
pub use crate::stack::{INHERIT, Scope, Stack, deep_merge};
use crate::stamp::Stamp;
use crate::yaml::{self, YamlError};
use crate::{env, notice};

/// A larger configuration file is refused.
const SIZE_LIMIT: u64 = 4 << 20;

/// Why configuration could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file holds no usable YAML.
    #[error("cannot use configuration file `{}`", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: YamlError,
    },
    /// A JSON file holds no JSON object.
    #[error("cannot use configuration file `{}`: {reason}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be read.
    #[error("cannot read configuration file `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// A file could not be replaced; its old content is intact.
    #[error("cannot write configuration file `{}`", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// The file to write could not be named.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl Fault for ConfigError {
    fn code(&self) -> &'static str {
        match self {
            Self::Content { source, .. } => source.code(),
            Self::Json { .. } => "config-json",
            Self::Read { .. } => "config-read",
            Self::Write { .. } => "config-write",
            Self::Path(source) => source.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Content { path, source } => {
                source.hint().or_else(|| Some(format!("correct `{}` and try again", path.display())))
            }
            Self::Path(source) => source.hint(),
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Content { .. } | Self::Json { .. } => Kind::Value,
            Self::Read { .. } | Self::Write { .. } => Kind::Os,
            Self::Path(source) => source.kind(),
        }
    }
}

/// Reads a YAML layer; a missing or blank file is an empty one.
///
/// # Errors
/// [`ConfigError`] for unreadable or malformed files and for a top level that is not a mapping.
pub fn load_yaml_scope(level: &str, path: &Path) -> Result<Scope, ConfigError> {
    let data = match read_text(path)? {
        Some(text) => {
            yaml::parse_mapping(&text).map_err(|source| ConfigError::Content { path: path.to_owned(), source })?
        }
        None => Map::new(),
    };
    Ok(scope(level, path, data))
}

/// Reads a JSON layer; a missing or blank file is an empty one.
///
/// # Errors
/// As [`load_yaml_scope`].
pub fn load_json_scope(level: &str, path: &Path) -> Result<Scope, ConfigError> {
    let refuse = |reason: String| ConfigError::Json { path: path.to_owned(), reason };
    let text = read_text(path)?.unwrap_or_default();
    let data = match text.trim() {
        "" => Map::new(),
        text => match serde_json::from_str(text).map_err(|error| refuse(error.to_string()))? {
            Value::Object(data) => data,
            other => {
                let found = yaml::type_name(&other);
                return Err(refuse(format!("expected a mapping at the top level, found {found}")));
            }
        },
    };
    Ok(scope(level, path, data))
}

fn scope(level: &str, path: &Path, data: Map<String, Value>) -> Scope {
    Scope { level: level.to_owned(), source: Some(path.to_owned()), data: Arc::new(data) }
}

/// `None` when the file does not exist. Links are followed: people keep their configuration elsewhere.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, ConfigError> {
    let fail = |source| ConfigError::Read { path: path.to_owned(), source };
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if missing(&error) => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let about = file.metadata().map_err(fail)?;
    if is_null_device(&about) {
        return Ok(None);
    }
    if !about.is_file() || about.len() > SIZE_LIMIT {
        return Err(fail(io::Error::other("not a regular file of at most 4 MiB")));
    }
    let mut text = String::new();
    file.take(SIZE_LIMIT).read_to_string(&mut text).map_err(fail)?;
    Ok(Some(text))
}

/// `/dev/null` is how one says that there is no configuration.
fn is_null_device(about: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let device = about.rdev();
    about.file_type().is_char_device() && (rustix::fs::major(device), rustix::fs::minor(device)) == (1, 3)
}

fn missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The `config.yml` files with their labels, lowest priority first; none of them needs to exist.
pub fn files() -> Vec<(&'static str, PathBuf)> {
    files_in(Namespace::current())
}

/// As [`files`], for the given namespace.
pub fn files_in(namespace: Namespace) -> Vec<(&'static str, PathBuf)> {
    if let Some(path) = env::path("TEROK_CONFIG_FILE") {
        return vec![("override", path)];
    }
    let mut files = vec![("system", PathBuf::from("/etc/terok/config.yml"))];
    if !namespace.root
        && let Ok(dir) = namespace.config_dir("", None)
    {
        files.push(("user", dir.join("config.yml")));
    }
    files
}

/// The files whose content counts in this process, lowest priority first: those of [`files_in`], the one of the Python
/// installation if [`set_prefix`] named it, and for root its own file as well.
///
/// Root's own file must belong to root: with `sudo`, the home directory may be somebody else's.
pub fn sources_in(namespace: Namespace) -> Vec<(&'static str, PathBuf)> {
    let mut sources = files_in(namespace);
    if sources[0].0 == "override" {
        return sources;
    }
    let prefix = PREFIX.read().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(file) = prefix.map(|dir| dir.join("etc/terok/config.yml"))
        && !is_same_file(&file, &sources[0].1)
    {
        sources.insert(1, ("prefix", file));
    }
    if namespace.root
        && let Ok(file) = user_file()
        && std::fs::metadata(&file).is_ok_and(|about| about.uid() == 0)
    {
        sources.push(("user", file));
    }
    sources
}

/// Two names of what exists are compared by what they lead to, others as they are written.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (std::fs::metadata(one), std::fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => one == other,
    }
}

/// The user's `config.yml`, root's too; `TEROK_CONFIG_FILE` does not move it.
///
/// # Errors
/// [`PathError`] when there is no home directory.
pub fn user_file() -> Result<PathBuf, PathError> {
    Ok(Namespace { root: false }.config_dir("", None)?.join("config.yml"))
}

static PREFIX: RwLock<Option<PathBuf>> = RwLock::new(None);

/// Names the directory of the Python installation, below which a distributor may have put a `config.yml`.
pub fn set_prefix(dir: PathBuf) {
    *PREFIX.write().unwrap_or_else(PoisonError::into_inner) = Some(dir);
}

/// The file that edits go to: `TEROK_CONFIG_FILE`, else `config.yml` in the configuration directory.
///
/// # Errors
/// [`PathError`] when there is no home directory.
pub fn writable_file() -> Result<PathBuf, PathError> {
    match env::path("TEROK_CONFIG_FILE") {
        Some(path) => Ok(path),
        None => Ok(crate::path::config_dir("", None)?.join("config.yml")),
    }
}

/// A file as it was read.
struct Cached {
    /// `None` is the stamp of what cannot be looked at: no file has it, so that it is read again once it can be.
    stamp: Option<Stamp>,
    /// Whether every change after the reading shows in the stamp (`crate::stamp`).
    settled: bool,
    layer: Layer,
}

static CACHE: Shared<Option<HashMap<PathBuf, Cached>>> = Shared::new();

/// What became of one file: its content, which is empty when there is a fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The file and what it says.
    pub scope: Scope,
    /// Why it could not be used.
    pub fault: Option<String>,
}

fn layer(label: &str, path: &Path) -> Option<Layer> {
    match Stamp::of(path) {
        Ok(now) => Some(layer_of(Some(now), label, path)),
        Err(error) if missing(&error) => None,
        Err(_) => Some(layer_of(None, label, path)),
    }
}

fn layer_of(now: Option<Stamp>, label: &str, path: &Path) -> Layer {
    let settled = now.is_none_or(|stamp| stamp.is_settled());
    let mut guard = CACHE.lock();
    let cache = guard.get_or_insert_with(HashMap::new);
    let known = cache.get(path);
    if let Some(known) = known.filter(|known| known.settled && known.stamp == now) {
        let mut layer = known.layer.clone();
        label.clone_into(&mut layer.scope.level);
        return layer;
    }
    let mut layer = read_or_complain(label, path);
    // What says the same stays the same object, so that nobody has to look closer.
    if let Some(known) = known.filter(|known| known.layer == layer) {
        layer.scope.data = Arc::clone(&known.layer.scope.data);
    }
    cache.insert(path.to_owned(), Cached { stamp: now, settled, layer: layer.clone() });
    layer
}

fn read_or_complain(label: &str, path: &Path) -> Layer {
    match load_yaml_scope(label, path) {
        Ok(scope) => Layer { scope, fault: None },
        Err(error) => {
            let text = crate::fault::explain(&error);
            let text = text.split("\nhint: ").next().unwrap_or_default();
            notice::leave_for("config", &format!("{text}; its settings are ignored"));
            Layer { scope: scope(label, path, Map::new()), fault: Some(text.to_owned()) }
        }
    }
}

/// The files of this process that exist, lowest priority first, also the broken ones; those leave a [`crate::notice`].
pub fn layers(namespace: Namespace) -> Vec<Layer> {
    sources_in(namespace).iter().filter_map(|(label, path)| layer(label, path)).collect()
}

/// Why the administrator's configuration does not count: the first fault of the files that come with the host or the
/// Python installation. Without them, settings that restrict containers would be lost.
pub fn administrators_fault(namespace: Namespace) -> Option<String> {
    let is_administrators = |layer: &Layer| matches!(layer.scope.level.as_str(), "system" | "prefix");
    layers(namespace).into_iter().filter(is_administrators).find_map(|layer| layer.fault)
}

/// The layers of this process as a stack; a broken one is empty.
pub fn stack(namespace: Namespace) -> Stack {
    layers(namespace).into_iter().map(|layer| layer.scope).collect()
}

/// The merged section `name`, typed; members that are null are left out.
pub fn section(name: &str) -> Map<String, Value> {
    section_in(Namespace::current(), name)
}

/// As [`section`], for the given namespace.
pub fn section_in(namespace: Namespace, name: &str) -> Map<String, Value> {
    let mut section = stack(namespace).resolve_section(name);
    section.retain(|_, value| !value.is_null());
    section
}

/// The merged value of a top-level key of any type.
pub fn top_level(key: &str) -> Option<Value> {
    stack(Namespace::current()).resolve_member(key)
}

/// The highest file whose `credentials.passphrase` is not blank.
pub fn plaintext_passphrase_file(namespace: Namespace) -> Option<PathBuf> {
    let stack = stack(namespace);
    let holder = stack.scopes().iter().rev().find(|scope| holds_passphrase(&scope.data))?;
    holder.source.clone()
}

pub(crate) fn holds_passphrase(data: &Map<String, Value>) -> bool {
    let credentials = data.get("credentials").and_then(Value::as_object);
    match credentials.and_then(|section| section.get("passphrase")) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

/// Forgets every file read so far, and what was said about it.
pub fn forget() {
    forget_files();
    notice::forget();
}

/// Forgets every file read so far; after an edit, time stamps alone might not tell.
pub(crate) fn forget_files() {
    *CACHE.lock() = None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn layers_are_read_once_and_again_after_a_change() {
        let _alone = notice::alone();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yml");
        assert_eq!(layer("x", &path), None);
        std::fs::write(&path, "a: 1\n").unwrap();
        let first = layer("x", &path).unwrap();
        assert!(Arc::ptr_eq(&first.scope.data, &layer("x", &path).unwrap().scope.data));
        crate::edit::update_section(&path, "s", json!({"k": true}).as_object().unwrap()).unwrap();
        assert_eq!(layer("x", &path).unwrap().scope.data["s"], json!({"k": true}));
        std::fs::write(&path, "b: 22\n").unwrap();
        assert_eq!(layer("x", &path).unwrap().scope.data.get("s"), None);
    }

    #[test]
    fn a_change_that_no_stamp_shows_is_seen() {
        let _alone = notice::alone();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yml");
        std::fs::write(&path, "a: 1\n").unwrap();
        // Young however long the test takes. Where the clock of a file system is coarse, a file that is written twice at
        // once keeps its stamp.
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        let stamp = Stamp::of(&path).ok();
        assert_eq!(layer_of(stamp, "x", &path).scope.data["a"], 1);
        std::fs::write(&path, "a: 2\n").unwrap();
        assert_eq!(layer_of(stamp, "x", &path).scope.data["a"], 2);
        let [broken, blank] = ["a: [", ""].map(|text| {
            std::fs::write(&path, text).unwrap();
            layer_of(stamp, "x", &path)
        });
        assert!(broken.fault.is_some() && blank.fault.is_none());
        assert!(!Arc::ptr_eq(&broken.scope.data, &blank.scope.data), "whoever compares sees that it is in order now");
    }

    #[test]
    fn a_broken_layer_is_named_once() {
        let _alone = notice::alone();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broken-layer.yml");
        std::fs::write(&path, "a: 1\nb: [hunter2\n").unwrap();
        assert!(layer("x", &path).unwrap().scope.data.is_empty());
        std::fs::write(&path, "a: 1\nb: [hunter2\n").unwrap();
        assert!(layer("x", &path).unwrap().scope.data.is_empty());
        let said = notice::take();
        let ours: Vec<_> = said.iter().filter(|text| text.contains("broken-layer.yml")).collect();
        assert_eq!(ours.len(), 1, "{said:?}");
        assert!(ours[0].contains("line 2") && !ours[0].contains("hunter2"), "{said:?}");
    }

    // holds: administrators-settings-count
    #[test]
    fn fault_of_the_administrators_file_is_found_and_a_users_is_not() {
        let _alone = notice::alone();
        let prefix = tempfile::tempdir().unwrap();
        let path = prefix.path().join("etc/terok/config.yml");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let fault = |text: &str| {
            std::fs::write(&path, text).unwrap();
            administrators_fault(Namespace { root: false })
        };
        set_prefix(prefix.path().to_owned());
        assert_eq!(fault("a: 1\n"), None);
        let broken = fault("a: [\n").unwrap();
        assert!(broken.contains("etc/terok/config.yml") && !broken.contains("hint"), "{broken}");
        assert_eq!(fault(""), None);
        // A directory is not readable as a file, not even for root.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(administrators_fault(Namespace { root: false }).unwrap().contains("cannot read"));
        set_prefix(PathBuf::from("/nonexistent"));
    }

    #[test]
    fn scopes_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        assert!(load_yaml_scope("x", &path).unwrap().data.is_empty());
        for (yaml, text, fine) in [
            (true, "", true),
            (true, "# c\n", true),
            (true, "- 1\n", false),
            (true, "a: [\n", false),
            (false, " \n", true),
            (false, "{\"a\": 1}", true),
            (false, "[1]", false),
            (false, "{", false),
        ] {
            std::fs::write(&path, text).unwrap();
            let loaded = if yaml { load_yaml_scope("x", &path) } else { load_json_scope("x", &path) };
            assert_eq!(loaded.is_ok(), fine, "{text:?}");
            if let Err(error) = loaded {
                assert!(error.kind() == Kind::Value && error.to_string().contains("/f`"), "{error}");
            }
        }
        assert_eq!(load_yaml_scope("x", dir.path()).unwrap_err().code(), "config-read");
    }
}
