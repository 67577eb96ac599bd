//! Policies and packets for the tests: one policy in which every two sets overlap, random ones, and the packets that
//! tell their rules apart.
#![allow(dead_code)]

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use terok_nft::{Element, Image, Range};
use terok_shield_policy::interpret::{Trace, run};
use terok_shield_policy::packet::{Direction, Packet, Tracking, protocol};
use terok_shield_policy::ruleset::{Dynamic, build};
use terok_shield_policy::{Origin, Policy, PublishedProtocol, RangeEntry, ServicePort, ShieldState, parse_range};

pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

pub fn entry(text: &str) -> RangeEntry {
    RangeEntry { range: parse_range(text).unwrap(), origin: Origin::Live }
}

pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A policy whose sets overlap each other and private space, in both families.
pub fn overlapping(hold: bool) -> (Policy, Dynamic) {
    let policy = Policy {
        container: "0123456789ab".into(),
        allowed: ["198.51.100.0/24", "10.1.0.0/16", "127.0.0.1", "2001:db8:1::/48", "fd00:1::/64", "::1"]
            .map(entry)
            .into(),
        denied: ["198.51.100.128/25", "10.1.2.0/24", "203.0.113.9", "2001:db8:1:9::/64", "fd00:2::/64"]
            .map(entry)
            .into(),
        services: vec![
            ServicePort { address: address("10.0.2.2"), port: 8080 },
            ServicePort { address: address("fd00::2"), port: 8080 },
        ],
        published: vec![(PublishedProtocol::Tcp, 3000), (PublishedProtocol::Udp, 3001)],
        budget: Some(1 << 28),
        ..Policy::default()
    };
    let named = |texts: &[&str]| texts.iter().map(|text| Element::named(address(text), "a.test")).collect::<Vec<_>>();
    let learned = named(&[
        "203.0.113.7",
        "203.0.113.9",
        "198.51.100.7",
        "198.51.100.200",
        "10.9.9.9",
        "2001:db8:7::7",
        "2001:db8:1:9::1",
        "fd00:9::9",
        "2001:db8:1::7",
    ]);
    let refused = named(&[
        "203.0.113.20",
        "203.0.113.7",
        "198.51.100.8",
        "10.9.9.10",
        "2001:db8:7::20",
        "2001:db8:7::7",
        "fd00:9::10",
    ]);
    (policy, Dynamic { learned, refused, hold })
}

const V4: [&str; 16] = [
    "198.51.100.0/24",
    "198.51.100.7",
    "198.51.100.128/25",
    "203.0.113.0/24",
    "203.0.113.9",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.3",
    "192.168.0.0/16",
    "169.254.169.254",
    "127.0.0.1",
    "8.8.8.8",
    "198.18.0.5",
    "0.0.0.0/1",
    "224.0.0.1",
    "1.0.0.0/8",
];
const V6: [&str; 9] = [
    "2001:db8::/32",
    "2001:db8:1::/48",
    "2001:db8:1::7",
    "fd00::/8",
    "fd00::2",
    "fe80::1",
    "::1",
    "ff02::1",
    "8000::/1",
];

pub fn random_policy(random: &mut Random) -> (Policy, Dynamic) {
    let mut ranges = |most: usize| -> Vec<RangeEntry> {
        let count = random.below(most);
        (0..count).map(|_| if random.chance(60) { random.pick(&V4) } else { random.pick(&V6) }).map(entry).collect()
    };
    let (allowed, denied) = (ranges(6), ranges(4));
    let single = |random: &mut Random| random_address(random);
    let elements = |random: &mut Random, most: usize| {
        let mut all: Vec<Element> = Vec::new();
        for _ in 0..random.below(most) {
            let element = Element::named(single(random), "a.test");
            if !all.iter().any(|known| known.range == element.range) {
                all.push(element);
            }
        }
        all
    };
    let services = (0..random.below(3)).map(|_| ServicePort { address: single(random), port: random.pick(&PORTS) });
    let mut policy = Policy { container: "0123456789ab".into(), allowed, denied, ..Policy::default() };
    policy.services = services.collect();
    policy.published = vec![(PublishedProtocol::Tcp, random.pick(&PORTS))];
    policy.budget = random.chance(50).then_some(1 << 20);
    let (learned, refused) = (elements(random, 8), elements(random, 5));
    (policy, Dynamic { learned, refused, hold: random.chance(50) })
}

/// An address at or next to the edge of a known network, or inside it.
pub fn random_address(random: &mut Random) -> IpAddr {
    let text = if random.chance(60) { random.pick(&V4) } else { random.pick(&V6) };
    let range = parse_range(text).unwrap();
    match random.below(4) {
        0 => range.first(),
        1 => range.last(),
        2 => range.following().unwrap_or(range.first()),
        _ => within(range, random),
    }
}

fn within(range: Range, random: &mut Random) -> IpAddr {
    match (range.first(), range.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let width = u64::from(u32::from(last) - u32::from(first)) + 1;
            let offset = u32::try_from(random.next() % width).unwrap();
            std::net::Ipv4Addr::from(u32::from(first) + offset).into()
        }
        (IpAddr::V6(first), _) => std::net::Ipv6Addr::from(u128::from(first) + u128::from(random.next() % 256)).into(),
        _ => range.first(),
    }
}

pub const PORTS: [u16; 8] = [53, 9416, 443, 80, 22, 8080, 3000, 123];
const PROTOCOLS: [u8; 5] = [protocol::TCP, protocol::UDP, protocol::ICMP, protocol::ICMP6, protocol::SCTP];
const TRACKING: [Tracking; 4] = [Tracking::New, Tracking::Established, Tracking::Related, Tracking::Invalid];

pub fn random_packet(random: &mut Random) -> Packet {
    Packet {
        direction: if random.chance(80) { Direction::Output } else { Direction::Input },
        loopback: random.chance(15),
        destination: random_address(random),
        protocol: random.pick(&PROTOCOLS),
        source_port: if random.chance(20) { random.pick(&PORTS) } else { 40_000 },
        port: random.pick(&PORTS),
        icmp_type: random.pick(&[8, 132, 133, 135, 136, 137]),
        hop_limit: random.pick(&[255, 254, 64]),
        tracking: random.pick(&TRACKING),
        reply: random.chance(25),
        quota_spent: random.chance(30),
        below_limit: random.chance(70),
    }
}

/// Every combination of the values that a rule can look at.
pub fn all_packets(image: &Image, published: &[u16]) -> Vec<Packet> {
    let mut packets = Vec::new();
    for destination in addresses(image) {
        for protocol in PROTOCOLS {
            for (source_port, port) in ports(protocol, published) {
                for (icmp_type, hop_limit) in messages(protocol) {
                    for (direction, loopback) in [
                        (Direction::Output, false),
                        (Direction::Output, true),
                        (Direction::Input, false),
                        (Direction::Input, true),
                    ] {
                        for tracking in [Tracking::New, Tracking::Established, Tracking::Invalid] {
                            for reply in [false, true] {
                                for (quota_spent, below_limit) in [(false, true), (true, false)] {
                                    packets.push(Packet {
                                        direction,
                                        loopback,
                                        destination,
                                        protocol,
                                        source_port,
                                        port,
                                        icmp_type,
                                        hop_limit,
                                        tracking,
                                        reply,
                                        quota_spent,
                                        below_limit,
                                    });
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    packets
}

/// The edges of every element of every set, their neighbours outside, and the loopback addresses.
fn addresses(image: &Image) -> Vec<IpAddr> {
    let mut found = vec![address("127.0.0.1"), address("::1"), address("8.8.8.8"), address("2620::1")];
    found.extend(["10.0.2.2", "fd00::2", "ff02::1"].map(address));
    for set in &image.sets {
        for (range, _) in set.ranges() {
            found.extend([range.first(), range.last()]);
            found.extend(range.following());
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn ports(number: u8, published: &[u16]) -> Vec<(u16, u16)> {
    if !matches!(number, protocol::TCP | protocol::UDP) {
        return vec![(40_000, 53)];
    }
    let mut all: Vec<(u16, u16)> = PORTS.iter().map(|port| (40_000, *port)).collect();
    all.extend(published.iter().map(|port| (40_000, *port)));
    all.extend([(53, 40_001), (9416, 40_001)]);
    all.sort_unstable();
    all.dedup();
    all
}

fn messages(number: u8) -> Vec<(u8, u8)> {
    if number == protocol::ICMP6 {
        vec![(132, 255), (133, 255), (136, 255), (137, 255), (135, 254)]
    } else {
        vec![(8, 64)]
    }
}

/// Each rule alone, in an image with the same sets: a packet's signature is the rules that match it in whatever order.
struct Alone(Vec<Image>);

impl Alone {
    fn new(image: &Image) -> Self {
        let mut singles = Vec::new();
        for chain in &image.chains {
            for rule in &chain.rules {
                let mut alone = chain.clone();
                alone.rules = vec![rule.clone()];
                singles.push(Image { chains: vec![alone], sets: image.sets.clone(), ..Image::default() });
            }
        }
        Self(singles)
    }

    fn signature(&self, packet: &Packet) -> Vec<bool> {
        let matches = |single: &Image| {
            let trace = run(single, packet);
            trace.rule.is_some() || trace.steering.is_some() || !trace.logs.is_empty()
        };
        self.0.iter().map(matches).collect()
    }
}

/// One packet for every combination of rules that can match together, and for the edges of every element.
pub fn vectors(image: &Image, published: &[u16]) -> Vec<Packet> {
    let alone = Alone::new(image);
    let keep = representatives(image);
    let mut edges: HashSet<(IpAddr, Trace)> = HashSet::new();
    let mut combinations: HashSet<(Vec<bool>, Trace, u8, u8)> = HashSet::new();
    let mut chosen = Vec::new();
    for packet in all_packets(image, published) {
        let trace = run(image, &packet);
        let simple = packet.tracking == Tracking::New && !packet.loopback && !packet.reply;
        let edge = simple && edges.insert((packet.destination, trace.clone()));
        let class = keep.contains(&packet.destination) && {
            // The edges of ranges of numbers, which one packet inside does not tell apart.
            let edge = (packet.icmp_type, packet.hop_limit);
            combinations.insert((alone.signature(&packet), trace, edge.0, edge.1))
        };
        if edge || class {
            chosen.push(packet);
        }
    }
    chosen
}

/// Every packet to one address of each class, and to those of the expiring sets.
pub fn class_packets(image: &Image, published: &[u16]) -> Vec<Packet> {
    let mut keep = representatives(image);
    let dynamic = image.sets.iter().filter(|set| set.is_dynamic()).flat_map(|set| &set.elements);
    keep.extend(dynamic.filter_map(terok_nft::ElementImage::address));
    all_packets(image, published).into_iter().filter(|packet| keep.contains(&packet.destination)).collect()
}

/// One address for each class: those that the same sets hold.
fn representatives(image: &Image) -> HashSet<IpAddr> {
    let mut classes: HashMap<Vec<bool>, IpAddr> = HashMap::new();
    let services = ["10.0.2.2", "fd00::2"].map(address);
    for address in addresses(image) {
        let key = terok_nft::octets(address);
        let holds = |set: &terok_nft::image::SetImage| set.key_length as usize == key.len() && set.contains(&key);
        let kind = [address.is_ipv4(), address.is_loopback(), services.contains(&address)];
        classes.entry(image.sets.iter().map(holds).chain(kind).collect()).or_insert(address);
    }
    classes.into_values().collect()
}

pub fn image(policy: &Policy, state: ShieldState, dynamic: &Dynamic) -> Image {
    Image::of(&build(policy, state, dynamic).unwrap())
}
