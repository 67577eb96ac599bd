//! Names of references that a container may push: branches and tags, in git's own rules and some of ours.
//!
//! Ours: no part that begins with `-` (commands of people on the host would take it for an option), and none that looks
//! like an object id (a name that can be taken for a commit, and the last part of the names of kept tips).

/// Longest name; a part of it becomes the name of a file.
const LONGEST: usize = 400;
const LONGEST_PART: usize = 200;

/// `Err` with the rule that `name` breaks.
pub fn check(name: &[u8]) -> Result<&str, &'static str> {
    const OUTSIDE: &str = "only refs/heads/ and refs/tags/ can be pushed to the gate";
    let name = std::str::from_utf8(name).map_err(|_| "the name is not UTF-8")?;
    let short = ["refs/heads/", "refs/tags/"].iter().find_map(|prefix| name.strip_prefix(prefix)).ok_or(OUTSIDE)?;
    if name.len() > LONGEST {
        return Err("the name is too long");
    }
    if short == "HEAD" {
        return Err("the name is reserved");
    }
    // Line breaks, terminal sequences and signs that turn the direction of text.
    if base::text::sanitize_tty(name) != name {
        return Err("the name has signs that cannot be shown");
    }
    if name.contains("..") || name.contains("@{") || short.split('/').any(|part| !is_part(part)) {
        return Err("the name is not allowed");
    }
    match short.split('/').any(is_object_id) {
        true => Err("the name looks like an object id"),
        false => Ok(name),
    }
}

fn is_part(part: &str) -> bool {
    let forbidden = |c: char| matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    !part.is_empty()
        && part.len() <= LONGEST_PART
        && !part.starts_with(['.', '-'])
        && !part.ends_with('.')
        && !part.ends_with(".lock")
        && part != "@"
        && !part.contains(forbidden)
}

/// True for the hexadecimal forms of SHA-1 and SHA-256 ids.
pub fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}
