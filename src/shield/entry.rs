//! Entries of profiles and verdicts: a name, an address, a network, or the symbol of a package manager.
//!
//! Every entry is typed before it goes anywhere. Scope identifiers, control characters and spaces are refused.

use std::net::IpAddr;

use terok_nft::Range;

use crate::fault::ShieldError;
use crate::name::Name;
use crate::symbol::Symbol;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A name with its subdomains.
    Name(Name),
    /// An address or network.
    Range(Range),
    /// The hosts of a package manager.
    Symbol(Symbol),
}

impl Entry {
    /// Parses an entry.
    ///
    /// # Errors
    /// [`ShieldError::Entry`] with the reason.
    pub fn parse(text: &str) -> Result<Self, ShieldError> {
        let bad = |why: String| ShieldError::Entry { text: base::text::sanitize_tty(text), why };
        if let Some(symbol) = text.strip_prefix('@') {
            return Symbol::parse(symbol).map(Self::Symbol).ok_or_else(|| bad("there is no such symbol".into()));
        }
        if let Some(range) = parse_range(text) {
            return Ok(Self::Range(range));
        }
        if text.contains(['/', ':']) {
            return Err(bad("it is neither an address, a network nor a name".into()));
        }
        Name::parse_entry(text).map(Self::Name).map_err(|why| bad(why.to_string()))
    }
}

/// An address, or a network with its prefix length; host bits are cut.
pub fn parse_range(text: &str) -> Option<Range> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) if bits.bytes().all(|b| b.is_ascii_digit()) => (address, Some(bits.parse().ok()?)),
        Some(_) => return None,
        None => (text, None),
    };
    // The standard parser refuses scope identifiers, leading zeros and surrounding space.
    let address: IpAddr = address.parse().ok()?;
    match bits {
        Some(bits) => Range::prefix(address, bits),
        None => Some(Range::single(address)),
    }
}

/// The entries of a text with one per line; empty lines and `#` lines are left out, malformed ones returned apart.
pub fn parse_lines(text: &str) -> (Vec<Entry>, Vec<ShieldError>) {
    let mut entries = Vec::new();
    let mut errors = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match Entry::parse(line) {
            Ok(entry) if entries.contains(&entry) => {}
            Ok(entry) => entries.push(entry),
            Err(error) => errors.push(error),
        }
    }
    (entries, errors)
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Range(range) => range.fmt(f),
            Self::Symbol(symbol) => write!(f, "@{}", symbol.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_is_canonical() {
        for (text, expected) in [
            ("10.0.0.5/8", "10.0.0.0/8"),
            ("2001:0DB8::0001", "2001:db8::1"),
            ("*.Example.COM", "example.com"),
            ("@pypi", "@pypi"),
            ("1.2.3.4", "1.2.3.4"),
            ("::ffff:1.2.3.4/128", "::ffff:1.2.3.4"),
        ] {
            assert_eq!(Entry::parse(text).unwrap().to_string(), expected);
        }
    }

    // holds: firewall-typed-entries
    #[test]
    fn entry_is_refused_when_it_could_mean_something_else() {
        for text in [
            "::1%x }\nadd rule",
            "fe80::1%eth0",
            "1.1.1.1\n",
            " 1.1.1.1",
            "0.0.0.0/33",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "1.2.3",
            "01.2.3.4",
            "a.com; drop",
            "@nothing",
            "@",
            "a.com/8",
            "http://a.com",
            "a.com:443",
            "-",
            "--all",
        ] {
            assert!(Entry::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lines_keep_their_order_and_report_what_is_malformed() {
        let (entries, errors) = parse_lines("# c\n\n b.com \na.com\nb.com\nnot valid\n");
        assert_eq!(entries.iter().map(ToString::to_string).collect::<Vec<_>>(), ["b.com", "a.com"]);
        assert_eq!(errors.len(), 1);
    }
}
