//! The log of Claude Code in its `stream-json` form, told to a person.
//!
//! One line comes in, the text to print comes out. Whatever is no record of the expected form is shown as the plain text
//! that it is; text of the agent loses its control sequences. In streaming mode a text that was shown piece by piece is
//! not shown again when the whole message follows.

use serde_json::{Map, Value};

use base::text::{Cleaner, clean_block, clean_line};

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BLUE: &str = "34";
/// Most bytes that are remembered of what came in pieces; a longer text is shown again with its whole message.
const MAX_REMEMBERED: usize = 4 * 1024 * 1024;
/// Longest value of a tool's input and longest result of a tool, in characters.
const VALUE: usize = 200;
const RESULT: usize = 500;

/// A formatter; it keeps what later lines belong to.
#[derive(Debug)]
pub struct Claude {
    streaming: bool,
    colour: bool,
    open: Option<Block>,
    /// Cleans the open block's text.
    cleaner: Cleaner,
    /// The whole message of the open block has come already.
    told: bool,
    /// What was shown in pieces since the last whole message.
    shown: Vec<Block>,
    result: Option<Map<String, Value>>,
}

/// A block that comes in pieces.
#[derive(Clone, Debug, PartialEq)]
enum Block {
    Text(String),
    Tool { name: String, input: String },
}

impl Block {
    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + 1,
            Self::Tool { name, input } => name.len() + input.len() + 1,
        }
    }
}

impl Claude {
    /// A formatter for one log.
    pub fn new(streaming: bool, colour: bool) -> Self {
        Self { streaming, colour, open: None, cleaner: Cleaner::plain(), told: false, shown: Vec::new(), result: None }
    }

    /// What to print for one line, with its line ends; may be nothing.
    pub fn feed(&mut self, line: &str) -> String {
        let line = line.trim_end_matches(['\n', '\r']);
        if line.trim().is_empty() {
            return String::new();
        }
        let mut out = String::new();
        match serde_json::from_str(line) {
            Ok(Value::Object(record)) => self.record(&record, &mut out),
            _ => push_line(&mut out, &clean_block(line)),
        }
        out
    }

    /// What to print at the end of the log: on standard output, and on standard error.
    pub fn finish(&mut self) -> (String, String) {
        let (mut out, mut summary) = (String::new(), String::new());
        self.close(&mut out);
        let parts = self.result.take().map(|result| self.summary(&result)).unwrap_or_default();
        if !parts.is_empty() {
            let line = self.paint(YELLOW, &format!("[result] {}", parts.join(", ")));
            summary = format!("\n{line}\n");
        }
        (out, summary)
    }

    fn record(&mut self, record: &Map<String, Value>, out: &mut String) {
        match record.get("type").and_then(Value::as_str) {
            Some("system") => self.system(record, out),
            Some("assistant") => {
                self.message(record, out);
                self.shown.clear();
            }
            Some("user") => self.message(record, out),
            Some("result") => self.result = Some(record.clone()),
            Some("content_block_start") if self.streaming => self.start(record, out),
            Some("content_block_delta") if self.streaming => self.piece(record, out),
            Some("content_block_stop") if self.streaming => self.close(out),
            _ => {}
        }
    }

    fn system(&self, record: &Map<String, Value>, out: &mut String) {
        if record.get("subtype").and_then(Value::as_str) != Some("init") {
            return;
        }
        let part = |key: &str| record.get(key).filter(|value| is_true(value)).map(|value| clean_line(&shown(value)));
        let tools = record.get("tools").and_then(Value::as_array).filter(|tools| !tools.is_empty());
        let parts: Vec<String> = [
            part("session_id").map(|id| format!("Session: {id}")),
            part("model").map(|model| format!("model={model}")),
            tools.map(|tools| format!("{} tools available", tools.len())),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !parts.is_empty() {
            push_line(out, &self.paint(BLUE, &format!("[system] {}", parts.join(", "))));
        }
    }

    /// The blocks of a whole message, of the agent or about its tools.
    fn message(&mut self, record: &Map<String, Value>, out: &mut String) {
        match record.get("message").and_then(|message| message.get("content")) {
            Some(Value::String(text)) => self.text(text, out),
            Some(Value::Array(blocks)) => {
                for block in blocks {
                    self.block(block, out);
                }
            }
            _ => {}
        }
    }

    fn block(&mut self, block: &Value, out: &mut String) {
        let member = |key: &str| block.get(key).and_then(Value::as_str);
        match (block, member("type")) {
            (Value::String(text), _) => self.text(text, out),
            (_, Some("text")) => self.text(member("text").unwrap_or_default(), out),
            (_, Some("tool_use")) => {
                let name = member("name").unwrap_or("unknown");
                let input = block.get("input").unwrap_or(&Value::Null);
                if !self.was_shown(|known| is_same_tool(known, name, input)) {
                    self.tool(name, out);
                    self.input(input, out);
                }
            }
            (_, Some("tool_result")) => self.tool_result(block, out),
            _ => {}
        }
    }

    fn text(&mut self, text: &str, out: &mut String) {
        let repeated = self.was_shown(|known| matches!(known, Block::Text(shown) if shown == text));
        if !text.trim().is_empty() && !repeated {
            push_line(out, &clean_block(text));
        }
    }

    /// True when such a block was shown in pieces; the same one counts once. One that is still open counts as well.
    fn was_shown(&mut self, is_it: impl Fn(&Block) -> bool) -> bool {
        if let Some(at) = self.shown.iter().position(&is_it) {
            self.shown.remove(at);
            return true;
        }
        // The whole text may come before the end of its last piece is announced.
        let open = !self.told && matches!(&self.open, Some(open @ Block::Text(_)) if is_it(open));
        self.told |= open;
        open
    }

    fn tool(&self, name: &str, out: &mut String) {
        push_line(out, &self.paint(BLUE, &format!("[tool] {}", clean_line(name))));
    }

    fn input(&self, input: &Value, out: &mut String) {
        match input {
            Value::Object(members) => {
                for (key, value) in members {
                    let value = clean_block(&cut(&shown(value), VALUE));
                    push_line(out, &self.paint(YELLOW, &format!("  {}: {value}", clean_line(key))));
                }
            }
            other if is_true(other) => {
                push_line(out, &self.paint(YELLOW, &format!("  {}", clean_block(&shown(other)))));
            }
            _ => {}
        }
    }

    fn tool_result(&self, block: &Value, out: &mut String) {
        let failed = block.get("is_error").is_some_and(is_true);
        let (colour, word) = if failed { (RED, "[tool_error]") } else { (GREEN, "[tool_result]") };
        let id = block.get("tool_use_id").and_then(Value::as_str).filter(|id| !id.is_empty());
        let id = id.map(|id| format!(" ({}...)", clean_line(&id.chars().take(8).collect::<String>())));
        push_line(out, &self.paint(colour, &format!("{word}{}", id.unwrap_or_default())));
        let text = match block.get("content") {
            None | Some(Value::Null) => String::new(),
            Some(Value::Array(parts)) => {
                let texts = parts.iter().filter_map(|part| part.as_str().or_else(|| part.get("text")?.as_str()));
                texts.collect::<Vec<_>>().join(" ")
            }
            Some(other) => shown(other),
        };
        if !text.trim().is_empty() {
            push_line(out, &format!("  {}", clean_block(&cut(&text, RESULT))));
        }
    }

    fn start(&mut self, record: &Map<String, Value>, out: &mut String) {
        self.close(out);
        let block = record.get("content_block");
        let member = |key: &str| block.and_then(|block| block.get(key)).and_then(Value::as_str);
        match member("type") {
            Some("text") => self.open = Some(Block::Text(String::new())),
            Some("tool_use") => {
                let name = member("name").unwrap_or("unknown").to_owned();
                self.tool(&name, out);
                self.open = Some(Block::Tool { name, input: String::new() });
            }
            _ => {}
        }
    }

    fn piece(&mut self, record: &Map<String, Value>, out: &mut String) {
        let delta = record.get("delta");
        let member = |key: &str| delta.and_then(|delta| delta.get(key)).and_then(Value::as_str);
        match (&mut self.open, member("type")) {
            (Some(Block::Text(text)), Some("text_delta")) => {
                let piece = member("text").unwrap_or_default();
                remember(text, piece);
                out.push_str(&self.cleaner.feed(piece.as_bytes()));
            }
            (Some(Block::Tool { input, .. }), Some("input_json_delta")) => {
                remember(input, member("partial_json").unwrap_or_default());
            }
            _ => {}
        }
    }

    /// Ends the block that is open.
    fn close(&mut self, out: &mut String) {
        let Some(block) = self.open.take() else { return };
        match &block {
            Block::Text(_) => push_line(out, &self.cleaner.finish()),
            Block::Tool { input, .. } if input.is_empty() => {}
            Block::Tool { input, .. } => match serde_json::from_str::<Value>(input) {
                Ok(value) => self.input(&value, out),
                Err(_) => push_line(out, &self.paint(YELLOW, &format!("  {}", clean_block(input)))),
            },
        }
        if !std::mem::take(&mut self.told) && self.remembered() + block.size() <= MAX_REMEMBERED {
            self.shown.push(block);
        }
    }

    /// Bytes that are kept of blocks.
    pub(crate) fn remembered(&self) -> usize {
        self.shown.iter().chain(&self.open).map(Block::size).sum()
    }

    fn summary(&self, result: &Map<String, Value>) -> Vec<String> {
        let number = |key: &str| result.get(key).and_then(Value::as_f64);
        let mut parts = Vec::new();
        if result.get("is_error").is_some_and(is_true) {
            parts.push(self.paint(RED, "FAILED"));
        }
        parts.extend(result.get("num_turns").filter(|turns| turns.is_number()).map(|turns| format!("turns={turns}")));
        parts.extend(number("cost_usd").map(|cost| format!("cost=${cost:.4}")));
        parts.extend(number("duration_ms").map(|time| format!("duration={:.1}s", time / 1000.0)));
        let tokens =
            |key: &str| result.get("usage").and_then(|usage| usage.get(key)).and_then(Value::as_u64).unwrap_or(0);
        let (read, written) = (tokens("input_tokens"), tokens("output_tokens"));
        if read > 0 || written > 0 {
            parts.push(format!("tokens={read}in/{written}out"));
        }
        parts
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Appends a piece, as long as there is space for it.
fn remember(text: &mut String, piece: &str) {
    if text.len() + piece.len() <= MAX_REMEMBERED {
        text.push_str(piece);
    }
}

fn is_same_tool(block: &Block, name: &str, input: &Value) -> bool {
    let Block::Tool { name: known, input: text } = block else { return false };
    let streamed = serde_json::from_str(text).unwrap_or_else(|_| Value::Object(Map::new()));
    known == name && (streamed == *input || !is_true(&streamed) && !is_true(input))
}

fn push_line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// At most `limit` characters, three of them dots when something was cut off.
fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit - 3).collect();
    short.push_str("...");
    short
}

/// What Python takes for true.
pub(crate) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// A value as Python prints it: readers of these logs know that form.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => nested(other),
    }
}

fn nested(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(nested).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| format!("{}: {}", quoted(key), nested(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}
