//! Runs rules against a packet, expression by expression, as the kernel would.
//!
//! What runs is the image that is sent to the kernel and compared with it. The explanation of a refusal comes from
//! here too, and so cannot disagree with the rules.

use terok_nft::expression::{Comparison, Connection, Expression, Header, Meta};
use terok_nft::image::{ChainImage, Image, RuleImage};
use terok_nft::{Family, Rejection, octets};

use crate::packet::protocol::TCP;
use crate::packet::{Direction, Packet};

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It passes.
    Accept,
    /// It vanishes.
    Drop,
    /// It is refused.
    Reject(Rejection),
}

/// The way of a packet through the rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Trace {
    /// What becomes of it.
    pub verdict: Verdict,
    /// The rule that decided; none when a chain's policy did.
    pub rule: Option<String>,
    /// The port of the local host that it was sent to instead.
    pub steered: Option<u16>,
    /// The rule that did so, or that let it go on directly.
    pub steering: Option<String>,
    /// Texts of the log entries, in order.
    pub logs: Vec<String>,
    /// Rules that counted it.
    pub counted: Vec<String>,
}

/// Runs the chains that a packet passes.
pub fn run(image: &Image, packet: &Packet) -> Trace {
    let mut trace = Trace {
        verdict: Verdict::Accept,
        rule: None,
        steered: None,
        steering: None,
        logs: Vec::new(),
        counted: Vec::new(),
    };
    let mut packet = packet.clone();
    if packet.direction == Direction::Output && !run_steering(image, &mut packet, &mut trace) {
        trace.verdict = Verdict::Drop;
        return trace;
    }
    let hook = if packet.direction == Direction::Output { 3 } else { 1 };
    for chain in chains(image, "filter", hook) {
        let (outcome, rule) = run_chain(image, chain, &packet, &mut trace);
        trace.verdict = match outcome {
            Some(Outcome::Verdict(verdict)) => verdict,
            Some(Outcome::Redirect(_)) | None if chain_accepts(chain) => Verdict::Accept,
            _ => Verdict::Drop,
        };
        trace.rule = rule;
        if trace.verdict != Verdict::Accept {
            break;
        }
    }
    trace
}

/// Chains of type nat see the first packet of a connection; the others follow it. Either way it goes where the first
/// one was sent, so every packet is treated as a first one here.
///
/// False when such a chain drops the packet.
fn run_steering(image: &Image, packet: &mut Packet, trace: &mut Trace) -> bool {
    if packet.reply {
        return true;
    }
    for chain in chains(image, "nat", 3) {
        let (outcome, rule) = run_chain(image, chain, packet, trace);
        trace.steering = rule;
        match outcome {
            Some(Outcome::Redirect(port)) => {
                trace.steered = Some(port);
                packet.destination = packet.family().loopback();
                packet.port = port;
            }
            Some(Outcome::Verdict(Verdict::Accept)) => {}
            None if chain_accepts(chain) => {}
            _ => return false,
        }
    }
    true
}

fn chains<'a>(image: &'a Image, kind: &'a str, hook: u32) -> impl Iterator<Item = &'a ChainImage> {
    image.chains.iter().filter(move |chain| chain.base.as_ref().is_some_and(|b| b.kind == kind && b.hook == hook))
}

fn chain_accepts(chain: &ChainImage) -> bool {
    chain.base.as_ref().is_some_and(|base| base.policy == 1)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Verdict(Verdict),
    Redirect(u16),
}

fn run_chain(
    image: &Image,
    chain: &ChainImage,
    packet: &Packet,
    trace: &mut Trace,
) -> (Option<Outcome>, Option<String>) {
    for rule in &chain.rules {
        if let Some(outcome) = run_rule(image, rule, packet, trace) {
            return (Some(outcome), rule.name());
        }
    }
    (None, None)
}

fn run_rule(image: &Image, rule: &RuleImage, packet: &Packet, trace: &mut Trace) -> Option<Outcome> {
    let mut register: Vec<u8> = Vec::new();
    for expression in &rule.expressions {
        match expression {
            Expression::Meta(key) => register = load_meta(*key, packet),
            Expression::Connection(Connection::State) => register = packet.tracking.bit().to_ne_bytes().to_vec(),
            Expression::Connection(Connection::Direction) => register = vec![u8::from(packet.reply)],
            Expression::Payload { base, offset, length } => register = load_payload(*base, *offset, *length, packet)?,
            Expression::Mask(mask) => register = register.iter().zip(mask).map(|(a, b)| a & b).collect(),
            Expression::Compare(how, value) => {
                let (now, value) = (register.as_slice(), value.as_slice());
                let holds = match how {
                    Comparison::Equal => now == value,
                    Comparison::Unequal => now != value,
                    Comparison::AtMost => now <= value,
                    Comparison::AtLeast => now >= value,
                };
                holds.then_some(())?;
            }
            Expression::Lookup { set, inverted } => {
                let found = image.set(set).is_some_and(|set| set.contains(&register));
                (found != *inverted).then_some(())?;
            }
            Expression::Quota { map } => {
                let charged = image.set(map).is_some_and(|map| map.contains(&register));
                (charged && packet.quota_spent).then_some(())?;
            }
            Expression::NamedQuota(_) => packet.quota_spent.then_some(())?,
            Expression::Limit { .. } => packet.below_limit.then_some(())?,
            Expression::Load(value) => register = value.clone(),
            Expression::Counter => trace.counted.extend(rule.name()),
            Expression::Log { prefix, .. } => trace.logs.push(prefix.clone()),
            Expression::Accept => return Some(Outcome::Verdict(Verdict::Accept)),
            Expression::Drop => return Some(Outcome::Verdict(Verdict::Drop)),
            // There is nothing to reset; the kernel drops the packet.
            Expression::Reject(Rejection::Reset) if packet.protocol != TCP => {
                return Some(Outcome::Verdict(Verdict::Drop));
            }
            Expression::Reject(how) => return Some(Outcome::Verdict(Verdict::Reject(*how))),
            Expression::Redirect => {
                let port = register.as_slice().try_into().ok()?;
                return Some(Outcome::Redirect(u16::from_be_bytes(port)));
            }
            // Not ours: it could do anything.
            Expression::Foreign { .. } => return None,
        }
    }
    None
}

fn load_meta(key: Meta, packet: &Packet) -> Vec<u8> {
    match key {
        Meta::Family => vec![if packet.family() == Family::V4 { 2 } else { 10 }],
        Meta::Protocol => vec![packet.protocol],
        Meta::InputName => interface(packet, Direction::Input),
        Meta::OutputName => interface(packet, Direction::Output),
    }
}

fn interface(packet: &Packet, direction: Direction) -> Vec<u8> {
    let name: &[u8] = match (packet.direction == direction, packet.loopback) {
        (false, _) => b"",
        (true, true) => b"lo",
        (true, false) => b"eth0",
    };
    let mut bytes = name.to_vec();
    bytes.resize(16, 0);
    bytes
}

fn load_payload(base: Header, offset: u32, length: u32, packet: &Packet) -> Option<Vec<u8>> {
    let (offset, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
    match base {
        Header::Transport => packet.transport().get(offset..offset + length).map(<[u8]>::to_vec),
        Header::Network => network(packet).get(offset..offset + length).map(<[u8]>::to_vec),
    }
}

/// The IP header with the fields that rules look at.
fn network(packet: &Packet) -> Vec<u8> {
    let destination = octets(packet.destination);
    let (mut header, at, hops) = match packet.family() {
        Family::V4 => (vec![0; 20], 16, 8),
        Family::V6 => (vec![0; 40], 24, 7),
    };
    header[at..at + destination.len()].copy_from_slice(&destination);
    header[hops] = packet.hop_limit;
    header
}
