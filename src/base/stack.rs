//! Layers of configuration, and how one is laid on another: `null` removes, `_inherit` keeps, mappings merge, the rest
//! replaces. Values keep their types, keys the order in which they first came.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Text that means "what the layers below say".
pub const INHERIT: &str = "_inherit";

/// Lays `over` on `base` and returns the result: `null` removes, `_inherit` keeps, mappings merge, the rest replaces.
///
/// Keys keep the order of `base`, new ones follow. What is not a mapping counts as an empty one here.
pub fn deep_merge(base: &Value, over: &Value) -> Value {
    let empty = Map::new();
    let base = base.as_object().unwrap_or(&empty);
    Value::Object(merge_maps(base, over.as_object().unwrap_or(&empty)))
}

fn merge_maps(base: &Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = base.clone();
    for (key, value) in over {
        match merge_value(base.get(key), value) {
            Some(value) => merged.insert(key.clone(), value),
            None => merged.shift_remove(key),
        };
    }
    merged
}

fn merge_value(base: Option<&Value>, over: &Value) -> Option<Value> {
    match (base, over) {
        (_, Value::Null) => None,
        (_, Value::String(text)) if text == INHERIT => base.cloned(),
        (Some(Value::Object(base)), Value::Object(over)) => {
            Some(Value::Object(merge_maps(base, &without_marker(over))))
        }
        (_, Value::Object(over)) => Some(Value::Object(without_marker(over))),
        (Some(Value::Array(base)), Value::Array(over)) => Some(Value::Array(splice(base, over))),
        _ => Some(over.clone()),
    }
}

fn without_marker(map: &Map<String, Value>) -> Map<String, Value> {
    let mut plain = map.clone();
    if plain.get(INHERIT) == Some(&Value::Bool(true)) {
        plain.shift_remove(INHERIT);
    }
    plain
}

fn splice(base: &[Value], over: &[Value]) -> Vec<Value> {
    let mut merged = Vec::with_capacity(base.len() + over.len());
    for item in over {
        match item.as_str() {
            Some(INHERIT) => merged.extend_from_slice(base),
            _ => merged.push(item.clone()),
        }
    }
    merged
}

/// One layer of configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Scope {
    /// What the layer is called in messages.
    pub level: String,
    /// The file it came from.
    pub source: Option<PathBuf>,
    /// Its content.
    pub data: Arc<Map<String, Value>>,
}

/// Layers in the order of rising priority.
#[derive(Debug, Clone, Default)]
pub struct Stack(Vec<Scope>);

impl Stack {
    /// Adds a layer above all others.
    pub fn push(&mut self, scope: Scope) {
        self.0.push(scope);
    }

    /// The layers, lowest first.
    pub fn scopes(&self) -> &[Scope] {
        &self.0
    }

    /// All layers together.
    pub fn resolve(&self) -> Map<String, Value> {
        let layers = self.0.iter().map(|scope| scope.data.as_ref());
        layers.fold(Map::new(), |below, above| merge_maps(&below, above))
    }

    /// One member of all layers that have it; a result that is not a mapping counts as an empty one.
    pub fn resolve_section(&self, key: &str) -> Map<String, Value> {
        match self.resolve_member(key) {
            Some(Value::Object(section)) => section,
            _ => Map::new(),
        }
    }

    /// As [`Stack::resolve_section`], of any type; `None` when no layer has it or the topmost removes it.
    pub fn resolve_member(&self, key: &str) -> Option<Value> {
        let layers = self.0.iter().filter_map(|scope| scope.data.get(key));
        layers.fold(None, |below, above| merge_value(below.as_ref(), above))
    }
}

impl FromIterator<Scope> for Stack {
    fn from_iter<I: IntoIterator<Item = Scope>>(layers: I) -> Self {
        Self(layers.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_follows_the_table() {
        let table = include_str!("../../tests/fixtures/config/merge_cases.json");
        for case in serde_json::from_str::<Vec<Value>>(table).unwrap() {
            let merged = deep_merge(&case["base"], &case["over"]);
            assert_eq!(merged.to_string(), case["result"].to_string(), "{}", case["name"]);
        }
    }

    #[test]
    fn stacks_resolve_whole_and_by_section() {
        let table = include_str!("../../tests/fixtures/config/stack_cases.json");
        for case in serde_json::from_str::<Vec<Value>>(table).unwrap() {
            let mut stack = Stack::default();
            for data in case["layers"].as_array().unwrap() {
                let data = Arc::new(data.as_object().unwrap().clone());
                stack.push(Scope { level: "x".to_owned(), source: None, data });
            }
            let name = &case["name"];
            assert_eq!(Value::Object(stack.resolve()), case["resolve"], "{name}");
            let section = stack.resolve_section("s");
            assert_eq!(Value::Object(section), case["section_s"], "{name}");
        }
    }
}
