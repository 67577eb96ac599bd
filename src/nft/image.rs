//! A table as the kernel holds it: the form that is sent, dumped, compared and interpreted.

use std::net::IpAddr;
use std::time::Duration;

use crate::constant as k;
use crate::expression::{Comparison, Connection, Expression, Header, Meta};
use crate::model::{Chain, Element, Family, Hook, Protocol, Rule, Set, SetKind, Table, Term};
use crate::range::{Range, from_octets, octets};

/// Bytes of an interface's name in a packet's metadata.
const INTERFACE_NAME: usize = 16;
/// Types of the comments in user data of tables, rules and elements: all three are 0.
const COMMENT: u8 = 0;
/// The longest comment in bytes. The kernel takes somewhat more, nft reads no more than this.
pub const MAX_COMMENT: usize = 127;

/// A table in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    /// Address family of the table (`NFPROTO_*`).
    pub family: u8,
    /// Its name.
    pub name: String,
    /// Its flags.
    pub flags: u32,
    /// Its user data.
    pub userdata: Vec<u8>,
    /// Its quotas.
    pub quotas: Vec<QuotaImage>,
    /// Its sets.
    pub sets: Vec<SetImage>,
    /// Its chains.
    pub chains: Vec<ChainImage>,
    /// Objects that are not quotas, by name.
    pub foreign_objects: Vec<String>,
}

/// A quota in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaImage {
    /// Its name.
    pub name: String,
    /// The bytes that may pass.
    pub bytes: u64,
    /// Its flags.
    pub flags: u32,
    /// The bytes that have passed.
    pub consumed: u64,
}

/// A set in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetImage {
    /// Its name.
    pub name: String,
    /// Its flags.
    pub flags: u32,
    /// The type of its keys, in nft's numbers.
    pub key_type: u32,
    /// The bytes of a key.
    pub key_length: u32,
    /// The time that elements live, in milliseconds; 0 without a limit.
    pub timeout: u64,
    /// The most elements; 0 without a limit.
    pub size: u32,
    /// The kind of object that its elements refer to; 0 for none.
    pub object_type: u32,
    /// Its elements.
    pub elements: Vec<ElementImage>,
}

/// An element in the kernel. An interval is two elements: its start, and the address after its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ElementImage {
    /// The address.
    pub key: Vec<u8>,
    /// Its flags.
    pub flags: u32,
    /// A life time of its own, in milliseconds.
    pub timeout: Option<u64>,
    /// The rest of its life, in milliseconds.
    pub expires: Option<u64>,
    /// Its user data.
    pub userdata: Vec<u8>,
    /// The object that it refers to.
    pub object: Option<String>,
    /// True when it carries data that our sets do not have.
    pub foreign: bool,
}

/// A chain in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainImage {
    /// Its name.
    pub name: String,
    /// Its hook; none for a chain that only other chains call.
    pub base: Option<BaseImage>,
    /// Its rules.
    pub rules: Vec<RuleImage>,
}

/// What makes a chain a base chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// `filter` or `nat`.
    pub kind: String,
    /// The kernel's hook number.
    pub hook: u32,
    /// Its priority.
    pub priority: i32,
    /// 1 accepts, 0 drops what no rule decides.
    pub policy: u32,
}

/// A rule in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleImage {
    /// The kernel's number for it; 0 in an image that was not read from the kernel.
    pub handle: u64,
    /// Its steps.
    pub expressions: Vec<Expression>,
    /// Its user data.
    pub userdata: Vec<u8>,
}

impl Image {
    /// The image of a model.
    pub fn of(table: &Table) -> Self {
        let quota =
            |name: &str, bytes| QuotaImage { name: name.to_owned(), bytes, flags: k::QUOTA_FLAG_OVER, consumed: 0 };
        Self {
            family: k::FAMILY_INET,
            name: table.name.clone(),
            flags: 0,
            userdata: comment(&table.comment),
            quotas: table.quotas.iter().map(|q| quota(&q.name, q.bytes)).collect(),
            sets: table.sets.iter().map(SetImage::of).collect(),
            chains: table.chains.iter().map(ChainImage::of).collect(),
            foreign_objects: Vec::new(),
        }
    }

    /// The set of that name.
    pub fn set(&self, name: &str) -> Option<&SetImage> {
        self.sets.iter().find(|set| set.name == name)
    }

    /// The chain of that name.
    pub fn chain(&self, name: &str) -> Option<&ChainImage> {
        self.chains.iter().find(|chain| chain.name == name)
    }

    /// The table's comment.
    pub fn comment(&self) -> Option<String> {
        read_comment(&self.userdata)
    }
}

impl SetImage {
    fn of(set: &Set) -> Self {
        let (flags, timeout, size, object_type) = match set.kind {
            SetKind::Interval => (k::SET_FLAG_INTERVAL, 0, 0, 0),
            SetKind::Timed { timeout, size } => (k::SET_FLAG_TIMEOUT, millis(timeout), size, 0),
            SetKind::QuotaMap => (k::SET_FLAG_INTERVAL | k::SET_FLAG_OBJECT, 0, 0, k::OBJECT_QUOTA),
        };
        let (key_type, key_length) = match set.family {
            Family::V4 => (k::KEY_TYPE_IPV4, 4),
            Family::V6 => (k::KEY_TYPE_IPV6, 16),
        };
        let elements = set.elements.iter().flat_map(|element| ElementImage::of(element, set.kind)).collect();
        Self { name: set.name.clone(), flags, key_type, key_length, timeout, size, object_type, elements }
    }

    /// True when its elements come and go by themselves.
    pub fn is_dynamic(&self) -> bool {
        self.flags & k::SET_FLAG_TIMEOUT != 0
    }

    /// True when its elements are ranges.
    pub fn is_interval(&self) -> bool {
        self.flags & k::SET_FLAG_INTERVAL != 0
    }

    /// True when the set holds the address.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.element_of(key).is_some()
    }

    /// The element that holds the address: the element itself, or the start of its interval.
    pub fn element_of(&self, key: &[u8]) -> Option<&ElementImage> {
        if !self.is_interval() {
            return self.elements.iter().find(|element| element.key == key);
        }
        let before = self.elements.iter().filter(|element| element.key.as_slice() <= key);
        let nearest = before.max_by(|a, b| (&a.key, b.is_end()).cmp(&(&b.key, a.is_end())))?;
        (!nearest.is_end()).then_some(nearest)
    }

    /// The ranges of an interval set, or the addresses of another, in order.
    pub fn ranges(&self) -> Vec<(Range, &ElementImage)> {
        let mut sorted: Vec<&ElementImage> = self.elements.iter().collect();
        sorted.sort_by(|a, b| (&a.key, b.is_end()).cmp(&(&b.key, a.is_end())));
        let mut ranges = Vec::new();
        for (at, element) in sorted.iter().enumerate().filter(|(_, element)| !element.is_end()) {
            let Some(first) = element.address() else { continue };
            let range = match sorted.get(at + 1).and_then(|next| next.address()) {
                _ if !self.is_interval() => Some(Range::single(first)),
                Some(end) => Range::new(first, preceding(end)),
                None => Range::new(first, highest(Family::of(first))),
            };
            ranges.extend(range.map(|range| (range, *element)));
        }
        ranges
    }
}

impl ElementImage {
    /// The one or two kernel elements of a model's element.
    pub fn of(element: &Element, kind: SetKind) -> Vec<Self> {
        let start = Self {
            key: octets(element.range.first()),
            timeout: element.expires.map(millis),
            userdata: element.comment.as_deref().map(comment).unwrap_or_default(),
            object: element.quota.clone(),
            ..Self::default()
        };
        let following = element.range.following().filter(|_| !matches!(kind, SetKind::Timed { .. }));
        let end = following.map(|address| Self {
            key: octets(address),
            flags: k::ELEMENT_FLAG_INTERVAL_END,
            ..Self::default()
        });
        std::iter::once(start).chain(end).collect()
    }

    /// True for the address after an interval.
    pub fn is_end(&self) -> bool {
        self.flags & k::ELEMENT_FLAG_INTERVAL_END != 0
    }

    /// The address.
    pub fn address(&self) -> Option<IpAddr> {
        from_octets(&self.key)
    }

    /// The element's comment.
    pub fn comment(&self) -> Option<String> {
        read_comment(&self.userdata)
    }
}

impl ChainImage {
    fn of(chain: &Chain) -> Self {
        let (kind, hook, priority) = match chain.hook {
            Hook::Input => ("filter", k::HOOK_LOCAL_IN, 0),
            Hook::Output => ("filter", k::HOOK_LOCAL_OUT, 0),
            Hook::Steer => ("nat", k::HOOK_LOCAL_OUT, -100),
        };
        let policy = if chain.accepts { k::VERDICT_ACCEPT } else { k::VERDICT_DROP };
        let base = BaseImage { kind: kind.to_owned(), hook, priority, policy };
        Self { name: chain.name.clone(), base: Some(base), rules: chain.rules.iter().map(RuleImage::of).collect() }
    }
}

impl RuleImage {
    /// The image of one rule.
    pub fn of(rule: &Rule) -> Self {
        let expressions = rule.terms.iter().flat_map(expressions_of).collect();
        Self { handle: 0, expressions, userdata: comment(&rule.name) }
    }

    /// The rule's name.
    pub fn name(&self) -> Option<String> {
        read_comment(&self.userdata)
    }
}

fn expressions_of(term: &Term) -> Vec<Expression> {
    use Expression as E;
    let equal = |bytes: Vec<u8>| E::Compare(Comparison::Equal, bytes);
    let payload = |base, offset, length| E::Payload { base, offset, length };
    match term {
        Term::OutputLoopback => vec![E::Meta(Meta::OutputName), equal(loopback_name())],
        Term::InputLoopback => vec![E::Meta(Meta::InputName), equal(loopback_name())],
        Term::Family(family) => of_family(*family),
        Term::Protocol(protocol) => vec![E::Meta(Meta::Protocol), equal(vec![protocol.number()])],
        Term::Destination(address) => {
            let load = destination(Family::of(*address));
            [of_family(Family::of(*address)), vec![load, equal(octets(*address))]].concat()
        }
        Term::DestinationIn(family, set) => {
            let found = E::Lookup { set: set.clone(), inverted: false };
            [of_family(*family), vec![destination(*family), found]].concat()
        }
        Term::DestinationPort(port) => vec![payload(Header::Transport, 2, 2), equal(port.to_be_bytes().to_vec())],
        Term::SourcePort(port) => vec![payload(Header::Transport, 0, 2), equal(port.to_be_bytes().to_vec())],
        Term::Icmp6Type(first, last) => vec![
            payload(Header::Transport, 0, 1),
            E::Compare(Comparison::AtLeast, vec![*first]),
            // Loaded again, as nft does, so that nft can list it.
            payload(Header::Transport, 0, 1),
            E::Compare(Comparison::AtMost, vec![*last]),
        ],
        Term::HopLimit(limit) => vec![payload(Header::Network, 7, 1), equal(vec![*limit])],
        Term::State(state) => vec![
            E::Connection(Connection::State),
            E::Mask(state.bits().to_ne_bytes().to_vec()),
            E::Compare(Comparison::Unequal, vec![0; 4]),
        ],
        Term::Reply => vec![E::Connection(Connection::Direction), equal(vec![1])],
        Term::Limit { rate, burst } => vec![E::Limit { rate: *rate, burst: *burst }],
        Term::QuotaSpent(family, map) => {
            [of_family(*family), vec![destination(*family), E::Quota { map: map.clone() }]].concat()
        }
        Term::NamedQuotaSpent(name) => vec![E::NamedQuota(name.clone())],
        Term::Log { group, prefix, snaplen } => {
            vec![E::Log { group: *group, prefix: prefix.clone(), snaplen: *snaplen }]
        }
        Term::Counter => vec![E::Counter],
        Term::Accept => vec![E::Accept],
        Term::Drop => vec![E::Drop],
        Term::Reject(how) => vec![E::Reject(*how)],
        Term::Redirect(port) => vec![E::Load(port.to_be_bytes().to_vec()), E::Redirect],
    }
}

fn of_family(family: Family) -> Vec<Expression> {
    let number = if family == Family::V4 { k::FAMILY_IPV4 } else { k::FAMILY_IPV6 };
    vec![Expression::Meta(Meta::Family), Expression::Compare(Comparison::Equal, vec![number])]
}

fn destination(family: Family) -> Expression {
    let (offset, length) = if family == Family::V4 { (16, 4) } else { (24, 16) };
    Expression::Payload { base: Header::Network, offset, length }
}

/// The protocols that have ports.
pub const PORT_PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

fn loopback_name() -> Vec<u8> {
    let mut name = b"lo".to_vec();
    name.resize(INTERFACE_NAME, 0);
    name
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn preceding(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => std::net::Ipv4Addr::from(u32::from(v4).saturating_sub(1)).into(),
        IpAddr::V6(v6) => std::net::Ipv6Addr::from(u128::from(v6).saturating_sub(1)).into(),
    }
}

fn highest(family: Family) -> IpAddr {
    match family {
        Family::V4 => std::net::Ipv4Addr::BROADCAST.into(),
        Family::V6 => std::net::Ipv6Addr::from(u128::MAX).into(),
    }
}

/// User data with a comment, in the layout that nft reads; empty text is no user data.
pub fn comment(text: &str) -> Vec<u8> {
    let mut end = text.len().min(MAX_COMMENT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if end == 0 {
        return Vec::new();
    }
    let length = u8::try_from(end + 1).unwrap_or(u8::MAX);
    let mut bytes = vec![COMMENT, length];
    bytes.extend_from_slice(&text.as_bytes()[..end]);
    bytes.push(0);
    bytes
}

/// The comment in user data.
pub fn read_comment(userdata: &[u8]) -> Option<String> {
    let mut rest = userdata;
    while let [kind, length, tail @ ..] = rest {
        let value = tail.get(..usize::from(*length))?;
        if *kind == COMMENT {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return String::from_utf8(text.to_vec()).ok();
        }
        rest = &tail[usize::from(*length)..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comment_survives_a_round_trip_and_is_cut_at_a_character() {
        assert_eq!(read_comment(&comment("pypi.test")).as_deref(), Some("pypi.test"));
        let long = comment(&"é".repeat(200));
        assert!(long.len() <= MAX_COMMENT + 3 && read_comment(&long).unwrap().ends_with('é'));
        assert_eq!((read_comment(&[]), read_comment(&[0, 9, 1]), comment("")), (None, None, vec![]));
        assert_eq!(read_comment(&[5, 1, 7, 0, 2, b'x', 0]).as_deref(), Some("x"));
    }

    #[test]
    fn interval_set_holds_exactly_its_ranges() {
        let range = |a: &str, b: &str| Range::new(a.parse().unwrap(), b.parse().unwrap()).unwrap();
        let ranges = [range("10.0.0.0", "10.0.0.9"), range("255.255.255.0", "255.255.255.255")];
        let elements = ranges.iter().copied().map(Element::new).collect();
        let set = Set { name: "s".into(), family: Family::V4, kind: SetKind::Interval, elements };
        let image = SetImage::of(&set);
        assert_eq!(image.elements.len(), 3);
        let has = |text: &str| image.contains(&octets(text.parse().unwrap()));
        assert!(has("10.0.0.0") && has("10.0.0.9") && has("255.255.255.255"));
        assert!(!has("10.0.0.10") && !has("9.255.255.255") && !has("255.255.254.255"));
        assert_eq!(image.ranges().iter().map(|(range, _)| *range).collect::<Vec<_>>(), ranges);
    }
}
