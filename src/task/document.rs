//! The two files of a task as text: `<task>_dossier.json` for who it is, `<task>_meta.yml` for everything else.
//!
//! Both are written in the form that the predecessor writes, and each reads the other's. Keys that we do not know stay.

use std::path::Path;

use serde_json::{Map, Value};

use crate::fault::TaskError;

/// Keys of the merged mapping, and what the dossier calls them.
pub(crate) const DOSSIER_KEYS: [(&str, &str); 3] = [("project_id", "project"), ("task_id", "task"), ("name", "name")];

/// What the dossier calls a key, for the keys that live there.
pub(crate) fn dossier_key(key: &str) -> Option<&'static str> {
    DOSSIER_KEYS.iter().find(|(ours, _)| *ours == key).map(|(_, theirs)| *theirs)
}

/// Reads a dossier; an empty file is an empty one.
pub(crate) fn parse_dossier(path: &Path, content: &[u8]) -> Result<Map<String, Value>, TaskError> {
    let malformed = |reason: String| TaskError::Malformed { path: path.to_owned(), reason };
    if content.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(content) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(malformed(format!("expected an object, found {}", base::yaml::type_name(&other)))),
        Err(error) => Err(malformed(format!("line {}, column {}: not JSON", error.line(), error.column()))),
    }
}

/// Writes a dossier.
pub(crate) fn render_dossier(dossier: &Map<String, Value>) -> String {
    let mut text = serde_json::to_string_pretty(dossier).expect("a mapping of plain values is JSON");
    text.push('\n');
    text
}

/// Reads the other file; an empty file is an empty mapping.
pub(crate) fn parse_meta(path: &Path, content: &[u8]) -> Result<Map<String, Value>, TaskError> {
    let malformed = |reason: String| TaskError::Malformed { path: path.to_owned(), reason };
    let text = std::str::from_utf8(content).map_err(|_| malformed("it is not UTF-8".to_owned()))?;
    if let Some(map) = crate::quick::parse(text) {
        return Ok(map);
    }
    base::yaml::parse_mapping(text).map_err(|error| malformed(error.to_string()))
}

/// The longest beginning of whole lines that can be read, for a file of which only a part was written.
pub(crate) fn salvage(content: &[u8]) -> Map<String, Value> {
    let text = String::from_utf8_lossy(content);
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    ends.iter().rev().take(64).find_map(|end| base::yaml::parse_mapping(&text[..*end]).ok()).unwrap_or_default()
}

/// Writes the other file: nothing after the colon for null, as the predecessor does.
pub(crate) fn render_meta(path: &Path, meta: &Map<String, Value>) -> Result<String, TaskError> {
    let mut text = String::new();
    for (key, value) in meta {
        if let Some(line) = crate::quick::render(key, value) {
            text.push_str(&line);
            continue;
        }
        let alone = Value::Object(Map::from_iter([(key.clone(), value.clone())]));
        let part = base::yaml::dump(&alone)
            .map_err(|error| TaskError::Unwritable { path: path.to_owned(), reason: error.to_string() })?;
        match part.strip_suffix(": null\n") {
            Some(bare) if value.is_null() => text.push_str(&format!("{bare}:\n")),
            _ => text.push_str(&part),
        }
    }
    Ok(text)
}

/// What a file of a task held that could not be read, without the lines that may hold a secret.
pub(crate) fn without_secrets(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content);
    text.split_inclusive('\n').filter(|line| !is_secret(line)).collect()
}

/// True for a key (or a line with it) whose value belongs to nobody but the running task.
pub(crate) fn is_secret(key: &str) -> bool {
    let key = key.split(':').next().unwrap_or_default().to_ascii_lowercase();
    ["token", "secret", "password", "passphrase"].iter().any(|word| key.contains(word))
}
