//! Text from outside made safe for a terminal, a log line, or a shell.
//!
//! Every byte that comes from a container, a repository or a provider passes one of these functions before it reaches a
//! terminal, a log or a command: [`sanitize_tty`] makes the odd characters of a short value visible, [`clean_line`] and
//! its siblings remove them from running text, [`command_line`] quotes values in a command.

mod clean;
mod lines;
mod quote;

pub use clean::{Cleaner, MAX_LINE, clean_block, clean_coloured, clean_label, clean_line};
pub use lines::{Lines, MAX_RECORD};
pub use quote::{command_line, shell_join, shell_quote};
use unicode_general_category::{GeneralCategory as G, get_general_category};

/// Replaces line breaks and tabs by spaces, and every other control or format character by `\xNN`.
pub fn sanitize_tty(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            _ if is_category_c(c) => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out
}

pub(crate) fn is_category_c(c: char) -> bool {
    matches!(get_general_category(c), G::Control | G::Format | G::Surrogate | G::PrivateUse | G::Unassigned)
}

/// Replaces the user information of every `scheme://user@host` in `text` by `<redacted>`.
pub fn redact_userinfo(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let after = at + 3;
        out.push_str(&rest[..after]);
        rest = &rest[after..];
        let authority =
            rest.find(|c: char| c == '/' || c == '?' || c == '#' || c.is_whitespace() || c == '\'' || c == '"');
        let end = authority.unwrap_or(rest.len());
        if let Some(mark) = rest[..end].rfind('@') {
            out.push_str("<redacted>");
            rest = &rest[mark..];
        }
    }
    out.push_str(rest);
    out
}

/// True when `text` carries user information inside a URL.
pub fn has_userinfo(text: &str) -> bool {
    redact_userinfo(text) != text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tty_text() {
        assert_eq!(sanitize_tty("a\nb\tc\u{1b}[0m\u{202e}é\u{7f}"), "a b c\\x1b[0m\\x202eé\\x7f");
    }

    #[test]
    fn userinfo() {
        assert_eq!(redact_userinfo("x http://t@h/r y"), "x http://<redacted>@h/r y");
        assert_eq!(redact_userinfo("https://u:p@h?q=a@b"), "https://<redacted>@h?q=a@b");
        assert_eq!(redact_userinfo("https://h/a@b git@h:r"), "https://h/a@b git@h:r");
        assert!(has_userinfo("ssh://git@h/r") && !has_userinfo("https://h/r"));
    }
}
