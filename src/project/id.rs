//! Which texts are project ids.
//!
//! An id becomes part of paths, container names, image names and vault scopes; nothing here looks at the disk. The
//! length is capped so that the name of every container of the project is one that podman and our sockets take.

use base::ident::CONTAINER_NAME_MAX;

use crate::ProjectError;

/// Longest id: `<id>-toad-<five characters>` is the longest name of a container.
pub const LONGEST: usize = CONTAINER_NAME_MAX - "-toad-12345".len();

/// Ids that no project may have: the credential set every project shares has this name.
const RESERVED: &[&str] = &["default"];

/// True for `[a-z0-9][a-z0-9_-]*` of any length.
pub fn is_shaped(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
}

/// True for a well-formed id of at most [`LONGEST`] characters.
pub fn is_valid(text: &str) -> bool {
    is_shaped(text) && text.len() <= LONGEST
}

/// Checks that a text can be part of a path and names a project that may exist.
///
/// # Errors
/// [`ProjectError::BadId`].
pub fn check_form(text: &str) -> Result<(), ProjectError> {
    let refuse = |why| Err(ProjectError::BadId { id: text.to_owned(), why });
    match text {
        "" => refuse("it is empty"),
        _ if !is_shaped(text) => {
            refuse("it must be lower-case letters, digits, `-` and `_`, with a letter or digit in front")
        }
        _ if text.len() > LONGEST => refuse("it is longer than 52 characters"),
        _ => Ok(()),
    }
}

/// As [`check_form`], and refuses reserved ids.
///
/// # Errors
/// [`ProjectError::BadId`].
pub fn check(text: &str) -> Result<(), ProjectError> {
    check_form(text)?;
    match RESERVED.contains(&text) {
        true => Err(ProjectError::BadId {
            id: text.to_owned(),
            why: "it is reserved for the credentials that all projects share",
        }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // improves: 30-7.4-length
    #[test]
    fn ids_follow_the_table() {
        let table = include_str!("../../tests/fixtures/project/ids.json");
        for case in serde_json::from_str::<Vec<serde_json::Value>>(table).unwrap() {
            let (id, valid, usable) = (case["id"].as_str().unwrap(), case["valid"] == true, case["usable"] == true);
            assert_eq!((is_valid(id), check(id).is_ok()), (valid, usable), "{id:?}");
            assert_eq!(check_form(id).is_ok(), valid, "{id:?}");
        }
        let longest = "x".repeat(LONGEST);
        assert!(LONGEST == 52 && check(&longest).is_ok() && check(&format!("{longest}x")).is_err());
        assert!(base::ident::check_container_name(&format!("{longest}-toad-k3abc")).is_ok());
    }

    #[test]
    fn refusals_show_no_control_characters() {
        assert!(!check("\u{1b}[2J").unwrap_err().to_string().contains('\u{1b}'));
    }
}
