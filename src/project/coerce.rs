//! What a value becomes when a key wants a certain shape, or why it cannot.
//!
//! The rules are those of pydantic's lax mode, including its words: texts that mean true or false count as such, whole
//! numbers may be written as texts or floats, a text is a text only. Every refusal has a reason.

use regex_lite::Regex;
use serde_json::{Value, json};
use std::sync::LazyLock;

use crate::id;
use crate::schema::{Reason, Shape};

/// The refusal of everything that is not a text.
pub(crate) const NOT_TEXT: (&str, &str) = ("Input should be a valid string", "string_type");

/// Why a value was refused; where several shapes are possible, each says so under its own tag.
type Refusal = Vec<(Option<&'static str>, Reason)>;

static MEMORY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^[0-9]+([.][0-9]+)? ?[kKmMgGtTpP]?[iI]?[bB]?$").expect("valid"));
static CPUS: LazyLock<Regex> = LazyLock::new(|| Regex::new("^[0-9]+([.][0-9]+)?$").expect("valid"));

const MEMORY_EXAMPLE: &str = "such as 512m or 4g";
const CPUS_EXAMPLE: &str = "such as 2 or 0.5";

/// Beyond this, floats are no whole numbers of ours.
const HUGE: f64 = 9.2e18;

/// What a shape is called in the description of a table.
pub(crate) fn name(shape: Shape) -> &'static str {
    match shape {
        Shape::Text => "text",
        Shape::Flag => "flag",
        Shape::Number(..) => "number",
        Shape::OneOf(_) => "one_of",
        Shape::Folded(_) => "folded",
        Shape::Identifier => "identifier",
        Shape::Texts => "texts",
        Shape::Categories => "categories",
        Shape::Memory => "memory",
        Shape::Cpus => "cpus",
        Shape::Mapping => "mapping",
        Shape::FlagOrText => "flag_or_text",
        Shape::TextOrFlag => "text_or_flag",
        Shape::Section(_) => "section",
    }
}

/// Converts a value that is present; lists and sections are walked by the caller.
pub(crate) fn value(key: &str, shape: Shape, given: &Value) -> Result<Value, Refusal> {
    let converted = match shape {
        Shape::Text => text(given).map(Value::from),
        Shape::Flag => flag(given).map(Value::from),
        Shape::Number(low, high) => number(given).and_then(|found| within(found, low, high)),
        Shape::OneOf(choices) => one_of(choices, given),
        Shape::Folded(choices) => folded(choices, given),
        Shape::Identifier => identifier(given),
        Shape::Categories => categories(given),
        Shape::Memory => limit(key, &MEMORY, MEMORY_EXAMPLE, given),
        Shape::Cpus => limit(key, &CPUS, CPUS_EXAMPLE, given),
        Shape::FlagOrText => return either(given, &["bool", "str"]),
        Shape::TextOrFlag => return either(given, &["str", "bool"]),
        Shape::Mapping => match given.is_object() {
            true => Ok(given.clone()),
            false => Err(("Input should be a valid dictionary".to_owned(), "dict_type")),
        },
        Shape::Texts | Shape::Section(_) => Ok(given.clone()),
    };
    converted.map_err(|reason| vec![(None, reason)])
}

/// As [`value`], for the shapes of our own, by their name.
pub(crate) fn named(key: &str, shape: &str, choices: &[&str], given: &Value) -> Result<Value, Reason> {
    match shape {
        "folded" => folded(choices, given),
        "identifier" => identifier(given),
        "categories" => categories(given),
        "memory" => limit(key, &MEMORY, MEMORY_EXAMPLE, given),
        "cpus" => limit(key, &CPUS, CPUS_EXAMPLE, given),
        _ => Ok(given.clone()),
    }
}

fn text(given: &Value) -> Result<&str, Reason> {
    given.as_str().ok_or_else(|| (NOT_TEXT.0.to_owned(), NOT_TEXT.1))
}

fn flag(given: &Value) -> Result<bool, Reason> {
    const NO_FLAG: &str = "Input should be a valid boolean";
    let unclear = || (format!("{NO_FLAG}, unable to interpret input"), "bool_parsing");
    match given {
        Value::Bool(flag) => Ok(*flag),
        Value::Number(number) if number.is_f64() => match number.as_f64() {
            Some(1.0) => Ok(true),
            Some(0.0) => Ok(false),
            Some(other) if other.fract() == 0.0 && other.abs() < HUGE => Err(unclear()),
            _ => Err((NO_FLAG.to_owned(), "bool_type")),
        },
        Value::Number(number) => match number.as_i64() {
            Some(1) => Ok(true),
            Some(0) => Ok(false),
            _ => Err(unclear()),
        },
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "t" | "y" | "1" => Ok(true),
            "false" | "no" | "off" | "f" | "n" | "0" => Ok(false),
            _ => Err(unclear()),
        },
        _ => Err((NO_FLAG.to_owned(), "bool_type")),
    }
}

fn number(given: &Value) -> Result<Value, Reason> {
    const NO_NUMBER: &str = "Input should be a valid integer";
    match given {
        Value::Bool(flag) => Ok(json!(i64::from(*flag))),
        Value::Number(number) if number.is_f64() => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < HUGE => Ok(json!(float as i64)),
            Some(float) if float.fract() == 0.0 => Err((
                "Unable to parse input string as an integer, exceeded maximum size".to_owned(),
                "int_parsing_size",
            )),
            _ => Err((format!("{NO_NUMBER}, got a number with a fractional part"), "int_from_float")),
        },
        Value::Number(_) => Ok(given.clone()),
        Value::String(text) => written_number(text)
            .map(Value::from)
            .ok_or_else(|| (format!("{NO_NUMBER}, unable to parse string as an integer"), "int_parsing")),
        _ => Err((NO_NUMBER.to_owned(), "int_type")),
    }
}

/// Blanks around it, a sign, single underscores between digits and a fraction of zeros are all right.
fn written_number(text: &str) -> Option<i64> {
    let text = text.trim();
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|digit| digit == b'0') => whole,
        Some(_) => return None,
        None => text,
    };
    let digits = whole.strip_prefix(['+', '-']).unwrap_or(whole);
    let tidy = !digits.starts_with('_') && !digits.ends_with('_') && !digits.contains("__");
    tidy.then(|| whole.replace('_', "").parse().ok())?
}

fn within(found: Value, low: Option<i64>, high: Option<i64>) -> Result<Value, Reason> {
    let size = found.as_i64().unwrap_or(i64::MAX);
    match (low, high) {
        (Some(low), _) if size < low => {
            Err((format!("Input should be greater than or equal to {low}"), "greater_than_equal"))
        }
        (_, Some(high)) if size > high => {
            Err((format!("Input should be less than or equal to {high}"), "less_than_equal"))
        }
        _ => Ok(found),
    }
}

fn one_of(choices: &[&str], given: &Value) -> Result<Value, Reason> {
    match given.as_str().filter(|text| choices.contains(text)) {
        Some(text) => Ok(json!(text)),
        None => Err((format!("Input should be {}", alternatives(choices)), "literal_error")),
    }
}

fn alternatives(choices: &[&str]) -> String {
    let quoted: Vec<_> = choices.iter().map(|choice| format!("'{choice}'")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

fn folded(choices: &[&str], given: &Value) -> Result<Value, Reason> {
    let plain = text(given)?.trim().to_lowercase();
    match choices.contains(&plain.as_str()) {
        true => Ok(json!(plain)),
        false => Err(bad(format!("must be {}, got {}", alternatives(choices), shown(given)))),
    }
}

fn identifier(given: &Value) -> Result<Value, Reason> {
    let wanted = "must start with a-z or 0-9 and hold nothing but a-z, 0-9, _ and -";
    match id::is_shaped(text(given)?) {
        true => Ok(given.clone()),
        false => Err(bad(format!("{wanted}, got {}", shown(given)))),
    }
}

fn categories(given: &Value) -> Result<Value, Reason> {
    match given {
        Value::Null => Ok(Value::Null),
        Value::String(text) if text.trim().is_empty() => Ok(Value::Null),
        Value::String(text) => Ok(json!([text.trim()])),
        Value::Array(items) if items.is_empty() => Ok(Value::Null),
        Value::Array(items) if items.iter().all(Value::is_string) => Ok(given.clone()),
        Value::Array(_) => Err(bad("every category must be a text".to_owned())),
        _ => Err(bad(format!("must be a text or a list of texts, got {}", shown(given)))),
    }
}

fn limit(key: &str, form: &Regex, example: &str, given: &Value) -> Result<Value, Reason> {
    let plain = match given {
        Value::String(text) if text.trim().is_empty() => return Ok(Value::Null),
        Value::String(text) => text.clone(),
        Value::Number(number) => shown_number(number),
        _ => return Err(bad(format!("{key} must be a text or a number {example}, not {}", shown(given)))),
    };
    match form.is_match(&plain) {
        true => Ok(json!(plain)),
        false => Err(bad(format!("{key} must be a limit {example}, not {}", shown(&json!(plain))))),
    }
}

fn either(given: &Value, tags: &[&'static str; 2]) -> Result<Value, Refusal> {
    if given.is_string() {
        return Ok(given.clone());
    }
    let reason = match flag(given) {
        Ok(flag) => return Ok(json!(flag)),
        Err(reason) => reason,
    };
    let mut reasons = vec![];
    for tag in tags {
        let reason = match *tag {
            "bool" => reason.clone(),
            _ => (NOT_TEXT.0.to_owned(), NOT_TEXT.1),
        };
        reasons.push((Some(*tag), reason));
    }
    Err(reasons)
}

fn bad(reason: String) -> Reason {
    (format!("Value error, {reason}"), "value_error")
}

/// A value as Python writes it, which is how the classes of the other side show it.
fn shown(given: &Value) -> String {
    match given {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => shown_number(number),
        Value::String(text) => shown_text(text),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let inner = members.iter().map(|(key, value)| format!("{}: {}", shown_text(key), shown(value)));
            format!("{{{}}}", inner.collect::<Vec<_>>().join(", "))
        }
    }
}

fn shown_number(number: &serde_json::Number) -> String {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(float) if float.fract() == 0.0 && float.abs() < 1e16 => format!("{float:.1}"),
        Some(float) if float.abs() >= 1e16 => format!("{float:e}").replace('e', "e+"),
        _ => number.to_string(),
    }
}

fn shown_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if c == quote => out.extend(['\\', c]),
            _ if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts() {
        for (text, found) in [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("+5", Some(5)),
            ("-5", Some(-5)),
            ("007", Some(7)),
            ("1_000", Some(1000)),
            ("5.0", Some(5)),
            ("5.", None),
            ("5.5", None),
            ("1e3", None),
            ("_1", None),
            ("1__0", None),
            ("", None),
            ("+", None),
        ] {
            assert_eq!(written_number(text), found, "{text:?}");
        }
    }

    #[test]
    fn values_are_shown_as_python_shows_them() {
        for (value, text) in [
            (json!("it's"), "\"it's\""),
            (json!("a\u{1b}\n"), "'a\\x1b\\n'"),
            (json!([true, null, 1, 1.0]), "[True, None, 1, 1.0]"),
            (json!({"a": "b"}), "{'a': 'b'}"),
            (json!(1e22), "1e+22"),
        ] {
            assert_eq!(shown(&value), text);
        }
    }
}
