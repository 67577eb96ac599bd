//! The plain form in which tasks are written, read without a YAML parser: `key: value` and lists of words.
//!
//! Most of the time that a listing of thousands of tasks took went into the parser. What is not of this form exactly is
//! none of ours: `None`, and the parser decides. Whatever is read here, the parser reads in the same way (a test holds
//! the two against each other).

use serde_json::{Map, Value};

/// The mapping in `text`, when it is of the plain form.
pub(crate) fn parse(text: &str) -> Option<Map<String, Value>> {
    let mut map = Map::new();
    let mut lines = text.strip_suffix('\n')?.split('\n').peekable();
    while let Some(line) = lines.next() {
        let (key, rest) = line.split_once(':')?;
        let value = match rest.strip_prefix(' ') {
            Some(rest) => scalar(rest)?,
            None if !rest.is_empty() => return None,
            None => {
                let mut items = Vec::new();
                while let Some(item) = lines.peek().and_then(|line| line.strip_prefix("- ")) {
                    items.push(Value::from(word(item)?));
                    lines.next();
                }
                if items.is_empty() { Value::Null } else { Value::Array(items) }
            }
        };
        if map.insert(key_of(key)?.to_owned(), value).is_some() {
            return None;
        }
    }
    Some(map)
}

/// One key with its value in the plain form, when it can be written so.
pub(crate) fn render(key: &str, value: &Value) -> Option<String> {
    let key = key_of(key)?;
    match value {
        Value::Null => Some(format!("{key}:\n")),
        Value::Bool(_) | Value::Number(_) => {
            let text = value.to_string();
            (scalar(&text)? == *value).then(|| format!("{key}: {text}\n"))
        }
        Value::String(text) => word(text).map(|word| format!("{key}: {word}\n")).or_else(|| {
            let quoted = format!("'{text}'");
            (scalar(&quoted)? == *value).then(|| format!("{key}: {quoted}\n"))
        }),
        Value::Array(items) if !items.is_empty() => {
            let items: Option<String> =
                items.iter().map(|item| Some(format!("- {}\n", word(item.as_str()?)?))).collect();
            items.map(|items| format!("{key}:\n{items}"))
        }
        _ => None,
    }
}

fn key_of(key: &str) -> Option<&str> {
    let plain = key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    (plain && key.len() > 1 && !is_special(key)).then_some(key)
}

fn scalar(text: &str) -> Option<Value> {
    let bytes = text.as_bytes();
    match bytes {
        [quote @ (b'"' | b'\''), inner @ .., last] if quote == last => {
            let plain = inner.iter().all(|b| matches!(b, b' '..=b'~') && b != quote && *b != b'\\');
            plain.then(|| Value::from(&text[1..text.len() - 1]))
        }
        b"true" => Some(Value::Bool(true)),
        b"false" => Some(Value::Bool(false)),
        b"0" => Some(Value::from(0)),
        [b'1'..=b'9', rest @ ..] if rest.len() < 15 && rest.iter().all(u8::is_ascii_digit) => {
            text.parse::<u64>().ok().map(Value::from)
        }
        _ => word(text).map(Value::from),
    }
}

/// A text that no reader of YAML takes for anything else.
fn word(text: &str) -> Option<&str> {
    let (first, rest) = text.as_bytes().split_first()?;
    let begins = first.is_ascii_alphabetic() || *first == b'/';
    let goes_on = rest.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'.' | b'-'));
    (begins && goes_on && !is_special(text)).then_some(text)
}

fn is_special(text: &str) -> bool {
    let words = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"];
    text.len() <= 8 && words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agree(text: &str) -> bool {
        let quick = parse(text);
        if let Some(map) = &quick {
            assert_eq!(base::yaml::parse_mapping(text).unwrap(), *map, "{text:?}");
        }
        quick.is_some()
    }

    #[test]
    fn the_written_form_is_read_at_once() {
        for text in [
            "mode:\nworkspace: /w/x-1.2_3\nweb_port:\ncreated_at: \"2026-11-22T11:34:37.279015+00:00\"\n",
            "mode: run\ncreated_at: '2026-11-22T11:34:37.279015+00:00'\nexit_code: 0\nweb_port: 18700\nunrestricted: true\n",
            "hooks_fired:\n- pre_start\n- post_start\ndeleting: true\n",
            "web_token: 'a: b #c'\nempty: ''\nempty_too: \"\"\n",
        ] {
            assert!(agree(text), "{text:?}");
        }
    }

    #[test]
    fn whatever_is_written_reads_back_as_it_was() {
        use serde_json::json;
        let values = [
            json!(null),
            json!(true),
            json!(0),
            json!(7),
            json!(-7),
            json!(1.5),
            json!(u64::MAX),
            json!(""),
            json!("x"),
            json!("1"),
            json!("yes"),
            json!("it's"),
            json!("a\"b"),
            json!("a\\b"),
            json!("a: b # c"),
            json!("two\nlines"),
            json!("é"),
            json!("2026-01-01"),
            json!("\u{1b}[1m"),
            json!([]),
            json!(["a", "b"]),
            json!(["a", 1]),
            json!(["yes"]),
            json!({"a": 1}),
        ];
        let written = |key: &str, value: &Value| render(key, value);
        for value in &values {
            if let Some(text) = written("key", value) {
                assert_eq!(base::yaml::parse(&text).unwrap(), json!({"key": value}), "{text:?}");
            }
        }
        assert_eq!(values.iter().filter(|value| written("key", value).is_some()).count(), 12);
        assert!(["yes", "Key", "a b", "1", "", "null", "a:"].iter().all(|key| written(key, &json!(1)).is_none()));
    }

    #[test]
    fn whatever_is_read_the_parser_reads_in_the_same_way() {
        let values: Vec<String> = serde_json::from_str(include_str!("../../tests/fixtures/task/scalars.json")).unwrap();
        let shapes: [fn(&str) -> String; 9] = [
            |v| format!("key: {v}\n"),
            |v| format!("key:\n- {v}\n"),
            |v| format!("key: {v}\nother: 1\n"),
            |v| format!("{v}: key\n"),
            |v| format!("key:\n- a\n- {v}\nother: x\n"),
            |v| format!("key: a\n{v}\n"),
            |v| format!("key:\n{v}\n"),
            |v| format!("key:\n  {v}\n"),
            |v| format!("key: {v}"),
        ];
        let (mut all, mut quick) = (0, 0);
        for text in values.iter().flat_map(|value| shapes.iter().map(move |shape| shape(value))) {
            all += 1;
            quick += usize::from(agree(&text));
        }
        assert!(quick > 15, "{quick} of {all}");
        for text in [
            "",
            "\n",
            "key: a\r\n",
            "---\nkey: a\n",
            "key: a\n...\n",
            "key: a\nkey: b\n",
            "key: a\n\n",
            "# c\nkey: a\n",
        ] {
            assert!(!agree(text), "{text:?}");
        }
    }
}
