//! Identifiers of tasks: how they look, how they are drawn, and how a person's text becomes one.
//!
//! An identifier has five characters: a letter that no hexadecimal number contains, a digit, and three of an alphabet
//! without i, l and o. Stored identifiers are never normalised; only what a person types is.

use std::path::Path;

use crate::fault::TaskError;

/// What an identifier can begin with.
pub const HEADS: &str = "ghjkmnpqrstvwxyz";
const TAILS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 5;

/// True for a well-formed identifier.
pub fn is_id(text: &str) -> bool {
    text.len() == LENGTH && is_prefix(text)
}

/// True for a well-formed beginning of an identifier, one to five characters.
fn is_prefix(text: &str) -> bool {
    let fits = |(place, byte): (usize, u8)| match place {
        0 => HEADS.as_bytes().contains(&byte),
        1 => byte.is_ascii_digit(),
        _ => TAILS.contains(&byte),
    };
    (1..=LENGTH).contains(&text.len()) && text.bytes().enumerate().all(fits)
}

/// What a person meant: without `-`, lower case, and the letters that look like digits replaced.
pub fn normalise(raw: &str) -> String {
    plain(raw).chars().map(digit_for).collect()
}

fn plain(raw: &str) -> String {
    raw.replace('-', "").to_lowercase()
}

fn digit_for(letter: char) -> char {
    match letter {
        'i' | 'l' => '1',
        'o' => '0',
        other => other,
    }
}

/// A random identifier of the kernel's generator; every one is as likely as any other.
pub fn draw() -> String {
    let mut bytes = [0u8; LENGTH];
    loop {
        getrandom::fill(&mut bytes).expect("the kernel's random generator answers");
        // Ten does not divide 256: the few bytes that would favour the small digits are drawn again.
        if bytes[1] < 250 {
            break;
        }
    }
    let tail = |byte: u8| TAILS[usize::from(byte) % TAILS.len()];
    let id = [
        HEADS.as_bytes()[usize::from(bytes[0]) % HEADS.len()],
        b'0' + bytes[1] % 10,
        tail(bytes[2]),
        tail(bytes[3]),
        tail(bytes[4]),
    ];
    id.iter().map(|byte| char::from(*byte)).collect()
}

/// The identifier of the one task that a person's text means.
///
/// # Errors
/// Of class usage, each naming what is wrong with the text or what else it could mean.
pub fn resolve(dir: &Path, project: &str, raw: &str) -> Result<String, TaskError> {
    if let Some(head @ ('i' | 'l' | 'o')) = plain(raw).chars().next() {
        return Err(TaskError::Head(head));
    }
    let prefix = normalise(raw);
    if !is_prefix(&prefix) {
        return Err(TaskError::Prefix(raw.to_owned()));
    }
    if !dir.is_dir() {
        return Err(TaskError::NoTasks(project.to_owned()));
    }
    let book = crate::Book::new(dir);
    if book.exists(&prefix)? {
        return Ok(prefix);
    }
    let mut found: Vec<String> = book.well_formed()?.into_iter().filter(|id| id.starts_with(&prefix)).collect();
    found.sort();
    match found.len() {
        0 => Err(TaskError::NoMatch { prefix, project: project.to_owned() }),
        1 => Ok(found.remove(0)),
        _ => Err(TaskError::Ambiguous { prefix, found }),
    }
}
