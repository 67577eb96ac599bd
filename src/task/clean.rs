//! What came out of a container, made safe for a terminal: escape sequences, control characters and marks that turn
//! the direction of text are taken out.

use unicode_general_category::{GeneralCategory as G, get_general_category};

/// One line: line breaks and tabs become spaces.
pub fn line(text: &str) -> String {
    strip(text, |c| matches!(c, '\n' | '\t').then_some(' '), false)
}

/// Several lines: line breaks and tabs stay.
pub fn block(text: &str) -> String {
    strip(text, |c| matches!(c, '\n' | '\t').then_some(c), false)
}

/// Like [`block`], with the sequences that set colours.
pub fn coloured(text: &str) -> String {
    strip(text, |c| matches!(c, '\n' | '\t').then_some(c), true)
}

fn strip(text: &str, kept: impl Fn(char) -> Option<char>, colours: bool) -> String {
    let clean = |c: char| !matches!(c, '\u{20}'..='\u{7e}');
    if !text.contains(clean) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\u{1b}' | '\u{9b}' | '\u{9d}' | '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}' => {
                let length = sequence(rest);
                if colours && is_colour(&rest[..length]) {
                    out.push_str(&rest[..length]);
                }
                length
            }
            '\r' => {
                // Alone it would let a line overwrite itself.
                out.extend((!rest[1..].starts_with('\n')).then(|| kept('\n')).flatten());
                1
            }
            _ => {
                match kept(c) {
                    Some(shown) => out.push(shown),
                    None if is_safe(c) => out.push(c),
                    None => {}
                }
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    out
}

fn is_safe(c: char) -> bool {
    match get_general_category(c) {
        G::Control | G::Surrogate | G::LineSeparator | G::ParagraphSeparator => false,
        // Joiners are part of writing and of emoji; the rest of the class only hides or turns text.
        G::Format => matches!(c, '\u{200c}' | '\u{200d}'),
        _ => true,
    }
}

/// Length of the escape sequence that `text` begins with; one that does not end takes what is there of it.
fn sequence(text: &str) -> usize {
    let mut chars = text.char_indices();
    let introducer = match chars.next() {
        Some((_, '\u{1b}')) => chars.next().map_or('\0', |(_, c)| c),
        Some((_, '\u{9b}')) => '[',
        Some((_, '\u{9d}')) => ']',
        _ => 'P',
    };
    let after = |end: Option<(usize, char)>| end.map_or(text.len(), |(at, c)| at + c.len_utf8());
    match introducer {
        '\0' => text.len(),
        // Parameters, then one final character; anything else breaks it off.
        '[' => match chars.find(|(_, c)| !matches!(c, '\u{20}'..='\u{3f}')) {
            Some((at, '\u{40}'..='\u{7e}')) => at + 1,
            Some((at, _)) => at,
            None => text.len(),
        },
        // Texts for the terminal itself, up to their terminator or the end of the line.
        ']' | 'P' | 'X' | '^' | '_' => {
            let end = chars.find(|(_, c)| matches!(c, '\u{7}' | '\u{9c}' | '\u{1b}' | '\n'));
            match end {
                Some((at, '\n')) => at,
                Some((at, '\u{1b}')) if text[at + 1..].starts_with('\\') => at + 2,
                Some((at, '\u{1b}')) => at,
                other => after(other),
            }
        }
        // Intermediate characters, then one final one.
        '\u{20}'..='\u{2f}' => after(chars.find(|(_, c)| !matches!(c, '\u{20}'..='\u{2f}'))),
        c if c.is_control() => 1,
        c => 1 + c.len_utf8(),
    }
}

fn is_colour(sequence: &str) -> bool {
    sequence
        .strip_prefix("\u{1b}[")
        .and_then(|rest| rest.strip_suffix('m'))
        .is_some_and(|parameters| parameters.bytes().all(|b| b.is_ascii_digit() || matches!(b, b';' | b':')))
}
