//! YAML 1.2: reading into plain values, and changing one section of a file without disturbing the rest of it.
//!
//! Invariants: `yes`, `no`, `on` and `off` are texts; a duplicate key is an error; an edit keeps comments, order and
//! quotes, and its result is read again and compared before anybody gets it. Refuses several documents in one text,
//! keys that are not scalars, and edits of a text whose top level is not a mapping. Error text never quotes values.

use std::str::FromStr;

use serde_json::{Map, Value};
use yaml_edit::{Mapping, ScalarValue, Sequence, YamlFile};

use crate::fault::{Fault, Kind};

/// Why a text could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// The text is not well-formed.
    #[error("line {line}: {reason}")]
    Malformed {
        /// Line, counted from 1.
        line: u64,
        /// The parser's reason, without an excerpt of the text.
        reason: String,
    },
    /// The top level must be a mapping and is something else.
    #[error("expected a mapping at the top level, found {0}")]
    NotMapping(&'static str),
    /// The changed text would not read back as it should; the caller must not write it.
    #[error("cannot change section `{0}` without disturbing the rest of the file")]
    Unstable(String),
}

impl Fault for YamlError {
    fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "yaml-malformed",
            Self::NotMapping(_) => "yaml-not-mapping",
            Self::Unstable(_) => "yaml-edit-unstable",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unstable(section) => Some(format!("edit section `{section}` by hand")),
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        Kind::Value
    }
}

/// Reads one YAML document; a blank text is `Null`.
///
/// # Errors
/// [`YamlError::Malformed`].
pub fn parse(text: &str) -> Result<Value, YamlError> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| malformed(&error))
}

/// Reads one YAML document that must be a mapping; a blank text is an empty one.
///
/// # Errors
/// [`YamlError::Malformed`] or [`YamlError::NotMapping`].
pub fn parse_mapping(text: &str) -> Result<Map<String, Value>, YamlError> {
    match parse(text)? {
        Value::Null => Ok(Map::new()),
        Value::Object(map) => Ok(map),
        other => Err(YamlError::NotMapping(type_name(&other))),
    }
}

/// Writes `value` as one YAML document with a final newline; texts that would read back as another type are quoted.
///
/// # Errors
/// [`YamlError::Unstable`] when the text would not read back as the same value.
pub fn dump(value: &Value) -> Result<String, YamlError> {
    let unstable = || YamlError::Unstable("(all)".to_owned());
    let text = serde_saphyr::to_string(value).map_err(|_| unstable())?;
    match parse(&text) {
        Ok(read) if read == *value => Ok(with_final_newline(text)),
        _ => Err(unstable()),
    }
}

/// What a value is called in messages.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

fn malformed(error: &serde_saphyr::Error) -> YamlError {
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or_default();
    let line = error.location().map_or(1, |place| place.line());
    let reason = first.trim_start_matches("error: ");
    // The parser repeats the place in front of its reason.
    let reason = match reason.strip_prefix("line ").and_then(|r| r.split_once(": ")) {
        Some((_, rest)) => rest,
        None => reason,
    };
    // It also repeats the place behind it, and tells programmers what to call instead.
    let reason = [", set DuplicateKeyPolicy", "; use from_str", " at line "]
        .iter()
        .fold(reason, |left, advice| left.split(advice).next().unwrap_or(left));
    let plain = IN_PLAIN_WORDS.iter().find(|(theirs, _)| reason.starts_with(theirs));
    YamlError::Malformed { line, reason: crate::text::sanitize_tty(plain.map_or(reason, |(_, ours)| ours)) }
}

/// Reasons that the parser gives in terms of its own insides.
const IN_PLAIN_WORDS: &[(&str, &str)] = &[
    ("budget breached", "it is too large, too deep, or refers to its own parts too often"),
    ("recursive references", "an alias stands for something that contains it"),
    ("cannot deserialize null into string", "a key is empty or null"),
    ("expected string scalar", "a key is not a plain text"),
    ("!!binary scalar is not valid", "a `!!binary` value is no text"),
];

/// Merges `updates` into the mapping `section` of `text`, one level deep, and returns the new text.
///
/// A missing section, or one that is not a mapping, becomes a new mapping; a `Null` is written as null, the key stays.
///
/// # Errors
/// [`YamlError`]; then nothing should be written.
pub fn set_in_section(text: &str, section: &str, updates: &Map<String, Value>) -> Result<String, YamlError> {
    let before = parse_mapping(text)?;
    let after = expected(&before, section, updates);
    if after == before && before.contains_key(section) {
        return Ok(text.to_owned());
    }
    let unstable = || YamlError::Unstable(section.to_owned());
    let changed = match parse(text)? {
        Value::Null => edit(&with_empty_section(text, section), section, updates),
        _ => edit(text, section, updates),
    };
    let changed = changed.ok_or_else(unstable)?;
    match parse_mapping(&changed) {
        Ok(read) if read == after => Ok(changed),
        _ => Err(unstable()),
    }
}

/// Takes one key out of the top level of `text`; comments, order and quotes of the rest stay.
///
/// # Errors
/// [`YamlError`]; then nothing should be written.
pub fn remove_key(text: &str, key: &str) -> Result<String, YamlError> {
    let mut after = parse_mapping(text)?;
    if after.shift_remove(key).is_none() {
        return Ok(text.to_owned());
    }
    let unstable = || YamlError::Unstable(key.to_owned());
    let file = YamlFile::from_str(text).map_err(|_| unstable())?;
    let root = file.documents().next().and_then(|document| document.as_mapping()).ok_or_else(unstable)?;
    root.remove(key);
    let changed = with_final_newline(file.to_string());
    match parse_mapping(&changed) {
        Ok(read) if read == after => Ok(changed),
        _ => Err(unstable()),
    }
}

fn expected(before: &Map<String, Value>, section: &str, updates: &Map<String, Value>) -> Map<String, Value> {
    let mut after = before.clone();
    let mut merged = match before.get(section) {
        Some(Value::Object(map)) => map.clone(),
        _ => Map::new(),
    };
    merged.extend(updates.iter().map(|(k, v)| (k.clone(), v.clone())));
    after.insert(section.to_owned(), Value::Object(merged));
    after
}

fn edit(text: &str, section: &str, updates: &Map<String, Value>) -> Option<String> {
    let file = YamlFile::from_str(text).ok()?;
    let root = file.documents().next()?.as_mapping()?;
    if root.get_mapping(section).is_none() {
        root.set(section, Mapping::new());
    }
    fill(&root.get_mapping(section)?, updates);
    Some(with_final_newline(file.to_string()))
}

/// A text without content (blank, or comments only) with the bare section at its end.
fn with_empty_section(text: &str, section: &str) -> String {
    let mut out = text.to_owned();
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out.push_str(&format!("{}:\n", scalar(&Value::from(section))));
    out
}

fn with_final_newline(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn fill(target: &Mapping, members: &Map<String, Value>) {
    for (key, value) in members {
        match value {
            Value::Object(inner) => target.set(key, mapping(inner)),
            Value::Array(items) => target.set(key, sequence(items)),
            _ => target.set(key, scalar(value)),
        }
    }
}

fn mapping(members: &Map<String, Value>) -> Mapping {
    let target = match members.is_empty() {
        true => Mapping::new_flow(),
        false => Mapping::new(),
    };
    fill(&target, members);
    target
}

fn sequence(items: &[Value]) -> Sequence {
    let target = match items.is_empty() {
        true => Sequence::new_flow(),
        false => Sequence::new(),
    };
    for item in items {
        match item {
            Value::Object(inner) => target.push(mapping(inner)),
            Value::Array(inner) => target.push(sequence(inner)),
            _ => target.push(scalar(item)),
        }
    }
    target
}

fn scalar(value: &Value) -> ScalarValue {
    match value {
        Value::Bool(flag) => ScalarValue::from(*flag),
        Value::Number(number) => ScalarValue::parse(number.to_string()),
        Value::String(text) if reads_as_other(text) => ScalarValue::single_quoted(text.clone()),
        Value::String(text) => ScalarValue::string(text.clone()),
        _ => ScalarValue::null(),
    }
}

/// Dates, numbers with underscores and `=` are plain texts here, but other YAML readers give them another type.
fn reads_as_other(text: &str) -> bool {
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | '='));
    numeric && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn scalars_follow_version_1_2() {
        let text = "a: yes\nb: 0o17\nc: off\nd: 2020-01-01\ne: ~\nf:\ng: 1.5\nh: '1'\ni: TRUE\nj: 0x10\n1: one\n";
        let read = json!({"a": "yes", "b": 15, "c": "off", "d": "2020-01-01", "e": null, "f": null, "g": 1.5,
                          "h": "1", "i": true, "j": 16, "1": "one"});
        assert_eq!(parse(text).unwrap(), read);
        assert_eq!(parse(" \n# nothing\n").unwrap(), Value::Null);
        assert_eq!(parse("x: &a {k: 1}\ny: {<<: *a, z: 2}\n").unwrap()["y"], json!({"z": 2, "k": 1}));
    }

    #[test]
    fn broken_texts_name_the_line_and_no_value() {
        for (text, line) in [
            ("a: 1\na: hunter2\n", 2),
            ("a: [hunter2,\n", 1),
            ("a:\n\tb: hunter2\n", 2),
            ("a: 1\nb: *hunter\n", 2),
            ("a: 1\n---\nb: hunter2\n", 3),
            ("a: hunter2: c\n", 1),
        ] {
            let error = parse(text).unwrap_err();
            assert!(matches!(error, YamlError::Malformed { line: found, .. } if found == line), "{text:?}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
            assert!(!error.to_string().contains("Options") && !error.to_string().contains("from_str"), "{error}");
            assert_eq!(error.to_string().matches("line").count(), 1, "{error}");
        }
        assert!(parse(&format!("a: {}{}\n", "[".repeat(5000), "]".repeat(5000))).is_err());
        assert!(matches!(parse_mapping("- 1\n"), Err(YamlError::NotMapping("a list"))));
    }

    #[test]
    fn reasons_are_for_people() {
        let deep = format!("a: {}1{}\n", "{a: ".repeat(80), "}".repeat(80));
        for (text, part) in [
            ("~: 1\n", "a key is empty"),
            (": 1\n", "a key is empty"),
            ("? [a]\n: 1\n", "a key is not a plain text"),
            ("a: &x {k: *x}\n", "contains it"),
            ("a: !!binary /w==\n", "no text"),
            (&deep, "too large, too deep"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn an_edit_keeps_everything_else() {
        let text = "# top\nrun:\n    memory: '4g'   # inline\n\n    cpus: 2\n\n# about images\nimage:\n  agents: \"all\" # which\n  user: \"x\"\nlist:\n- a\n-   b\n# end\n";
        let changed = set_in_section(text, "image", &map(json!({"agents": "claude"}))).unwrap();
        assert_eq!(changed, text.replace("\"all\"", "claude"));
        let added = set_in_section(text, "shield", &map(json!({"audit": false}))).unwrap();
        assert_eq!(added, format!("{text}shield:\n  audit: false\n"));
    }

    #[test]
    fn sections_appear_where_there_was_none() {
        let update = map(json!({"a": 1, "b": null, "c": [], "d": {"e": "f"}, "g": ["x", {"y": 1}]}));
        for text in [
            "",
            "\n",
            "# only a comment",
            "image:\n",
            "image: 5\n",
            "image: {}\n",
            "image: [1]\nz: 1\n",
            "---\nz: 1\n",
            "z: 1\n...\n",
            "z: 1",
            "{z: 1}\n",
            "# top\n\n---\nz: 1 # end\n",
            "null\n",
        ] {
            match set_in_section(text, "image", &update) {
                Ok(out) => {
                    assert_eq!(parse(&out).unwrap()["image"], Value::Object(update.clone()), "{text:?}");
                    assert!(!text.contains("z: 1") || parse(&out).unwrap()["z"] == 1, "{text:?}");
                }
                Err(error) => assert_eq!((text, error.code()), ("null\n", "yaml-edit-unstable")),
            }
        }
    }

    #[test]
    fn a_key_is_taken_out_and_nothing_else() {
        let text = "# top\na: 1\nagent:\n  model: x # which\n  subagents:\n  - file: y\n\n# about images\nimage:\n  agents: 'all' # c\n";
        let changed = remove_key(text, "agent").unwrap();
        assert!(
            changed.starts_with("# top\na: 1\n")
                && changed.ends_with("\n# about images\nimage:\n  agents: 'all' # c\n")
        );
        assert!(changed.lines().count() <= 6, "{changed}");
        assert_eq!(remove_key(text, "other").unwrap(), text);
        assert_eq!(parse(&remove_key("agent: {a: 1}\n", "agent").unwrap()).unwrap(), json!({}));
        assert_eq!(parse(&remove_key("{agent: {a: 1}, z: 1}\n", "agent").unwrap()).unwrap(), json!({"z": 1}));
        assert!(remove_key("- a\n", "agent").is_err());
    }

    #[test]
    fn every_text_survives_the_round_trip() {
        for value in [
            "",
            " lead",
            "tail ",
            "x: y",
            "# no",
            "two\nlines",
            "two\nlines\n",
            "'q'",
            "\"dq\"",
            "null",
            "~",
            "1.0",
            "0o7",
            "2020-01-01",
            "yes",
            "a\tb",
            "\u{7f}",
            "@x",
            "%x",
            "!t",
            "*a",
            "&a",
            "- x",
            "?",
            "a #b",
            "[x]",
            "{x}",
            "é",
            "\u{202e}",
            "<<",
            "=",
            "---",
            "a\r\nb",
            "x:",
            "\\",
            "1_000",
            "4g",
            "'",
            "-'x",
        ] {
            let update = map(json!({"a": value, "n": {"deep": value}, "l": [value]}));
            let out = set_in_section("image:\n  a: 1 # c\nz: 1\n", "image", &update).unwrap();
            assert_eq!(parse(&out).unwrap()["image"], Value::Object(update), "{value:?} in {out:?}");
        }
    }

    #[test]
    fn dumped_values_read_back() {
        for value in [
            json!({"a": "yes", "b": "1", "c": null, "d": [], "e": {}, "f": ["x", {"y": "2020-01-01"}], "g": 1.5}),
            json!({"text": "two\nlines\n", "path": "/x: y # z", "empty": "", "tab": "a\tb", "bool": "true"}),
            json!({}),
            json!([1, "two", null]),
            json!("plain"),
        ] {
            let text = dump(&value).unwrap();
            assert_eq!(parse(&text).unwrap(), value, "{text}");
            assert!(text.ends_with('\n'));
        }
    }

    #[test]
    fn nothing_to_change_changes_nothing() {
        let text = "image:   {agents: \"all\"}\n";
        assert_eq!(set_in_section(text, "image", &map(json!({"agents": "all"}))).unwrap(), text);
        assert!(set_in_section("- 1\n", "image", &Map::new()).is_err());
        assert!(set_in_section("a: [", "image", &Map::new()).is_err());
    }

    #[test]
    fn shared_nodes_are_not_changed_behind_the_readers_back() {
        let text = "a: &x {k: 1}\nimage: *x\n";
        match set_in_section(text, "image", &map(json!({"k": 2}))) {
            Ok(out) => assert_eq!(parse(&out).unwrap(), json!({"a": {"k": 1}, "image": {"k": 2}})),
            Err(error) => assert_eq!(error.code(), "yaml-edit-unstable"),
        }
    }
}
