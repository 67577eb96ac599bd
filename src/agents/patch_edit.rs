//! Edits of TOML and YAML texts that keep everything they do not change, comments included.
//!
//! Refuses a text that cannot be parsed: what becomes of it is the caller's decision.

use serde_json::{Map, Value};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

type Edited = Result<String, String>;

fn document(text: &str) -> Result<DocumentMut, String> {
    text.parse::<DocumentMut>().map_err(|error| format!("it is not valid TOML ({})", error.message()))
}

fn item(value: &Value) -> Result<Item, String> {
    Ok(match value {
        Value::String(text) => toml_edit::value(text.as_str()),
        Value::Bool(yes) => toml_edit::value(*yes),
        Value::Number(n) if n.is_i64() => toml_edit::value(n.as_i64().unwrap_or_default()),
        Value::Number(n) => toml_edit::value(n.as_f64().unwrap_or_default()),
        other => return Err(format!("`{other}` cannot be written to TOML")),
    })
}

fn equals(item: Option<&Item>, value: &Value) -> bool {
    match (item, value) {
        (Some(item), Value::String(text)) => item.as_str() == Some(text),
        (Some(item), Value::Bool(yes)) => item.as_bool() == Some(*yes),
        (Some(item), Value::Number(n)) => item.as_integer().is_some_and(|i| Some(i) == n.as_i64()),
        _ => false,
    }
}

fn put(table: &mut Table, values: &Map<String, Value>) -> Result<(), String> {
    for (key, value) in values {
        if equals(table.get(key), value) {
            continue;
        }
        match (table.get_mut(key), item(value)?) {
            (Some(Item::Value(old)), Item::Value(mut new)) => {
                *new.decor_mut() = old.decor().clone();
                *old = new;
            }
            (_, new) => {
                table.insert(key, new);
            }
        }
    }
    Ok(())
}

/// Sets keys at the top of a TOML text.
///
/// # Errors
/// Why the text cannot be changed.
pub fn toml_set(text: &str, values: &Map<String, Value>) -> Edited {
    let mut document = document(text)?;
    put(document.as_table_mut(), values)?;
    Ok(document.to_string())
}

/// Sets keys in the first table of an array of tables that has all `matching` fields, or appends such a table; the
/// flag says that it was appended.
///
/// # Errors
/// Why the text cannot be changed.
pub fn toml_table_set(
    text: &str,
    name: &str,
    matching: &Map<String, Value>,
    values: &Map<String, Value>,
) -> Result<(String, bool), String> {
    let mut document = document(text)?;
    spread(&mut document, name);
    let entry = document.entry(name).or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    let Some(tables) = entry.as_array_of_tables_mut() else {
        return Err(format!("`{name}` is not an array of tables"));
    };
    let found = tables.iter_mut().find(|table| matching.iter().all(|(key, value)| equals(table.get(key), value)));
    let created = found.is_none();
    match found {
        Some(table) => put(table, values)?,
        None => {
            let mut table = Table::new();
            put(&mut table, matching)?;
            put(&mut table, values)?;
            tables.push(table);
        }
    }
    Ok((document.to_string(), created))
}

/// Turns `name = [{…}, {…}]` into an array of tables, so that both spellings can be edited alike.
fn spread(document: &mut DocumentMut, name: &str) {
    let Some(Item::Value(toml_edit::Value::Array(array))) = document.get(name) else { return };
    let inline: Option<Vec<Table>> =
        array.iter().map(|value| value.as_inline_table().map(|t| t.clone().into_table())).collect();
    if let Some(tables) = inline {
        let list: ArrayOfTables = tables.into_iter().collect();
        document.insert(name, Item::ArrayOfTables(list));
    }
}

/// Sets scalar keys at the top of a YAML text.
///
/// # Errors
/// Why the text cannot be changed.
pub fn yaml_set(text: &str, values: &Map<String, Value>) -> Edited {
    yaml_edit(text, |before| {
        let mut after = before.clone();
        after.extend(values.clone());
        after
    })
}

/// Rewrites the lines of top-level scalar keys that differ; the result is parsed again and must say what was meant.
fn yaml_edit(text: &str, change: impl FnOnce(&Map<String, Value>) -> Map<String, Value>) -> Edited {
    let before = base::yaml::parse_mapping(text).map_err(|error| format!("it is not a YAML mapping ({error})"))?;
    let after = change(&before);
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    for key in before.keys().filter(|key| before.get(*key) != after.get(*key)) {
        let new = after.get(key).map(|value| format!("{key}: {value}\n")).unwrap_or_default();
        for line in lines.iter_mut().filter(|line| is_key_line(line, key)) {
            *line = new.clone();
        }
    }
    if lines.last().is_some_and(|line| !line.ends_with('\n') && !line.is_empty()) {
        lines.push("\n".into());
    }
    lines.extend(
        after.iter().filter(|(key, _)| !before.contains_key(*key)).map(|(key, value)| format!("{key}: {value}\n")),
    );
    let result = lines.concat();
    match base::yaml::parse_mapping(&result) {
        Ok(read) if same(&read, &after) => Ok(result),
        _ if before == after => Ok(text.to_owned()),
        _ => Err("its layout does not allow a change of single lines".into()),
    }
}

fn same(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    a.len() == b.len() && a.iter().all(|(key, value)| b.get(key) == Some(value))
}

fn is_key_line(line: &str, key: &str) -> bool {
    let spellings = [key.to_owned(), format!("\"{key}\""), format!("'{key}'")];
    spellings.iter().any(|s| line.strip_prefix(s.as_str()).is_some_and(|rest| rest.trim_start().starts_with(':')))
}

/// Takes back one recorded change as far as its values are still there.
///
/// # Errors
/// Why the text cannot be changed.
pub fn withdraw(text: &str, record: &Value) -> Edited {
    let values = record["values"].as_object().cloned().unwrap_or_default();
    match record["kind"].as_str() {
        Some("yaml_top") => yaml_edit(text, |before| {
            before
                .iter()
                .filter(|(key, value)| values.get(*key) != Some(value))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect()
        }),
        Some("toml_top") => {
            let mut document = document(text)?;
            take(document.as_table_mut(), &values);
            Ok(document.to_string())
        }
        Some("toml_table") => withdraw_table(text, record, &values),
        _ => Ok(text.to_owned()),
    }
}

fn take(table: &mut Table, values: &Map<String, Value>) {
    for (key, value) in values {
        if equals(table.get(key), value) {
            table.remove(key);
        }
    }
}

fn withdraw_table(text: &str, record: &Value, values: &Map<String, Value>) -> Edited {
    let mut document = document(text)?;
    let name = record["table"].as_str().unwrap_or_default();
    let matching = record["match"].as_object().cloned().unwrap_or_default();
    let Some(tables) = document.get_mut(name).and_then(Item::as_array_of_tables_mut) else {
        return Ok(text.to_owned());
    };
    let position = tables.iter().position(|table| matching.iter().all(|(key, value)| equals(table.get(key), value)));
    let Some(position) = position else { return Ok(text.to_owned()) };
    let mut bare = false;
    if let Some(table) = tables.get_mut(position) {
        take(table, values);
        bare = table.iter().all(|(key, _)| matching.contains_key(key));
    }
    if bare && record["created"] == Value::Bool(true) {
        tables.remove(position);
    }
    if tables.is_empty() {
        document.remove(name);
    }
    Ok(document.to_string())
}

/// The same value with the keys of every object in order.
pub fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().filter(|key| !map[*key].is_null()).collect();
            keys.sort();
            Value::Object(keys.into_iter().map(|key| (key.clone(), sorted(&map[key]))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}
