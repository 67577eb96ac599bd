//! Text from outside made safe for a terminal, a log line, or a shell.

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

fn is_category_c(c: char) -> bool {
    matches!(get_general_category(c), G::Control | G::Format | G::Surrogate | G::PrivateUse | G::Unassigned)
}

/// Quotes one word for a POSIX shell; a NUL, which no shell word can hold, is dropped.
pub fn shell_quote(word: &str) -> String {
    let clean = word.replace('\0', "");
    if !clean.is_empty() && clean.bytes().all(|b| b.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(&b)) {
        return clean;
    }
    format!("'{}'", clean.replace('\'', "'\"'\"'"))
}

/// Quotes every word and joins them with single spaces.
pub fn shell_join<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(|w| shell_quote(w.as_ref())).collect::<Vec<_>>().join(" ")
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
    fn quoting() {
        assert_eq!(shell_quote("a b"), "'a b'");
        assert_eq!(shell_quote("it's"), "'it'\"'\"'s'");
        assert_eq!(shell_quote(""), "''");
        assert_eq!(shell_join(&["podman", "-e", "A=1", "x;y"]), "podman -e A=1 'x;y'");
    }

    #[test]
    fn userinfo() {
        assert_eq!(redact_userinfo("x http://t@h/r y"), "x http://<redacted>@h/r y");
        assert_eq!(redact_userinfo("https://u:p@h?q=a@b"), "https://<redacted>@h?q=a@b");
        assert_eq!(redact_userinfo("https://h/a@b git@h:r"), "https://h/a@b git@h:r");
        assert!(has_userinfo("ssh://git@h/r") && !has_userinfo("https://h/r"));
    }
}
