//! Domain names: entries of a policy, and the names that a container asks for.
//!
//! Everything is lower case, without a final dot, and at most 253 characters of letters, digits, hyphens and underscores.
//! Internationalised names are written in their ASCII form (`xn--…`).

use std::fmt;

/// The longest name.
pub const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A name with two labels or more whose last label is not a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing is left.
    #[error("it is empty")]
    Empty,
    /// It is longer than any name.
    #[error("it has more than 253 characters, or a part of more than 63")]
    Long,
    /// It has a character that no host name has.
    #[error("it has a character other than letters, digits, `-` and `_`; write international names as `xn--…`")]
    Character,
    /// A part starts or ends with a hyphen, or is empty.
    #[error("one of its parts is empty or starts or ends with a hyphen")]
    Label,
    /// It has no dot.
    #[error("it has only one part")]
    Single,
    /// Its last part is no top-level domain.
    #[error("its last part is not a top-level domain")]
    TopLevel,
}

impl Name {
    /// Parses a name, with or without a final dot.
    ///
    /// # Errors
    /// [`BadName`].
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(BadName::Empty);
        }
        if text.len() > MAX_NAME || text.split('.').any(|label| label.len() > MAX_LABEL) {
            return Err(BadName::Long);
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(BadName::Character);
        }
        if text.split('.').any(|label| label.is_empty() || label.starts_with('-') || label.ends_with('-')) {
            return Err(BadName::Label);
        }
        let (_, last) = text.rsplit_once('.').ok_or(BadName::Single)?;
        let lettered = last.len() >= 2 && last.bytes().all(|byte| byte.is_ascii_alphabetic());
        if !lettered && !last.to_ascii_lowercase().starts_with("xn--") {
            return Err(BadName::TopLevel);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// Parses an entry of a policy, in which a leading `*.` says what is true anyway: it covers its subdomains.
    ///
    /// # Errors
    /// [`BadName`].
    pub fn parse_entry(text: &str) -> Result<Self, BadName> {
        Self::parse(text.strip_prefix("*.").unwrap_or(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when `other` is this name or below it.
    pub fn covers(&self, other: &Self) -> bool {
        let head = other.0.strip_suffix(&self.0);
        head.is_some_and(|head| head.is_empty() || head.ends_with('.'))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_lower_case_without_a_final_dot() {
        for (text, expected) in [
            ("GitHub.com.", "github.com"),
            ("_dmarc.a_b.example.org", "_dmarc.a_b.example.org"),
            ("xn--bcher-kva.xn--p1ai", "xn--bcher-kva.xn--p1ai"),
            ("a.b", ""),
        ] {
            assert_eq!(Name::parse(text).map_or(String::new(), |name| name.to_string()), expected, "{text}");
        }
        assert_eq!(Name::parse_entry("*.example.com").unwrap().as_str(), "example.com");
    }

    #[test]
    fn name_is_refused_when_it_is_no_host_name() {
        for (text, why) in [
            ("", BadName::Empty),
            (".", BadName::Empty),
            ("localhost", BadName::Single),
            ("1.2.3.4", BadName::TopLevel),
            ("a..com", BadName::Label),
            ("-a.com", BadName::Label),
            ("bücher.example", BadName::Character),
            ("a b.com", BadName::Character),
            ("a.com\n", BadName::Character),
            ("a\0.com", BadName::Character),
            ("*.com.example", BadName::Character),
            ("[::1]", BadName::Character),
        ] {
            assert_eq!(Name::parse(text), Err(why), "{text}");
        }
        assert_eq!(Name::parse(&format!("{}.com", "a".repeat(64))), Err(BadName::Long));
        assert_eq!(Name::parse(&"a.".repeat(140)), Err(BadName::Long));
    }

    #[test]
    fn name_covers_itself_and_its_subdomains_only() {
        let name = |text| Name::parse(text).unwrap();
        let entry = name("example.com");
        assert!(entry.covers(&name("example.com")) && entry.covers(&name("a.b.example.com")));
        assert!(!entry.covers(&name("badexample.com")) && !entry.covers(&name("example.com.evil.org")));
        assert!(!name("a.example.com").covers(&entry));
    }
}
