//! What an agent is told before it gets its prompt: the bundled text, the user's own, the project's file.
//!
//! Refuses to follow a link that a repository has in place of its instructions file.

use std::path::Path;

use serde_json::{Map, Value};

use crate::command::{plain_text, provider_value};

const BUNDLED: &str = include_str!("../../python/terok_executor/resources/instructions/default.md");
const KEY: &str = "instructions";
const INHERIT: &str = "_inherit";
const PROJECT_FILE: &str = "instructions.md";
const SIZE_LIMIT: u64 = 1024 * 1024;

/// The text that comes with the package.
pub fn bundled() -> &'static str {
    BUNDLED
}

/// Base text from the configuration, then the project's file after a blank line.
pub fn resolve(config: &Map<String, Value>, provider: &str, project_root: Option<&Path>) -> String {
    let base = match config.get(KEY) {
        Some(Value::Object(_)) => base_text(provider_value(KEY, config, provider)),
        other => base_text(other),
    };
    match project_text(project_root) {
        Some(extra) if base.is_empty() => extra,
        Some(extra) => format!("{base}\n\n{extra}"),
        None => base,
    }
}

fn base_text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => BUNDLED.to_owned(),
        Some(Value::String(text)) if text == INHERIT => BUNDLED.to_owned(),
        Some(Value::Array(items)) => {
            let parts: Vec<String> = items.iter().map(base_item).collect();
            parts.join("\n\n")
        }
        Some(other) => plain_text(other),
    }
}

fn base_item(item: &Value) -> String {
    match item {
        Value::String(text) if text == INHERIT => BUNDLED.to_owned(),
        other => plain_text(other),
    }
}

fn project_text(root: Option<&Path>) -> Option<String> {
    let bytes = base::file::read_regular(&root?.join(PROJECT_FILE), SIZE_LIMIT).ok()?;
    let text = String::from_utf8(bytes).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// True when the configuration or the project says anything of its own.
pub fn has_custom(config: &Map<String, Value>, project_root: Option<&Path>) -> bool {
    config.get(KEY).is_some_and(|value| !value.is_null())
        || project_root.is_some_and(|root| root.join(PROJECT_FILE).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(config: Value, root: Option<&Path>) -> String {
        resolve(config.as_object().unwrap(), "codex", root)
    }

    #[test]
    fn the_bundled_text_says_what_it_must() {
        for word in ["terok", "container", "/workspace/", "sudo", "git", "apt", "dnf", "work-status.yml", "blocked"] {
            assert!(BUNDLED.contains(word), "{word}");
        }
    }

    #[test]
    fn base_texts() {
        for (value, expected) in [
            (json!(null), BUNDLED.to_owned()),
            (json!("_inherit"), BUNDLED.to_owned()),
            (json!(""), String::new()),
            (json!("own"), "own".into()),
            (json!(["a", "_inherit", 3]), format!("a\n\n{BUNDLED}\n\n3")),
            (json!([]), String::new()),
            (json!({"codex": "c", "_default": "d"}), "c".into()),
            (json!({"claude": "c", "_default": ["d", "e"]}), "d\n\ne".into()),
            (json!({"claude": "c"}), BUNDLED.to_owned()),
            (json!(true), "True".into()),
        ] {
            assert_eq!(text(json!({"instructions": value}), None), expected, "{value}");
        }
        assert_eq!(text(json!({}), None), BUNDLED);
    }

    #[test]
    fn the_project_adds_and_never_redirects() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("instructions.md");
        let own = json!({"instructions": "own"});
        assert_eq!(text(own.clone(), Some(dir.path())), "own");
        std::fs::write(&file, " more \n").unwrap();
        assert_eq!(text(own.clone(), Some(dir.path())), "own\n\nmore");
        assert_eq!(text(json!({"instructions": ""}), Some(dir.path())), "more");
        for odd in [b" \n".to_vec(), vec![0xff, 0xfe]] {
            std::fs::write(&file, odd).unwrap();
            assert_eq!(text(own.clone(), Some(dir.path())), "own");
        }
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &file).unwrap();
        assert_eq!(text(own, Some(dir.path())), "own");
    }

    #[test]
    fn custom_instructions_are_noticed() {
        let none = Map::new();
        assert!(!has_custom(&none, None));
        assert!(has_custom(json!({"instructions": ""}).as_object().unwrap(), None));
    }
}
