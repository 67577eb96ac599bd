//! Settings files of agents, pointed at the broker: only addresses are written, never secrets.
//!
//! Invariants: comments and foreign keys survive; what we set is recorded beside the file, and withdrawn only while it
//! still has our value; a file that cannot be parsed is kept beside as `<file>.terok-bak` and begun anew, with a notice,
//! because an agent that spoils its settings must not keep every later container from starting; writes replace whole
//! files, under the lock of the shared directories, and only when something changes.

use std::path::{Path, PathBuf};

use base::file::Dir;
use serde_json::{Map, Value, json};

use crate::fault::AgentError;
use crate::model::{Roster, VaultRoute};
use crate::rule::stays_below;
use crate::{patch_edit as edit, shared};

/// Name of the record of what we own in a shared directory.
pub const RECORD: &str = ".terok-managed-config.json";

/// Where the broker is, as seen from a container.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Target {
    pub url: String,
    pub socket: String,
}

/// What one patch does to its file.
#[derive(Debug, Clone, PartialEq)]
enum Change {
    TomlTop(Map<String, Value>),
    TomlTable { table: String, matching: Map<String, Value>, values: Map<String, Value> },
    YamlTop(Map<String, Value>),
}

impl Change {
    /// The changed text, and whether a table was added for it.
    fn edit(&self, before: &str) -> Result<(String, bool), String> {
        match self {
            Self::YamlTop(values) => edit::yaml_set(before, values).map(|text| (text, false)),
            Self::TomlTop(values) => edit::toml_set(before, values).map(|text| (text, false)),
            Self::TomlTable { table, matching, values } => edit::toml_table_set(before, table, matching, values),
        }
    }
}

/// The folders and the name of a relative path.
pub fn split(path: &str) -> (Vec<&str>, &str) {
    let mut parts: Vec<&str> = path.split('/').collect();
    let name = parts.pop().unwrap_or_default();
    (parts, name)
}

/// Withdraws the values of `disabled`, then sets those of `enabled`; entries without patch or auth section are skipped.
///
/// # Errors
/// [`AgentError::Patch`]: the container must not start.
pub fn apply(
    roster: &Roster,
    mounts: &Path,
    enabled: Vec<String>,
    disabled: &[String],
    target: &Target,
) -> Result<(), AgentError> {
    for name in disabled {
        if let Some((route, host_dir)) = patched(roster, name) {
            Site::open(mounts, host_dir, route, "remove")?.withdraw()?;
        }
    }
    for name in enabled.iter().filter(|name| !disabled.contains(name)) {
        if let Some((route, host_dir)) = patched(roster, name) {
            let site = Site::open(mounts, host_dir, route, "apply")?;
            if let Some(change) = site.change(target)? {
                site.set(&change)?;
            }
        }
    }
    Ok(())
}

/// The file that a provider's patch changes, for messages; `None` when it has none.
pub fn file_of(roster: &Roster, mounts: &Path, provider: &str) -> Option<PathBuf> {
    let (route, host_dir) = patched(roster, provider)?;
    let file = route.shared_config_patch.as_ref()?.get("file")?.as_str()?;
    Some(mounts.join(host_dir).join(file))
}

fn patched<'a>(roster: &'a Roster, name: &str) -> Option<(&'a VaultRoute, &'a str)> {
    let route = roster.vault_routes.get(name)?;
    route.shared_config_patch.as_ref()?;
    Some((route, &roster.auth_providers.get(name)?.host_dir_name))
}

/// One settings file with its record, opened under the lock.
struct Site<'a> {
    route: &'a VaultRoute,
    verb: &'static str,
    file: String,
    path: PathBuf,
    root: Dir,
    _lock: base::lock::Lock,
}

impl<'a> Site<'a> {
    fn open(mounts: &Path, host_dir: &str, route: &'a VaultRoute, verb: &'static str) -> Result<Self, AgentError> {
        let spec = route.shared_config_patch.as_ref();
        let file = spec.and_then(|s| s.get("file")).and_then(Value::as_str).unwrap_or_default();
        let folder = mounts.join(host_dir);
        let path = folder.join(file);
        let fail = |why: String| AgentError::Patch { verb, provider: route.provider.clone(), path: path.clone(), why };
        if !stays_below(file) {
            return Err(fail("invalid patch file path".into()));
        }
        let base = shared::open_base(mounts).map_err(|e| fail(explain(&e)))?;
        let lock = shared::lock(mounts).map_err(|e| fail(explain(&e)))?;
        let root = shared::ensure_dir(&base, &[host_dir], &folder).map_err(|e| fail(explain(&e)))?;
        Ok(Self { route, verb, file: file.to_owned(), path, root, _lock: lock })
    }

    fn fail(&self, why: impl Into<String>) -> AgentError {
        AgentError::Patch {
            verb: self.verb,
            provider: self.route.provider.clone(),
            path: self.path.clone(),
            why: why.into(),
        }
    }

    fn change(&self, target: &Target) -> Result<Option<Change>, AgentError> {
        let spec = self.route.shared_config_patch.as_ref().cloned().unwrap_or_default();
        let map = |key: &str| match spec.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map.clone())),
            Some(_) => Err(self.fail(format!("`{key}` is not a mapping"))),
        };
        if let Some(values) = map("yaml_set")? {
            return Ok(Some(Change::YamlTop(fill(&values, target))));
        }
        let Some(values) = map("toml_set")? else { return Ok(None) };
        let values = fill(&values, target);
        Ok(Some(match (spec.get("toml_table").and_then(Value::as_str), map("toml_match")?) {
            (Some(table), Some(matching)) => Change::TomlTable { table: table.into(), matching, values },
            _ => Change::TomlTop(values),
        }))
    }

    fn folder(&self) -> Result<(Option<Dir>, &str), AgentError> {
        let (folders, name) = split(&self.file);
        if folders.is_empty() {
            return Ok((None, name));
        }
        let dir = shared::ensure_dir(&self.root, &folders, &self.path).map_err(|e| self.fail(explain(&e)))?;
        Ok((Some(dir), name))
    }

    fn read(&self) -> Result<String, AgentError> {
        let (below, name) = self.folder()?;
        let dir = below.as_ref().unwrap_or(&self.root);
        let kind = dir.entry_type(name).map_err(|e| self.fail(e.to_string()))?;
        if kind == Some(rustix::fs::FileType::Symlink) {
            return Err(self.fail("refusing to read through a symlink"));
        }
        let bytes = shared::read(dir, name, &self.path).map_err(|e| self.fail(explain(&e)))?;
        String::from_utf8(bytes.unwrap_or_default()).map_err(|_| self.fail("it is not UTF-8 text"))
    }

    fn keep_beside(&self, text: &str, why: &str) -> Result<(), AgentError> {
        let (below, name) = self.folder()?;
        let dir = below.as_ref().unwrap_or(&self.root);
        let backup = format!("{name}.terok-bak");
        let path = self.path.with_file_name(&backup);
        shared::write(dir, &backup, text.as_bytes(), base::file::PRIVATE, &path).map_err(|e| self.fail(explain(&e)))?;
        base::notice::leave(&format!(
            "[vault-config] `{}` cannot be changed ({why}); it was begun anew, its text is kept in `{}`",
            self.path.display(),
            path.display()
        ));
        Ok(())
    }

    fn write(&self, before: &str, after: &str) -> Result<(), AgentError> {
        if before == after {
            return Ok(());
        }
        let (below, name) = self.folder()?;
        let dir = below.as_ref().unwrap_or(&self.root);
        shared::write(dir, name, after.as_bytes(), base::file::PUBLIC, &self.path).map_err(|e| self.fail(explain(&e)))
    }

    fn set(&self, change: &Change) -> Result<(), AgentError> {
        let before = self.read()?;
        let (after, created) = match change.edit(&before) {
            Ok(edited) => edited,
            Err(why) => {
                self.keep_beside(&before, &why)?;
                change.edit("").map_err(|why| self.fail(why))?
            }
        };
        self.write(&before, &after)?;
        self.remember(change, created)
    }

    fn remember(&self, change: &Change, created: bool) -> Result<(), AgentError> {
        let (mut book, text) = self.book()?;
        let records = &mut book["files"][&self.file]["providers"][&self.route.provider];
        let ours_before = records.as_array().into_iter().flatten().any(|r| r["created"] == json!(true));
        *records = json!([match change {
            Change::TomlTop(values) => json!({"kind": "toml_top", "values": values}),
            Change::YamlTop(values) => json!({"kind": "yaml_top", "values": values}),
            Change::TomlTable { table, matching, values } => json!({
                "kind": "toml_table", "table": table, "match": matching, "values": values,
                "created": created || ours_before,
            }),
        }]);
        self.save(&book, text.as_deref())
    }

    /// Takes back what we recorded and still find; the user's own values stay.
    fn withdraw(&self) -> Result<(), AgentError> {
        let (mut book, text) = self.book()?;
        let records = book["files"][&self.file]["providers"][&self.route.provider].take();
        let Some(records) = records.as_array() else { return Ok(()) };
        let before = self.read()?;
        let mut after = before.clone();
        for record in records {
            after = match edit::withdraw(&after, record) {
                Ok(text) => text,
                // The record stays for a later try.
                Err(why) => {
                    let path = self.path.display();
                    base::notice::leave(&format!(
                        "[vault-config] `{path}` cannot be changed ({why}); it is left as it is"
                    ));
                    return Ok(());
                }
            };
        }
        self.write(&before, &after)?;
        let files = book["files"].as_object_mut();
        if let Some(files) = files {
            let providers = files.get_mut(&self.file).and_then(|f| f["providers"].as_object_mut());
            let left = providers.map(|p| {
                p.shift_remove(&self.route.provider);
                p.len()
            });
            if left == Some(0) {
                files.shift_remove(&self.file);
            }
        }
        self.save(&book, text.as_deref())
    }

    /// The record, and its text as it is now; anything unusable counts as empty.
    fn book(&self) -> Result<(Value, Option<Vec<u8>>), AgentError> {
        let path = self.path.with_file_name(RECORD);
        let text = shared::read(&self.root, RECORD, &path).map_err(|e| self.fail(explain(&e)))?;
        let parsed = text.as_deref().and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
        let mut book = parsed.filter(|b| b["files"].is_object()).unwrap_or_else(|| json!({"files": {}}));
        let shaped = book["files"][&self.file]["providers"].is_object();
        if !shaped && !book["files"][&self.file].is_null() {
            book["files"][&self.file] = Value::Null;
        }
        book["version"] = json!(1);
        Ok((book, text))
    }

    fn save(&self, book: &Value, before: Option<&[u8]>) -> Result<(), AgentError> {
        let book = edit::sorted(book);
        if book["files"].as_object().is_none_or(Map::is_empty) {
            return self.root.remove_file(RECORD).map(|_| ()).map_err(|e| self.fail(e.to_string()));
        }
        let text = serde_json::to_string_pretty(&book).expect("plain JSON serialises") + "\n";
        if before == Some(text.as_bytes()) {
            return Ok(());
        }
        let path = self.path.with_file_name(RECORD);
        shared::write(&self.root, RECORD, text.as_bytes(), base::file::PUBLIC, &path)
            .map_err(|e| self.fail(explain(&e)))
    }
}

fn explain(error: &AgentError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn fill(values: &Map<String, Value>, target: &Target) -> Map<String, Value> {
    let put = |value: &Value| match value {
        Value::String(text) => {
            text.replace("{vault_url}", &target.url).replace("{vault_socket}", &target.socket).into()
        }
        other => other.clone(),
    };
    values.iter().map(|(key, value)| (key.clone(), put(value))).collect()
}
