//! A string that must not be seen: it is stored in locked memory ([`crate::locked`]) and wiped when dropped, and neither
//! `Debug` nor `Display` shows it.
//!
//! Refuses to be compared with `==`; [`Secret::matches`] takes the same time whatever the difference is.

use zeroize::Zeroizing;

use crate::locked::LockedBytes;

/// A credential, passphrase or token.
#[derive(Default)]
pub struct Secret(Memory);

enum Memory {
    Locked(LockedBytes),
    /// The empty string, and any other when the system has no pages.
    Heap(Zeroizing<String>),
}

impl Secret {
    /// Takes ownership of `text`, whose own memory is wiped.
    pub fn new(text: impl Into<String>) -> Self {
        let text = Zeroizing::new(text.into());
        let locked = LockedBytes::new(text.as_bytes());
        Self(locked.map_or_else(|| Memory::Heap(text), Memory::Locked))
    }

    /// The string itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        match &self.0 {
            Memory::Locked(bytes) => std::str::from_utf8(bytes.as_bytes()).expect("made of a string"),
            Memory::Heap(text) => text,
        }
    }

    /// True for the empty string, which is never a usable secret.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// Compares in time that depends on the lengths alone.
    pub fn matches(&self, other: &str) -> bool {
        let (ours, theirs) = (self.expose().as_bytes(), other.as_bytes());
        let mut difference = ours.len() ^ theirs.len();
        for (i, byte) in ours.iter().enumerate() {
            difference |= usize::from(byte ^ theirs.get(i).copied().unwrap_or(0));
        }
        difference == 0
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::Heap(Zeroizing::default())
    }
}

impl Clone for Secret {
    fn clone(&self) -> Self {
        match &self.0 {
            Memory::Locked(_) => Self::new(self.expose()),
            Memory::Heap(text) => Self(Memory::Heap(text.clone())),
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shows_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "<secret> <secret>");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn copies_are_independent() {
        let secret = Secret::new("hunter2");
        let copy = secret.clone();
        drop(secret);
        assert_eq!(copy.expose(), "hunter2");
        assert!(Secret::default().is_empty() && Secret::new("").clone().is_empty());
    }

    #[test]
    fn matches_only_the_same_text() {
        let secret = Secret::new("abc");
        assert!(secret.matches("abc"));
        for other in ["", "ab", "abd", "abcd", "abc\0"] {
            assert!(!secret.matches(other), "{other:?}");
        }
    }
}
