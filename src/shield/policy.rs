//! The policy of one container: what its files say, typed, merged and ready to be asked.
//!
//! A denial beats every allowance. Only literal addresses open addresses; a name opens what it resolves to, and never
//! private space.

use std::net::IpAddr;

use terok_nft::{Family, Protocol, Range, merge};

use crate::name::Name;

/// Where an entry comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A profile.
    Profile,
    /// A decision while the container runs, or an earlier run of it.
    Live,
}

impl Origin {
    /// The word in explanations.
    pub fn word(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Live => "decision",
        }
    }
}

/// A name in a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameEntry {
    /// The name, which covers its subdomains.
    pub name: Name,
    /// Where it comes from.
    pub origin: Origin,
}

/// A network in a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeEntry {
    /// The addresses.
    pub range: Range,
    /// Where it comes from.
    pub origin: Origin,
}

/// A port of the host that the container may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServicePort {
    /// The address under which the container sees the host.
    pub address: IpAddr,
    /// The TCP port.
    pub port: u16,
}

/// What a policy says about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameVerdict<'a> {
    /// An entry denies it.
    Denied(&'a NameEntry),
    /// An entry allows it.
    Allowed(&'a NameEntry),
    /// No entry decides.
    Undecided,
}

/// The policy of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The container's id, 12 digits.
    pub container: String,
    /// Literal addresses that are open, for every protocol.
    pub allowed: Vec<RangeEntry>,
    /// Literal addresses that are closed.
    pub denied: Vec<RangeEntry>,
    /// Names that are open.
    pub allowed_names: Vec<NameEntry>,
    /// Names that are closed.
    pub denied_names: Vec<NameEntry>,
    /// Ports of the host that are open.
    pub services: Vec<ServicePort>,
    /// Ports of the container that the outside may connect to.
    pub published: Vec<(PublishedProtocol, u16)>,
    /// Bytes that may go to one direct destination; none for no limit.
    pub budget: Option<u64>,
}

/// The protocol of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PublishedProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl From<PublishedProtocol> for Protocol {
    fn from(protocol: PublishedProtocol) -> Self {
        match protocol {
            PublishedProtocol::Tcp => Self::Tcp,
            PublishedProtocol::Udp => Self::Udp,
        }
    }
}

impl Policy {
    /// The verdict on a name. The most specific entry is named; any denial decides.
    pub fn judge_name(&self, name: &Name) -> NameVerdict<'_> {
        if let Some(entry) = most_specific(&self.denied_names, name) {
            return NameVerdict::Denied(entry);
        }
        most_specific(&self.allowed_names, name).map_or(NameVerdict::Undecided, NameVerdict::Allowed)
    }

    /// The merged open ranges of a family.
    pub fn allowed_ranges(&self, family: Family) -> Vec<Range> {
        merged(&self.allowed, family)
    }

    /// The merged closed ranges of a family.
    pub fn denied_ranges(&self, family: Family) -> Vec<Range> {
        merged(&self.denied, family)
    }

    /// The entry that opens an address.
    pub fn allowed_entry(&self, address: IpAddr) -> Option<&RangeEntry> {
        self.allowed.iter().find(|entry| entry.range.contains(address))
    }

    /// The entry that closes an address.
    pub fn denied_entry(&self, address: IpAddr) -> Option<&RangeEntry> {
        self.denied.iter().find(|entry| entry.range.contains(address))
    }
}

fn most_specific<'a>(entries: &'a [NameEntry], name: &Name) -> Option<&'a NameEntry> {
    entries.iter().filter(|entry| entry.name.covers(name)).max_by_key(|entry| entry.name.as_str().len())
}

fn merged(entries: &[RangeEntry], family: Family) -> Vec<Range> {
    merge(entries.iter().map(|entry| entry.range).filter(|range| range.family() == family))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(names: &[&str]) -> Vec<NameEntry> {
        let entry = |name: &&str| NameEntry { name: Name::parse(name).unwrap(), origin: Origin::Live };
        names.iter().map(entry).collect()
    }

    // holds: firewall-deny-first
    #[test]
    fn denied_name_stays_denied_however_specific_an_allowance_is() {
        let policy = Policy {
            allowed_names: entries(&["example.com", "a.denied.test", "denied.test"]),
            denied_names: entries(&["bad.example.com", "denied.test"]),
            ..Policy::default()
        };
        let verdict = |text: &str| match policy.judge_name(&Name::parse(text).unwrap()) {
            NameVerdict::Denied(entry) => format!("denied by {}", entry.name),
            NameVerdict::Allowed(entry) => format!("allowed by {}", entry.name),
            NameVerdict::Undecided => "undecided".into(),
        };
        assert_eq!(verdict("www.example.com"), "allowed by example.com");
        assert_eq!(verdict("x.bad.example.com"), "denied by bad.example.com");
        assert_eq!(verdict("a.denied.test"), "denied by denied.test");
        assert_eq!(verdict("example.org"), "undecided");
        assert_eq!(verdict("notexample.com"), "undecided");
    }
}
