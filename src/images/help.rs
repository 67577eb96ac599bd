//! The lines a container's help shows about what is installed in it.
//!
//! A section without lines has no file. Labels may carry backslash escapes; everything else in them stays as it is.

use crate::selection::{Catalog, Section};

/// File name and content of each section that has lines, in selection order.
pub fn fragments(catalog: &Catalog, agents: &[String]) -> Vec<(&'static str, String)> {
    [(Section::Agent, "agents.txt"), (Section::DevTool, "dev-tools.txt")]
        .into_iter()
        .filter_map(|(section, file)| {
            let text = lines(catalog, agents, section);
            (!text.is_empty()).then_some((file, text))
        })
        .collect()
}

fn lines(catalog: &Catalog, agents: &[String], section: Section) -> String {
    agents
        .iter()
        .filter_map(|name| catalog.get(name))
        .filter(|entry| entry.help_section == section && !entry.help_label.trim().is_empty())
        .map(|entry| unescape(&entry.help_label) + "\n")
        .collect()
}

/// Replaces `\ooo`, `\xHH`, `\uHHHH` and the usual letters; an unknown escape is kept.
pub fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (plain, used) = escape(&rest[at + 1..]);
        match plain {
            Some(c) => out.push(c),
            None => out.push_str(&rest[at..at + 1 + used]),
        }
        rest = &rest[at + 1 + used..];
    }
    out + rest
}

/// The character an escape stands for and its length after the backslash.
fn escape(text: &str) -> (Option<char>, usize) {
    let Some(first) = text.chars().next() else {
        return (None, 0);
    };
    let plain = match first {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'a' => '\u{7}',
        'v' => '\u{b}',
        '\\' | '\'' | '"' => first,
        '0'..='7' => return number(text, 0, 3, 8),
        'x' => return number(text, 1, 2, 16),
        'u' => return number(text, 1, 4, 16),
        other => return (None, other.len_utf8()),
    };
    (Some(plain), 1)
}

/// A number of at most `most` digits after `skip` characters; hexadecimal ones need all their digits.
fn number(text: &str, skip: usize, most: usize, radix: u32) -> (Option<char>, usize) {
    let digits: String = text[skip..].chars().take(most).take_while(|c| c.is_digit(radix)).collect();
    if digits.is_empty() || (radix == 16 && digits.len() < most) {
        return (None, 1);
    }
    let value = u32::from_str_radix(&digits, radix).ok().and_then(char::from_u32);
    (value, skip + digits.len())
}
