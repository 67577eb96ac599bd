//! Sub-agents of Claude: markdown files with front matter, and the mapping that the CLI takes.

use std::path::Path;

use serde_json::{Map, Value};

use crate::fault::AgentError;

const SIZE_LIMIT: u64 = 4 * 1024 * 1024;
/// Fields that the CLI knows, in the order they are written.
const FIELDS: [&str; 12] = [
    "description",
    "tools",
    "disallowedTools",
    "model",
    "permissionMode",
    "mcpServers",
    "hooks",
    "maxTurns",
    "skills",
    "memory",
    "background",
    "isolation",
];

/// Reads a markdown agent: front matter between two `---` lines, the rest is the prompt. Empty for what is no file.
///
/// # Errors
/// [`AgentError::FrontMatter`] naming the file.
pub fn parse_markdown(path: &Path) -> Result<Map<String, Value>, AgentError> {
    if !path.is_file() {
        return Ok(Map::new());
    }
    let real = std::fs::canonicalize(path).map_err(AgentError::file("read", path))?;
    let bytes = base::file::read_regular(&real, SIZE_LIMIT).map_err(AgentError::file("read", path))?;
    let text = String::from_utf8_lossy(&bytes);
    let Some((head, body)) = split(&text) else {
        return Ok(Map::from_iter([("prompt".to_owned(), Value::String(text.trim().to_owned()))]));
    };
    let parsed = base::yaml::parse(head)
        .map_err(|error| AgentError::FrontMatter { path: path.to_owned(), why: error.to_string() })?;
    let mut agent = match parsed {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    agent.insert("prompt".into(), Value::String(body.trim().to_owned()));
    Ok(agent)
}

fn split(text: &str) -> Option<(&str, &str)> {
    let first_end = text.find('\n')?;
    if text[..first_end].trim_end() != "---" {
        return None;
    }
    let rest = &text[first_end + 1..];
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return Some((&rest[..at], &rest[at + line.len()..]));
        }
        at += line.len();
    }
    None
}

/// The mapping for the CLI: entries that are on by default or selected, by name, the last of a name winning.
///
/// # Errors
/// [`AgentError::FrontMatter`] from an entry's file.
pub fn collect(entries: &[Map<String, Value>], selected: &[String]) -> Result<Map<String, Value>, AgentError> {
    let mut agents = Map::new();
    for entry in entries {
        let agent = match entry.get("file").and_then(Value::as_str) {
            Some(file) => {
                let mut agent = parse_markdown(Path::new(file))?;
                if agent.is_empty() {
                    continue;
                }
                if let Some(default) = entry.get("default") {
                    agent.insert("default".into(), default.clone());
                }
                agent
            }
            None => entry.clone(),
        };
        let Some(name) = agent.get("name").and_then(Value::as_str).filter(|n| !n.is_empty()) else { continue };
        let wanted = agent.get("default").is_some_and(is_true) || selected.iter().any(|s| s == name);
        if wanted {
            agents.shift_remove(name);
            agents.insert(name.to_owned(), Value::Object(for_cli(&agent)));
        }
    }
    Ok(agents)
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes,
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn for_cli(agent: &Map<String, Value>) -> Map<String, Value> {
    let known = FIELDS.iter().filter_map(|field| Some(((*field).to_owned(), agent.get(*field)?.clone())));
    let mut out: Map<String, Value> = known.collect();
    if let Some(prompt) = agent.get("system_prompt").or_else(|| agent.get("prompt")) {
        out.insert("prompt".into(), prompt.clone());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(text: &str) -> Value {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Value::Object(parse_markdown(file.path()).unwrap())
    }

    #[test]
    fn markdown() {
        assert_eq!(parsed("---\nname: a\nprompt: x\n---\n\nBody\n"), json!({"name": "a", "prompt": "Body"}));
        assert_eq!(parsed("---\ndescription: a --- b\n---\nP"), json!({"description": "a --- b", "prompt": "P"}));
        assert_eq!(parsed("---\n- a\n---\nP"), json!({"prompt": "P"}));
        assert_eq!(parsed("---\nname: a\nP"), json!({"prompt": "---\nname: a\nP"}));
        assert_eq!(parsed("x\n---\na: b\n---\n"), json!({"prompt": "x\n---\na: b\n---"}));
        assert_eq!(parsed(""), json!({"prompt": ""}));
        assert_eq!(parsed("---\nwhen: 2024-01-01\n---\nP")["when"], json!("2024-01-01"));
        assert!(parse_markdown(Path::new("/no/such/file")).unwrap().is_empty());
    }

    #[test]
    fn a_broken_header_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.md");
        std::fs::write(&path, "---\na: [\n---\nP").unwrap();
        assert!(parse_markdown(&path).unwrap_err().to_string().contains("agent.md"));
    }

    #[test]
    fn selection_and_fields() {
        let entries: Vec<Map<String, Value>> = serde_json::from_value(json!([
            {"name": "a", "default": true, "system_prompt": "P", "model": "opus", "x": 1},
            {"name": "b", "prompt": "Q"},
            {"name": "c", "prompt": "R"},
            {"prompt": "no name", "default": true},
        ]))
        .unwrap();
        let agents = collect(&entries, &["b".into()]).unwrap();
        assert_eq!(Value::Object(agents), json!({"a": {"model": "opus", "prompt": "P"}, "b": {"prompt": "Q"}}));
    }
}
