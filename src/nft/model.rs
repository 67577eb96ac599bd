//! The typed rule language: one `inet` table of base chains, address sets and quotas.
//!
//! A [`Table`] says what is meant; [`crate::image::Image`] is the same as the kernel holds it, and the only thing that
//! is sent, compared and interpreted. Set elements are disjoint, sorted ranges, so that equal sets have equal images.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::expression::Rejection;
use crate::range::Range;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The loopback address.
    pub fn loopback(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::LOCALHOST.into(),
            Self::V6 => Ipv6Addr::LOCALHOST.into(),
        }
    }

    /// `v4` or `v6`, as set names end.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }
}

/// A protocol above IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMPv6.
    Icmp6,
}

impl Protocol {
    /// The number in an IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmp6 => 58,
        }
    }

    /// The name in nft's language.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp6 => "icmpv6",
        }
    }
}

/// Which states of a connection match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// The first packet.
    New,
    /// Any packet of a known connection, or an error about one.
    Known,
}

impl State {
    /// The kernel's bits: established 2, related 4, new 8.
    pub fn bits(self) -> u32 {
        match self {
            Self::New => 8,
            Self::Known => 2 | 4,
        }
    }
}

/// One condition or action of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Term {
    /// The packet leaves through the loopback interface.
    OutputLoopback,
    /// The packet came through the loopback interface.
    InputLoopback,
    /// The packet is of one family.
    Family(Family),
    /// The packet is of one protocol.
    Protocol(Protocol),
    /// The packet goes to one address.
    Destination(IpAddr),
    /// The packet goes to an address of the set.
    DestinationIn(Family, String),
    /// The packet goes to one TCP or UDP port; follows [`Term::Protocol`].
    DestinationPort(u16),
    /// The packet comes from one TCP or UDP port; follows [`Term::Protocol`].
    SourcePort(u16),
    /// The packet is an ICMPv6 message of a type between the two; follows [`Term::Protocol`].
    Icmp6Type(u8, u8),
    /// The packet has not passed a router: its IPv6 hop limit is this; follows [`Term::Family`].
    HopLimit(u8),
    /// The packet's connection is in such a state.
    State(State),
    /// The packet goes against the direction of its connection's first packet.
    Reply,
    /// At most so many packets per second go on, after `burst`.
    Limit {
        /// Packets per second.
        rate: u64,
        /// Packets above the rate that go on at once.
        burst: u32,
    },
    /// Goes on only when the quota that the map has for the destination is used up.
    QuotaSpent(Family, String),
    /// Goes on only when the quota is used up.
    NamedQuotaSpent(String),
    /// Sends the packet to the log group.
    Log {
        /// The group.
        group: u16,
        /// Text before the packet.
        prefix: String,
        /// Bytes of the packet.
        snaplen: u32,
    },
    /// Counts.
    Counter,
    /// Lets the packet pass.
    Accept,
    /// Discards the packet.
    Drop,
    /// Refuses the packet.
    Reject(Rejection),
    /// Sends the packet to a port of the local host.
    Redirect(u16),
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Its name, which the kernel keeps as comment.
    pub name: String,
    /// Conditions, then actions.
    pub terms: Vec<Term>,
}

/// Where a chain is hooked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Packets for local sockets, after decisions of the kernel's own.
    Input,
    /// Packets of local sockets.
    Output,
    /// Packets of local sockets, where their destination may change.
    Steer,
}

/// One base chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Its place.
    pub hook: Hook,
    /// True accepts what no rule decides, false drops it.
    pub accepts: bool,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// One element of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its addresses; a single one in a set that is not an interval set.
    pub range: Range,
    /// Text that the kernel keeps.
    pub comment: Option<String>,
    /// The quota, in a quota map.
    pub quota: Option<String>,
    /// How long it still lives, where that is less than the set's timeout.
    pub expires: Option<Duration>,
}

impl Element {
    /// A plain range.
    pub fn new(range: Range) -> Self {
        Self { range, comment: None, quota: None, expires: None }
    }

    /// A single address with a comment.
    pub fn named(address: IpAddr, comment: &str) -> Self {
        Self { comment: Some(comment.to_owned()), ..Self::new(Range::single(address)) }
    }
}

/// What a set is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    /// Ranges that stay.
    Interval,
    /// Single addresses that expire.
    Timed {
        /// After this long.
        timeout: Duration,
        /// The most elements.
        size: u32,
    },
    /// Ranges that each have a quota.
    QuotaMap,
}

/// One set of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// The family of its addresses.
    pub family: Family,
    /// What it is for.
    pub kind: SetKind,
    /// Its elements, sorted and disjoint.
    pub elements: Vec<Element>,
}

/// A number of bytes that may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// Its name.
    pub name: String,
    /// The bytes.
    pub bytes: u64,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Text that the kernel keeps, for the identity of the container.
    pub comment: String,
    /// Its quotas.
    pub quotas: Vec<Quota>,
    /// Its sets.
    pub sets: Vec<Set>,
    /// Its chains.
    pub chains: Vec<Chain>,
}
