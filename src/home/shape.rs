//! Shapes of the values that may flow back: pure data without commands, paths to programs or markup.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest word, in bytes.
const WORD_LIMIT: usize = 200;
/// Longest text in a login, in bytes.
const TEXT_LIMIT: usize = 16 * 1024;
/// Most items of a list or an object.
const ITEM_LIMIT: usize = 100;

/// Keys of one file with the shape of their values.
pub type Keys = IndexMap<String, Shape>;
/// Files of one folder, by path below it, with the keys that flow back.
pub type Rules = IndexMap<String, Keys>;

/// Shape of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// True or false.
    Flag,
    /// A whole number.
    Number,
    /// A name: letters, digits and `._:/@+[]-`, blanks inside.
    Word,
    /// A list of words, or of objects whose values are words.
    Words,
    /// The tokens of a login; only for a provider whose login is exposed to containers.
    Login,
}

impl Shape {
    /// True when the value has this shape.
    pub fn fits(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Flag, Value::Bool(_)) => true,
            (Self::Number, Value::Number(number)) => number.is_i64(),
            (Self::Word, Value::String(text)) => is_word(text),
            (Self::Words, Value::Array(items)) => items.len() <= ITEM_LIMIT && items.iter().all(is_item),
            (Self::Login, value) => is_login(value, 2),
            _ => false,
        }
    }
}

fn is_word(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._:/@+[]- ".contains(c);
    text.len() <= WORD_LIMIT && text.trim() == text && text.chars().all(allowed)
}

fn is_item(item: &Value) -> bool {
    match item {
        Value::String(text) => is_word(text),
        Value::Object(members) => {
            let is_plain = |(key, value): (&String, &Value)| is_word(key) && value.as_str().is_some_and(is_word);
            members.len() <= ITEM_LIMIT && members.iter().all(is_plain)
        }
        _ => false,
    }
}

fn is_login(value: &Value, depth: u8) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => text.len() <= TEXT_LIMIT && text.chars().all(|c| c.is_ascii_graphic() || c == ' '),
        Value::Array(items) if depth > 0 => {
            items.len() <= ITEM_LIMIT && items.iter().all(|item| is_login(item, depth - 1))
        }
        Value::Object(members) if depth > 0 => {
            members.len() <= ITEM_LIMIT && members.iter().all(|(key, item)| is_word(key) && is_login(item, depth - 1))
        }
        Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shape_accepts_pure_data_only() {
        for (shape, value) in [
            (Shape::Flag, json!(true)),
            (Shape::Number, json!(7)),
            (Shape::Word, json!("dark-daltonized")),
            (Shape::Word, json!("anthropic/claude-opus-5[1m]")),
            (Shape::Words, json!([{"providerID": "a", "modelID": "b/c"}, "x"])),
            (Shape::Login, json!({"accessToken": "sk-1", "expiresAt": 5, "scopes": ["a:b"]})),
        ] {
            assert!(shape.fits(&value), "{shape:?} {value}");
        }
        for (shape, value) in [
            (Shape::Flag, json!("true")),
            (Shape::Number, json!(1.5)),
            (Shape::Word, json!("$(id)")),
            (Shape::Word, json!("a\nb")),
            (Shape::Word, json!(" a")),
            (Shape::Word, json!("x".repeat(201))),
            (Shape::Word, json!({"command": "id"})),
            (Shape::Words, json!([["nested"]])),
            (Shape::Words, json!([{"a": {"b": "c"}}])),
            (Shape::Words, json!(vec!["a"; 101])),
            (Shape::Login, json!({"a": {"b": {"c": 1}}})),
            (Shape::Login, json!("a\u{1b}[2J")),
        ] {
            assert!(!shape.fits(&value), "{shape:?} {value}");
        }
    }
}
