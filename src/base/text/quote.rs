//! Quotes values for a shell: for scripts that we run, and for commands that we print and a user pastes.
//!
//! Invariants: a quoted value is one word to the shell, whatever its bytes; a printed command contains no control or
//! format character, so the command that is read is the command that runs.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Quotes one word for a POSIX shell; a NUL, which no shell word can hold, is dropped.
pub fn shell_quote(word: &str) -> String {
    let clean = word.replace('\0', "");
    if !clean.is_empty() && clean.bytes().all(is_plain) {
        return clean;
    }
    format!("'{}'", clean.replace('\'', "'\"'\"'"))
}

/// Quotes every word and joins them with single spaces.
pub fn shell_join<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(|w| shell_quote(w.as_ref())).collect::<Vec<_>>().join(" ")
}

/// Returns a command for a message, ready to be pasted into a shell.
///
/// Words are bytes, as paths and reference names are. A word that is not UTF-8 or that contains characters which a
/// terminal acts on or hides is written as `$'…'`, which bash, zsh and ksh read.
pub fn command_line<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> String {
    words.into_iter().map(|word| printed_word(word.as_ref().as_bytes())).collect::<Vec<_>>().join(" ")
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(&byte)
}

fn printed_word(word: &[u8]) -> String {
    match std::str::from_utf8(word) {
        Ok(text) if !text.chars().any(super::is_category_c) => shell_quote(text),
        _ => escaped_word(word),
    }
}

fn escaped_word(word: &[u8]) -> String {
    let mut out = String::from("$'");
    let text = String::from_utf8_lossy(word);
    if text.as_bytes() == word {
        for c in text.chars().filter(|c| *c != '\0') {
            match super::is_category_c(c) {
                true => c.to_string().bytes().for_each(|byte| out.push_str(&format!("\\x{byte:02x}"))),
                false => push_escaped(&mut out, c),
            }
        }
    } else {
        for byte in word.iter().filter(|byte| **byte != 0) {
            match byte {
                b' '..=b'~' => push_escaped(&mut out, char::from(*byte)),
                _ => out.push_str(&format!("\\x{byte:02x}")),
            }
        }
    }
    out.push('\'');
    out
}

fn push_escaped(out: &mut String, c: char) {
    if matches!(c, '\'' | '\\') {
        out.push('\\');
    }
    out.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Run;

    const HOSTILE: &[&[u8]] = &[
        b"",
        b"x y",
        b"it's",
        b"x;touch${IFS}/tmp/never;#",
        b"$(id)`id`",
        b"a\nb\tc",
        b"\x1b]52;c;AAAA\x07",
        "ab\u{202e}cd \u{200b}\u{e000} é'\\".as_bytes(),
        b"\xff\xfe '\\ $x",
        b"-n",
        b"!!",
        b"~root *? [a] {a,b} # x",
    ];

    // holds: printed-commands-paste
    #[test]
    fn command_line_survives_a_shell_when_words_are_hostile() {
        let printed = command_line(
            ["printf", "%s\\0"].map(OsStr::new).into_iter().chain(HOSTILE.iter().map(|w| OsStr::from_bytes(w))),
        );
        assert!(!printed.chars().any(crate::text::is_category_c), "{printed}");
        let seen = Run::new(["bash", "-c", &printed]).output().unwrap();
        let words: Vec<&[u8]> = seen.stdout.split(|byte| *byte == 0).collect();
        assert_eq!(&words[..HOSTILE.len()], HOSTILE);
    }

    #[test]
    fn shell_quote_leaves_plain_words_and_quotes_others() {
        assert_eq!(shell_quote("a b"), "'a b'");
        assert_eq!(shell_quote("it's"), "'it'\"'\"'s'");
        assert_eq!(shell_quote(""), "''");
        assert_eq!(shell_join(&["podman", "-e", "A=1", "x;y"]), "podman -e A=1 'x;y'");
        assert_eq!(command_line(["git", "fetch", "a b", "c\u{1b}'"]), "git fetch 'a b' $'c\\x1b\\''");
    }
}
