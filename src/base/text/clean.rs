//! Removes from hostile text everything that a terminal acts on: escape sequences, control characters, and marks that
//! hide text or turn its direction.
//!
//! Invariants:
//! - The result is the same whatever pieces the input arrives in.
//! - What is complete is returned at once, also in the middle of a line; at most a few bytes are withheld.
//! - No line of the result is longer than the limit, and memory does not grow with the input.

use unicode_general_category::{GeneralCategory as G, get_general_category};

/// Most bytes of one line of a stream; the rest of the line is counted and dropped.
pub const MAX_LINE: usize = 256 * 1024;
/// Longest escape sequence that can set a colour.
const MAX_COLOUR: usize = 64;

/// Cleans one line: line breaks and tabs become spaces.
pub fn clean_line(text: &str) -> String {
    whole(Cleaner { breaks: false, ..Cleaner::plain() }, text)
}

/// Cleans one line and cuts it after `most` characters, with `…` in place of the rest.
pub fn clean_label(text: &str, most: usize) -> String {
    let line = clean_line(text);
    match line.char_indices().nth(most) {
        Some((cut, _)) => format!("{}…", line[..cut].trim_end()),
        None => line,
    }
}

/// Cleans several lines: line breaks and tabs stay.
pub fn clean_block(text: &str) -> String {
    whole(Cleaner::plain(), text)
}

/// Cleans several lines and keeps the sequences that set colours.
pub fn clean_coloured(text: &str) -> String {
    whole(Cleaner::coloured(), text)
}

fn whole(mut cleaner: Cleaner, text: &str) -> String {
    if text.len() <= MAX_LINE && !text.contains(|c: char| !matches!(c, '\u{20}'..='\u{7e}')) {
        return text.to_owned();
    }
    let mut out = cleaner.feed(text.as_bytes());
    out.push_str(&cleaner.finish());
    out
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    /// A carriage return: dropped before a line break, a line break elsewhere, so that no line overwrites itself.
    Return,
    /// After ESC.
    Escape,
    /// Parameters of a control sequence.
    Control,
    /// A string for the terminal itself, which ends at its terminator or at the end of the line.
    Strip,
    /// After ESC in such a string.
    StripEscape,
    /// Intermediate characters, then one final character.
    Intermediate,
}

/// Cleans a stream piece by piece.
#[derive(Debug, Clone)]
pub struct Cleaner {
    breaks: bool,
    colours: bool,
    limit: usize,
    state: State,
    /// The beginning of a character.
    partial: Vec<u8>,
    /// The control sequence so far.
    sequence: String,
    column: usize,
    dropped: usize,
}

impl Cleaner {
    /// Drops all sequences.
    pub fn plain() -> Self {
        Self {
            breaks: true,
            colours: false,
            limit: MAX_LINE,
            state: State::Text,
            partial: Vec::new(),
            sequence: String::new(),
            column: 0,
            dropped: 0,
        }
    }

    /// Keeps the sequences that set colours.
    pub fn coloured() -> Self {
        Self { colours: true, ..Self::plain() }
    }

    /// Keeps so many bytes of a line instead of [`MAX_LINE`].
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Takes the next piece; returns what can be shown now.
    pub fn feed(&mut self, piece: &[u8]) -> String {
        let mut out = String::with_capacity(piece.len());
        let joined;
        let mut rest = match self.partial.is_empty() {
            true => piece,
            false => {
                joined = [&std::mem::take(&mut self.partial)[..], piece].concat();
                &joined[..]
            }
        };
        loop {
            let (valid, bad) = match std::str::from_utf8(rest) {
                Ok(text) => (text, None),
                Err(error) => {
                    let text = std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default();
                    (text, Some(error.error_len()))
                }
            };
            self.take(valid, &mut out);
            rest = &rest[valid.len()..];
            match bad {
                None => return out,
                Some(None) => {
                    self.partial = rest.to_vec();
                    return out;
                }
                Some(Some(length)) => {
                    self.step(char::REPLACEMENT_CHARACTER, &mut out);
                    rest = &rest[length..];
                }
            }
        }
    }

    /// Ends the stream; returns what was withheld.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        if !std::mem::take(&mut self.partial).is_empty() {
            self.step(char::REPLACEMENT_CHARACTER, &mut out);
        }
        if self.state == State::Return {
            self.end_line(&mut out);
        }
        self.note_dropped(&mut out);
        (self.state, self.column) = (State::Text, 0);
        out
    }

    fn take(&mut self, mut text: &str, out: &mut String) {
        while !text.is_empty() {
            if self.state == State::Text {
                let plain = text.bytes().take_while(|byte| matches!(byte, b' '..=b'~')).count();
                self.show(&text[..plain], out);
                text = &text[plain..];
            }
            let Some(c) = text.chars().next() else { return };
            self.step(c, out);
            text = &text[c.len_utf8()..];
        }
    }

    fn step(&mut self, c: char, out: &mut String) {
        let handled = match self.state {
            State::Text => false,
            State::Return => {
                self.state = State::Text;
                if c != '\n' {
                    self.end_line(out);
                }
                false
            }
            State::Escape => self.escape(c),
            State::Control => self.control(c, out),
            State::Strip => self.strip(c),
            State::StripEscape => {
                self.state = if c == '\\' { State::Text } else { State::Escape };
                c == '\\' || self.escape(c)
            }
            State::Intermediate => {
                if !matches!(c, '\u{20}'..='\u{2f}') {
                    self.state = State::Text;
                }
                true
            }
        };
        if !handled {
            self.text(c, out);
        }
    }

    /// False when the character does not belong to the sequence.
    fn escape(&mut self, c: char) -> bool {
        self.state = match c {
            '[' => {
                self.sequence.clear();
                State::Control
            }
            ']' | 'P' | 'X' | '^' | '_' => State::Strip,
            '\u{20}'..='\u{2f}' => State::Intermediate,
            _ => State::Text,
        };
        !c.is_control()
    }

    fn control(&mut self, c: char, out: &mut String) -> bool {
        match c {
            '\u{20}'..='\u{3f}' => {
                if self.sequence.len() < MAX_COLOUR {
                    self.sequence.push(c);
                }
                true
            }
            '\u{40}'..='\u{7e}' => {
                self.state = State::Text;
                let parameters = self.sequence.bytes().all(|b| b.is_ascii_digit() || matches!(b, b';' | b':'));
                if self.colours && c == 'm' && parameters && self.sequence.len() < MAX_COLOUR && self.dropped == 0 {
                    out.push_str("\u{1b}[");
                    out.push_str(&self.sequence);
                    out.push('m');
                    self.column += self.sequence.len() + 3;
                }
                true
            }
            _ => {
                self.state = State::Text;
                false
            }
        }
    }

    fn strip(&mut self, c: char) -> bool {
        match c {
            '\u{7}' | '\u{9c}' => self.state = State::Text,
            '\u{1b}' => self.state = State::StripEscape,
            '\n' => {
                self.state = State::Text;
                return false;
            }
            _ => {}
        }
        true
    }

    fn text(&mut self, c: char, out: &mut String) {
        match c {
            '\u{1b}' => self.state = State::Escape,
            '\u{9b}' => {
                self.sequence.clear();
                self.state = State::Control;
            }
            '\u{9d}' | '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}' => self.state = State::Strip,
            '\r' => self.state = State::Return,
            '\n' => self.end_line(out),
            '\t' if self.breaks => self.show("\t", out),
            '\t' => self.show(" ", out),
            _ if is_safe(c) => self.show(c.encode_utf8(&mut [0; 4]), out),
            _ => {}
        }
    }

    fn show(&mut self, text: &str, out: &mut String) {
        let room = self.limit.saturating_sub(self.column);
        let fits = match text.len() <= room && self.dropped == 0 {
            true => text.len(),
            // The text is one character, or plain ASCII.
            false if self.dropped == 0 && text.is_ascii() => room,
            false => 0,
        };
        out.push_str(&text[..fits]);
        self.column += fits;
        self.dropped += text.len() - fits;
    }

    fn end_line(&mut self, out: &mut String) {
        if !self.breaks {
            return self.show(" ", out);
        }
        self.note_dropped(out);
        out.push('\n');
        self.column = 0;
    }

    fn note_dropped(&mut self, out: &mut String) {
        match std::mem::take(&mut self.dropped) {
            0 => {}
            bytes if self.colours => out.push_str(&format!("\u{1b}[0m […{bytes} bytes]")),
            bytes => out.push_str(&format!(" […{bytes} bytes]")),
        }
    }
}

fn is_safe(c: char) -> bool {
    match get_general_category(c) {
        G::Control | G::Surrogate | G::LineSeparator | G::ParagraphSeparator => false,
        // Joiners are part of writing and of emoji; the rest of the class only hides or turns text.
        G::Format => matches!(c, '\u{200c}' | '\u{200d}'),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: &[(&str, &str)] = &[
        ("plain é ✅ 👩‍💻", "plain é ✅ 👩‍💻"),
        ("\u{1b}[31mred\u{1b}[0m", "red"),
        ("a\u{1b}]0;title\u{7}b", "ab"),
        ("a\u{1b}]8;;http://x\u{1b}\\b", "ab"),
        ("a\u{1b}]8;;x\u{1b}[31mb", "ab"),
        ("a\u{1b}Pq#0\u{1b}\\b", "ab"),
        ("a\u{1b}(Bb\u{1b}7c\u{1b}=d", "abcd"),
        ("a\u{9b}2Jb\u{9d}x\u{9c}c", "abc"),
        ("a\u{1b}[2", "a"),
        ("a\u{1b}", "a"),
        ("a\u{1b}\u{1b}[1mb", "ab"),
        ("a\u{1b}]open\nb", "a\nb"),
        ("a\u{202e}b\u{2066}c\u{200b}d\u{feff}e", "abcde"),
        ("10%\r20%\r\n", "10%\n20%\n"),
        ("10%\r", "10%\n"),
        ("a\u{8}b\u{7f}c\0d\u{85}e", "abcde"),
        ("a\u{2028}b", "ab"),
        ("\u{1b}[31;\u{7}mx", "mx"),
        ("\u{1b}éx", "x"),
    ];

    // improves: 30-8.5-clean-status
    // holds: hostile-text-is-cleaned
    #[test]
    fn nothing_that_moves_a_terminal_is_left() {
        for (raw, expected) in CASES {
            assert_eq!(clean_block(raw), *expected, "{raw:?}");
            assert!(!clean_line(raw).contains(char::is_control), "{raw:?}");
        }
        assert_eq!(clean_line("a\nb\tc"), "a b c");
        assert_eq!(clean_coloured("\u{1b}[1;31mred\u{1b}[0m\u{1b}[2J\u{1b}[?25l"), "\u{1b}[1;31mred\u{1b}[0m");
        assert_eq!(clean_label("a\u{1b}[2J bcd", 3), "a b…");
        assert_eq!(clean_label("abc", 3), "abc");
    }

    #[test]
    fn pieces_of_any_size_give_the_same_result() {
        let all: String = CASES.iter().map(|(raw, _)| format!("{raw}\n")).collect();
        let whole = clean_coloured(&all);
        for size in 1..9 {
            let mut cleaner = Cleaner::coloured();
            let mut out: String = all.as_bytes().chunks(size).map(|piece| cleaner.feed(piece)).collect();
            out.push_str(&cleaner.finish());
            assert_eq!(out, whole, "pieces of {size}");
        }
    }

    #[test]
    fn partial_lines_come_at_once() {
        let mut cleaner = Cleaner::plain();
        assert_eq!(cleaner.feed(b"working 10%"), "working 10%");
        assert_eq!(cleaner.feed("…é".as_bytes().split_last().unwrap().1), "…");
        assert_eq!(cleaner.feed(b"\xa9\r"), "é");
        assert_eq!(cleaner.feed(b"20%"), "\n20%");
        assert_eq!(cleaner.feed(b"\xff\x1b"), "\u{fffd}");
        assert_eq!(cleaner.finish(), "");
    }

    #[test]
    fn endless_lines_and_sequences_are_bounded() {
        let mut cleaner = Cleaner { limit: 10, ..Cleaner::coloured() };
        let mut out = cleaner.feed(&b"x".repeat(1000));
        for _ in 0..100 {
            out.push_str(&cleaner.feed("é\u{1b}[31m".as_bytes()));
        }
        out.push_str(&cleaner.feed(b"\nnext"));
        assert_eq!(out, format!("{}\u{1b}[0m […1190 bytes]\nnext", "x".repeat(10)));
        for opening in ["\u{1b}]0;", "\u{1b}[", "\u{1b}P"] {
            let mut cleaner = Cleaner::coloured();
            let mut out = cleaner.feed(opening.as_bytes());
            (0..1000).for_each(|_| out.push_str(&cleaner.feed(&b"1;".repeat(1000))));
            assert!(out.is_empty() && cleaner.sequence.len() <= MAX_COLOUR && cleaner.partial.is_empty());
        }
    }
}
