//! Identifiers: random ones, and the rules that names must obey before they become path components.
//!
//! Refuses every name that could leave the directory it is joined to.

/// Bytes from the kernel's generator, as lower-case hex; the result has `2 * bytes` characters.
pub fn random_hex(bytes: usize) -> String {
    hex::encode(random_bytes(bytes))
}

/// Bytes from the kernel's generator.
pub fn random_bytes(count: usize) -> Vec<u8> {
    let mut buffer = vec![0u8; count];
    getrandom::fill(&mut buffer).expect("the kernel's random generator answers");
    buffer
}

/// A fresh run identifier: 12 lower-case hex characters.
pub fn run_id() -> String {
    random_hex(6)
}

/// Longest container name we accept, in bytes: socket paths under the runtime directory must fit `sun_path`.
pub const CONTAINER_NAME_MAX: usize = 63;

/// A name that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unsafe {what} `{}`: {why}", crate::text::sanitize_tty(.name))]
pub struct BadName {
    /// What the name was meant for.
    pub what: &'static str,
    /// The refused name.
    pub name: String,
    /// The broken rule.
    pub why: &'static str,
}

impl crate::fault::Fault for BadName {
    fn code(&self) -> &'static str {
        "unsafe-name"
    }
    fn hint(&self) -> Option<String> {
        Some("choose a name of letters, digits, `_`, `.` and `-`, for example `fix-login-1`".into())
    }
    fn kind(&self) -> crate::fault::Kind {
        crate::fault::Kind::Value
    }
}

/// Checks podman's own rule for container names, and our length limit.
///
/// # Errors
/// [`BadName`] for an empty name, a first character outside `[A-Za-z0-9]`, any other outside `[A-Za-z0-9_.-]`, or more
/// than [`CONTAINER_NAME_MAX`] bytes.
pub fn check_container_name(name: &str) -> Result<(), BadName> {
    let refuse = |why| Err(BadName { what: "container name", name: name.to_owned(), why });
    let mut chars = name.chars();
    match chars.next() {
        None => return refuse("it is empty"),
        Some(first) if !first.is_ascii_alphanumeric() => {
            return refuse("it must begin with a letter or digit");
        }
        Some(_) => {}
    }
    if !chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')) {
        return refuse("only letters, digits, `_`, `.` and `-` are allowed");
    }
    if name.len() > CONTAINER_NAME_MAX {
        return refuse("it is longer than 63 characters");
    }
    Ok(())
}

/// Checks that `name` is one plain path component.
///
/// # Errors
/// [`BadName`] for an empty name, `.`, `..`, a separator, a backslash, or a NUL.
pub fn check_segment(what: &'static str, name: &str) -> Result<(), BadName> {
    let refuse = |why| Err(BadName { what, name: name.to_owned(), why });
    match name {
        "" => refuse("it is empty"),
        "." | ".." => refuse("it names a directory outside"),
        _ if name.contains(['/', '\\', '\0']) => refuse("it contains a path separator"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_are_hex_and_differ() {
        let (a, b) = (run_id(), run_id());
        assert_ne!(a, b);
        assert!(a.len() == 12 && a.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)));
    }

    #[test]
    fn container_names() {
        let longest = "n".repeat(CONTAINER_NAME_MAX);
        for good in ["a", "A-1_b.c", &longest] {
            assert_eq!(check_container_name(good), Ok(()), "{good}");
        }
        let too_long = "n".repeat(200);
        for bad in ["", ".", "..", "../x", "a/b", "a b", "-a", "_a", "a\n", "ä", "a\0", &too_long] {
            assert!(check_container_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn segments() {
        assert_eq!(check_segment("scope", "_x y"), Ok(()));
        for bad in ["", ".", "..", "a/b", "a\\b", "a\0b"] {
            assert!(check_segment("scope", bad).is_err(), "{bad:?}");
        }
        assert!(!check_segment("scope", "a/\u{1b}[2J").unwrap_err().to_string().contains('\u{1b}'));
    }
}
