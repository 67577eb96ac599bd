//! What an answer says about itself: model and token counts, read in passing for the audit line.
//!
//! Invariants: nothing is gathered or held back, the scan is of one pass over bytes that are on their way anyway; memory
//! is bounded, whatever the answer is; an answer that is not understood is simply not accounted for.
//!
//! Understood are JSON documents and event streams of the dialects that the bundled providers speak: the members `model`
//! and `usage` at the top or below `message` (first event of Anthropic's) or `response` (events of OpenAI's Responses).
//! In `usage` count `input_tokens` or `prompt_tokens`, and `output_tokens` or `completion_tokens`; later values replace
//! earlier ones, because streams repeat their running totals.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// Longest key or model name that is kept.
const LONGEST: usize = 128;
/// Nesting beyond this makes a document unintelligible.
const DEEPEST: u32 = 64;
/// Levels of nesting at which keys matter.
const LEVELS: usize = 3;

/// What was learned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Model that answered.
    pub model: Option<String>,
    /// Tokens of the question.
    pub input: Option<u64>,
    /// Tokens of the answer.
    pub output: Option<u64>,
}

impl Found {
    /// Adds what another answer of the same conversation consumed.
    pub fn add(&mut self, other: Self) {
        let sum = |a: Option<u64>, b: Option<u64>| a.map_or(b, |a| Some(a.saturating_add(b.unwrap_or(0))));
        self.model = other.model.or(self.model.take());
        self.input = sum(self.input, other.input);
        self.output = sum(self.output, other.output);
    }
}

/// Watches one body.
pub struct Usage {
    line: Option<Line>,
    json: Json,
}

/// Where in a line of an event stream we are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    /// So many bytes of the field name match.
    Name(usize),
    Data,
    Other,
}

const DATA: &[u8] = b"data:";

impl Usage {
    /// A watcher for an answer with these headers; `None` when nothing could be learned from it.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let kind = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let line = match kind.as_str() {
            "text/event-stream" => Some(Line::Name(0)),
            "application/json" => None,
            other if other.ends_with("+json") => None,
            _ => return None,
        };
        Some(Self { line, json: Json::default() })
    }

    /// A watcher for one JSON document.
    pub fn of_text() -> Self {
        Self { line: None, json: Json::default() }
    }

    /// Looks at the next piece of the body.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        let Some(mut line) = self.line else {
            self.json.feed(bytes);
            return;
        };
        while !bytes.is_empty() {
            if let Line::Name(matched) = line {
                line = self.name(matched, bytes[0]);
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|b| *b == b'\n');
            let (rest, after) = bytes.split_at(end.unwrap_or(bytes.len()));
            if line == Line::Data {
                self.json.feed(rest);
            }
            if end.is_some() {
                line = Line::Name(0);
            }
            bytes = after.get(1..).unwrap_or_default();
        }
        self.line = Some(line);
    }

    fn name(&mut self, matched: usize, byte: u8) -> Line {
        match byte {
            b'\n' => Line::Name(0),
            _ if DATA[matched] != byte => Line::Other,
            _ if matched + 1 < DATA.len() => Line::Name(matched + 1),
            _ => {
                self.json.restart();
                Line::Data
            }
        }
    }

    /// What was learned so far.
    pub fn found(&mut self) -> Found {
        std::mem::take(&mut self.json.found)
    }
}

/// Keys that matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Key {
    #[default]
    Other,
    Model,
    Usage,
    Envelope,
    Input,
    Output,
}

impl Key {
    fn of(text: &[u8]) -> Self {
        match text {
            b"model" => Self::Model,
            b"usage" => Self::Usage,
            b"message" | b"response" => Self::Envelope,
            b"input_tokens" | b"prompt_tokens" => Self::Input,
            b"output_tokens" | b"completion_tokens" => Self::Output,
            _ => Self::Other,
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Between tokens.
    #[default]
    Between,
    /// In a text; `keep` it.
    Text { key: bool, keep: bool },
    /// After a backslash in a text.
    Escape { key: bool },
    /// In a number that matters.
    Number(Option<u64>),
    /// In another number or a bare word.
    Scalar,
    /// No longer understood.
    Lost,
}

/// A scanner of JSON that knows where it is, and nothing else.
#[derive(Default)]
struct Json {
    state: State,
    depth: u32,
    /// Bit `n` is set when the container at depth `n + 1` is an array.
    arrays: u64,
    expects_key: bool,
    keys: [Key; LEVELS],
    text: Vec<u8>,
    found: Found,
}

impl Json {
    /// Forgets the document, not what was learned from it.
    fn restart(&mut self) {
        let (text, found) = (std::mem::take(&mut self.text), std::mem::take(&mut self.found));
        *self = Self { text, found, ..Self::default() };
    }

    fn feed(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            match self.state {
                State::Lost => return,
                State::Between => self.between(byte),
                State::Escape { key } => self.state = State::Text { key, keep: false },
                State::Number(value) => {
                    if self.number(value, byte) {
                        continue;
                    }
                }
                State::Scalar if ends_scalar(byte) => {
                    self.state = State::Between;
                    continue;
                }
                State::Scalar => {}
                State::Text { key, keep } => {
                    let rest = &bytes[at..];
                    let end = rest.iter().position(|b| matches!(b, b'"' | b'\\'));
                    let piece = &rest[..end.unwrap_or(rest.len())];
                    let keep = keep && self.text.len() + piece.len() <= LONGEST;
                    if keep {
                        self.text.extend_from_slice(piece);
                    }
                    self.state = State::Text { key, keep };
                    at += piece.len();
                    match end.map(|end| rest[end]) {
                        None => return,
                        Some(b'"') => self.end_text(key, keep),
                        Some(_) => self.state = State::Escape { key },
                    }
                }
            }
            at += 1;
        }
    }

    fn in_array(&self) -> bool {
        self.depth > 0 && self.arrays >> (self.depth - 1) & 1 == 1
    }

    fn between(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' => self.open(byte == b'['),
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.expects_key = false;
            }
            b',' => self.expects_key = self.depth > 0 && !self.in_array(),
            b':' => self.expects_key = false,
            b'"' => {
                let keep =
                    if self.expects_key { self.depth as usize <= LEVELS } else { self.leaf() == Some(Key::Model) };
                self.text.clear();
                self.state = State::Text { key: self.expects_key, keep };
            }
            b'0'..=b'9' if matches!(self.leaf(), Some(Key::Input | Key::Output)) => {
                self.state = State::Number(Some(u64::from(byte - b'0')));
            }
            _ if ends_scalar(byte) => {}
            _ => self.state = State::Scalar,
        }
    }

    fn open(&mut self, array: bool) {
        if self.depth >= DEEPEST {
            self.state = State::Lost;
            return;
        }
        let bit = 1_u64 << self.depth;
        self.arrays = if array { self.arrays | bit } else { self.arrays & !bit };
        if let Some(key) = self.keys.get_mut(self.depth as usize) {
            *key = Key::Other;
        }
        self.depth += 1;
        self.expects_key = !array;
    }

    /// The key whose value comes next, when it is one that counts at this place.
    fn leaf(&self) -> Option<Key> {
        if self.expects_key || self.arrays & ((1_u64 << self.depth.min(63)) - 1) != 0 {
            return None;
        }
        let path = self.keys.get(..self.depth as usize)?;
        let path = if path.first() == Some(&Key::Envelope) { &path[1..] } else { path };
        match path {
            [Key::Model] => Some(Key::Model),
            [Key::Usage, key @ (Key::Input | Key::Output)] => Some(*key),
            _ => None,
        }
    }

    fn end_text(&mut self, key: bool, keep: bool) {
        self.state = State::Between;
        if key {
            if let Some(slot) = self.keys.get_mut((self.depth as usize).wrapping_sub(1)) {
                *slot = if keep { Key::of(&self.text) } else { Key::Other };
            }
            return;
        }
        let plain = |b: &u8| b.is_ascii_graphic() || *b == b' ';
        if keep && !self.text.is_empty() && self.text.iter().all(plain) {
            let name = String::from_utf8_lossy(&self.text);
            if self.found.model.as_deref() != Some(&*name) {
                self.found.model = Some(name.into_owned());
            }
        }
    }

    /// True when `byte` ended the number and is still to be looked at.
    fn number(&mut self, value: Option<u64>, byte: u8) -> bool {
        if byte.is_ascii_digit() {
            let digit = u64::from(byte - b'0');
            let value = value.and_then(|v| v.checked_mul(10)).and_then(|v| v.checked_add(digit));
            self.state = State::Number(value);
            return false;
        }
        let whole = ends_scalar(byte);
        if let (true, Some(value)) = (whole, value) {
            match self.leaf() {
                Some(Key::Input) => self.found.input = Some(value),
                Some(Key::Output) => self.found.output = Some(value),
                _ => {}
            }
        }
        self.state = if whole { State::Between } else { State::Scalar };
        true
    }
}

fn ends_scalar(byte: u8) -> bool {
    matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn headers(kind: &str) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert(CONTENT_TYPE, kind.parse().unwrap());
        map
    }

    /// The real dialects, cut at every size, always tell the same.
    #[test]
    fn dialects_as_recorded() {
        let table: Value = serde_json::from_str(include_str!("../../tests/fixtures/broker/usage.json")).unwrap();
        for case in table.as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            let body = match &case["body"] {
                Value::String(text) => text.clone(),
                Value::Array(lines) => lines.iter().map(|l| l.as_str().unwrap().to_owned() + "\n").collect(),
                other => other.to_string(),
            };
            let expected = Found {
                model: case["model"].as_str().map(str::to_owned),
                input: case["input"].as_u64(),
                output: case["output"].as_u64(),
            };
            for size in [1, 2, 3, 7, 64, body.len().max(1)] {
                let mut usage = Usage::of(&headers(case["type"].as_str().unwrap())).unwrap();
                body.as_bytes().chunks(size).for_each(|piece| usage.feed(piece));
                assert_eq!(usage.found(), expected, "{name} in pieces of {size}");
            }
        }
    }

    #[test]
    fn only_readable_answers_are_watched() {
        for (kind, watched) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("text/event-stream", true),
            ("text/html", false),
            ("application/octet-stream", false),
        ] {
            assert_eq!(Usage::of(&headers(kind)).is_some(), watched, "{kind}");
        }
        assert!(Usage::of(&HeaderMap::new()).is_none());
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut usage = Usage::of(&headers("application/json")).unwrap();
        let long = "a".repeat(1 << 20);
        for piece in ["{\"", &long, "\": \"", &long, "\", \"model\": \"", &long, "\"", &"[{".repeat(1 << 16)] {
            usage.feed(piece.as_bytes());
            assert!(usage.json.text.capacity() <= 4 * LONGEST);
        }
        assert_eq!(usage.found(), Found::default());
    }

    #[test]
    fn answers_of_a_conversation_add_up() {
        let mut all = Found::default();
        for text in
            [r#"{"model":"a","usage":{"input_tokens":3}}"#, "{}", r#"{"usage":{"input_tokens":4,"output_tokens":1}}"#]
        {
            let mut usage = Usage::of_text();
            usage.feed(text.as_bytes());
            all.add(usage.found());
        }
        assert_eq!(all, Found { model: Some("a".into()), input: Some(7), output: Some(1) });
    }
}
