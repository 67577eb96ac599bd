//! Finds a secret in a stream of bytes, as it is or in one of the usual encodings, also where it lies across pieces.
//!
//! Encodings: plain, base64 in its three alignments and both alphabets, percent-encoded, JSON-escaped.
//!
//! Invariants: the scanner keeps less than one needle of what has passed; bytes that may be the beginning of a needle
//! are reported as to be held back, apart from [`PUBLIC`] of them, which say no more than the key's public prefix.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem::Finder;

/// Shorter secrets are words that answers hold for other reasons.
const MIN_SECRET: usize = 8;
/// A shorter text of letters of one case is a word, such as the `placeholder` that local servers take for a key.
const MIN_WORD: usize = 20;
/// Bytes of a needle that may pass before it is known whether the rest follows.
const PUBLIC: usize = 3;

/// What is looked for: every form of one secret.
pub struct Needles {
    forms: Vec<Form>,
    longest: usize,
}

struct Form {
    whole: Finder<'static>,
    /// The first bytes that are not let through.
    head: Finder<'static>,
}

impl Needles {
    /// The forms of `secret`; `None` for a text that is too common to be looked for.
    pub fn of(secret: &str) -> Option<Self> {
        is_telling(secret).then(|| {
            let forms: Vec<Form> = encodings(secret).iter().map(|needle| Form::of(needle)).collect();
            let longest = forms.iter().map(|form| form.whole.needle().len()).max().unwrap_or(0);
            Self { forms, longest }
        })
    }

    /// Where the first needle in `text` begins.
    pub fn find(&self, text: &[u8]) -> Option<usize> {
        self.forms.iter().filter_map(|form| form.whole.find(text)).min()
    }

    /// How many bytes at the end of `text` may be the beginning of a needle.
    fn begun(&self, text: &[u8]) -> usize {
        self.forms.iter().map(|form| form.begun(text)).max().unwrap_or(0)
    }
}

impl Form {
    fn of(needle: &[u8]) -> Self {
        Self { whole: Finder::new(needle).into_owned(), head: Finder::new(&needle[..=PUBLIC]).into_owned() }
    }

    fn begun(&self, text: &[u8]) -> usize {
        let needle = self.whole.needle();
        let tail = &text[text.len().saturating_sub(needle.len() - 1)..];
        let starts = self.head.find_iter(tail).map(|at| &tail[at..]);
        starts.into_iter().find(|rest| needle.starts_with(rest)).map_or(0, <[u8]>::len)
    }
}

fn is_telling(secret: &str) -> bool {
    let is_word = secret.bytes().all(|b| b.is_ascii_lowercase()) || secret.bytes().all(|b| b.is_ascii_uppercase());
    secret.len() >= if is_word { MIN_WORD } else { MIN_SECRET }
}

fn encodings(secret: &str) -> Vec<Vec<u8>> {
    let plain = secret.as_bytes();
    let mut out = vec![plain.to_vec()];
    for before in 0..3 {
        let padded = [&[0; 3][..before], plain].concat();
        // Only the characters that depend on nothing but the secret.
        let (from, to) = ((8 * before).div_ceil(6), 8 * (before + plain.len()) / 6);
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            out.push(engine.encode(&padded).as_bytes()[from..to].to_vec());
        }
    }
    let escaped = serde_json::Value::from(secret).to_string();
    let escaped = &escaped[1..escaped.len() - 1];
    let percent = percent_encoded(secret);
    let forms = [escaped.to_owned(), escaped.replace('/', "\\/"), lower_escapes(&percent), percent];
    out.extend(forms.map(String::into_bytes));
    out.sort_unstable();
    out.dedup();
    out
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// The same text with its percent escapes in lower case.
fn lower_escapes(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at(2);
        out = out + "%" + &digits.to_ascii_lowercase() + rest;
    }
    out
}

/// What a piece of the stream shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// No needle ends here; so many of the last bytes may be the beginning of one.
    Clear {
        /// Bytes to hold back, counted from the end of the stream; the first of them may have passed already.
        hold: usize,
    },
    /// A needle begins so many bytes before (negative) or after the start of the piece.
    Found {
        /// Position of its first byte.
        at: isize,
    },
}

/// Looks at one stream.
#[derive(Default)]
pub struct Scanner {
    tail: Vec<u8>,
}

impl Scanner {
    /// Looks at the next piece.
    pub fn look(&mut self, needles: &Needles, piece: &[u8]) -> Sight {
        let reach = needles.longest - 1;
        let before = self.tail.len();
        self.tail.extend_from_slice(&piece[..piece.len().min(reach)]);
        let found = needles.find(&self.tail).map(|at| at as isize - before as isize);
        let found = found.or_else(|| needles.find(piece).filter(|_| piece.len() > reach).map(|at| at as isize));
        if let Some(at) = found {
            return Sight::Found { at };
        }
        if piece.len() > reach {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - reach..]);
        } else {
            self.tail.drain(..self.tail.len().saturating_sub(reach));
        }
        Sight::Clear { hold: needles.begun(&self.tail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk-ant/api03+key_1?%&\"x";

    /// Every way in which a careless server may say it, with everything around it.
    fn spoken(secret: &str) -> Vec<String> {
        let json = serde_json::json!({"error": format!("bad key {secret}!")}).to_string();
        let mut out = vec![format!("<{secret}>"), json.clone(), json.replace('/', "\\/")];
        for before in ["", "a", "ab", "abc", "user:"] {
            for after in ["", "z", "zz", ":x\n"] {
                let text = format!("{before}{secret}{after}");
                out.extend([&STANDARD_NO_PAD, &URL_SAFE_NO_PAD].map(|engine| engine.encode(&text)));
            }
        }
        let percent = percent_encoded(secret);
        out.extend([format!("k={}&", lower_escapes(&percent)), format!("k={percent}&")]);
        out
    }

    // holds: credential-never-returns
    #[test]
    fn secret_is_found_in_every_encoding_and_at_every_cut() {
        for secret in [SECRET, "ghp_0123456789abcdefABCDEF0123456789abcd", &"long-token.".repeat(200)] {
            let needles = Needles::of(secret).unwrap();
            for text in spoken(secret) {
                let text = format!("{:>9}{text}{:>9}", "", "");
                let bytes = text.as_bytes();
                assert!(needles.find(bytes).is_some(), "{text}");
                let cuts = if text.len() < 300 { 1..text.len() } else { text.len() / 2..text.len() / 2 + 1 };
                for cut in cuts {
                    let (found, passed) = scan(&needles, [&bytes[..cut], &bytes[cut..]]);
                    assert!(found, "{text} cut at {cut}");
                    let shown = passed.strip_prefix("         ".as_bytes()).unwrap();
                    let known = needles.forms.iter().any(|form| {
                        let needle = form.whole.needle();
                        (PUBLIC + 1..needle.len()).any(|size| shown.ends_with(&needle[..size]))
                    });
                    assert!(!known, "{text} cut at {cut} lets {shown:?} pass");
                }
            }
        }
    }

    /// Passes pieces on as a relay does; whether a needle was found, and what had passed by then.
    fn scan<'a>(needles: &Needles, pieces: impl IntoIterator<Item = &'a [u8]>) -> (bool, Vec<u8>) {
        let (mut scanner, mut passed, mut held) = (Scanner::default(), Vec::new(), Vec::new());
        for piece in pieces {
            let before = held.len() as isize;
            held.extend_from_slice(piece);
            match scanner.look(needles, piece) {
                Sight::Clear { hold } => passed.extend(held.drain(..held.len().saturating_sub(hold))),
                Sight::Found { at } => {
                    held.truncate((before + at).max(0) as usize);
                    passed.extend(held);
                    return (true, passed);
                }
            }
        }
        (false, passed)
    }

    #[test]
    fn pieces_of_one_byte_are_scanned_and_passed_whole() {
        let needles = Needles::of(SECRET).unwrap();
        let near = format!("a sk-ant/api03 sk-ant/api03+key_1?%& sk- {}", &SECRET[1..]);
        let (found, passed) = scan(&needles, near.as_bytes().chunks(1).chain([&b" "[..]]));
        assert!(!found && passed == format!("{near} ").as_bytes());
        let (found, passed) = scan(&needles, format!("x{SECRET}").as_bytes().chunks(1));
        assert!(found && passed == b"xsk-");
    }

    #[test]
    fn common_words_are_not_looked_for() {
        for word in ["", "EMPTY", "sk-1", "placeholder", "CHANGEME", "password"] {
            assert!(Needles::of(word).is_none(), "{word}");
        }
        for secret in ["real-key", "abcdefghijklmnopqrstuvwxyz", "Passw0rd", "12345678"] {
            assert!(Needles::of(secret).is_some(), "{secret}");
        }
    }

    #[test]
    fn plain_key_has_few_forms() {
        assert_eq!(encodings("ghp_0123456789abcdefABCDEF0123456789abcd").len(), 4);
    }
}
