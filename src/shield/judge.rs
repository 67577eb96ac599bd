//! The oracle: what must become of a packet, from the policy alone and without any rule.
//!
//! It is written from the design and not from the rules, so that the two can be compared.

use std::net::IpAddr;

use terok_nft::{Family, Rejection};

use crate::address::is_private;
use crate::packet::{Direction, Packet, Tracking, protocol};
use crate::policy::{Policy, PublishedProtocol};
use crate::ruleset::{DNS_PORT, Dynamic, LISTENER_PORT, prefix};
use crate::state::ShieldState;

/// What must become of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It passes.
    Accept,
    /// It goes to a port of the supervisor inside.
    Steer(u16),
    /// It vanishes while the operator is asked.
    Hold,
    /// It vanishes.
    Discard,
    /// It is refused.
    Refuse(Rejection),
}

/// A decision and the texts that are logged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Judgement {
    /// What becomes of the packet.
    pub decision: Decision,
    /// Texts of log entries.
    pub logs: Vec<&'static str>,
}

/// Judges a packet.
pub fn judge(policy: &Policy, state: ShieldState, dynamic: &Dynamic, packet: &Packet) -> Judgement {
    let mut logs = Vec::new();
    let decision = match (state, packet.direction) {
        (ShieldState::Offline | ShieldState::Error, _) => Decision::Accept,
        (ShieldState::Quarantine, Direction::Input) => open_if(packet.loopback),
        (ShieldState::Quarantine, Direction::Output) => judge_quarantine(packet, &mut logs),
        (_, Direction::Input) => judge_input(policy, packet),
        (_, Direction::Output) => Judge { policy, state, dynamic, packet }.output(&mut logs),
    };
    Judgement { decision, logs }
}

fn open_if(open: bool) -> Decision {
    if open { Decision::Accept } else { Decision::Discard }
}

fn judge_quarantine(packet: &Packet, logs: &mut Vec<&'static str>) -> Decision {
    let ports = [packet.source_port, packet.port];
    let dns = has_ports(packet) && ports.contains(&DNS_PORT);
    if dns || packet.protocol == protocol::TCP && ports.contains(&LISTENER_PORT) {
        return Decision::Discard;
    }
    if packet.loopback {
        return Decision::Accept;
    }
    if packet.below_limit {
        logs.push(prefix::BLOCKED);
    }
    Decision::Discard
}

fn judge_input(policy: &Policy, packet: &Packet) -> Decision {
    let published = policy.published.iter().any(|(kind, port)| {
        let number = match kind {
            PublishedProtocol::Tcp => protocol::TCP,
            PublishedProtocol::Udp => protocol::UDP,
        };
        (number, *port) == (packet.protocol, packet.port)
    });
    open_if(packet.loopback || is_known(packet) || is_neighbour_message(packet) || published)
}

fn has_ports(packet: &Packet) -> bool {
    matches!(packet.protocol, protocol::TCP | protocol::UDP)
}

fn is_known(packet: &Packet) -> bool {
    matches!(packet.tracking, Tracking::Established | Tracking::Related)
}

/// Neighbour and router discovery that has not passed a router.
fn is_neighbour_message(packet: &Packet) -> bool {
    packet.family() == Family::V6
        && packet.protocol == protocol::ICMP6
        && (133..=136).contains(&packet.icmp_type)
        && packet.hop_limit == 255
}

struct Judge<'a> {
    policy: &'a Policy,
    state: ShieldState,
    dynamic: &'a Dynamic,
    packet: &'a Packet,
}

impl Judge<'_> {
    fn output(&self, logs: &mut Vec<&'static str>) -> Decision {
        let packet = self.packet;
        if let Some(port) = self.steered_to() {
            return Decision::Steer(port);
        }
        if packet.loopback || self.goes_to_supervisor() {
            return Decision::Accept;
        }
        let new = packet.tracking == Tracking::New;
        if self.policy.denied_entry(packet.destination).is_some() {
            logs.extend(new.then_some(prefix::DENIED));
            return self.refuse();
        }
        if packet.reply && is_known(packet) || is_neighbour_message(packet) || self.is_service() {
            return Decision::Accept;
        }
        if self.policy.allowed_entry(packet.destination).is_some() {
            if self.policy.budget.is_some() && packet.quota_spent {
                return Decision::Discard;
            }
            logs.extend(new.then_some(prefix::ALLOWED));
            return Decision::Accept;
        }
        if is_private(packet.destination) && self.is_guarded() {
            logs.extend(new.then_some(prefix::PRIVATE));
            return self.refuse();
        }
        if self.state == ShieldState::Up {
            return self.undecided(logs);
        }
        logs.extend((new && packet.below_limit).then_some(prefix::BYPASS));
        Decision::Accept
    }

    /// Private space is guarded in every state but the one that disengages.
    fn is_guarded(&self) -> bool {
        self.state != ShieldState::Disengaged
    }

    fn steered_to(&self) -> Option<u16> {
        let packet = self.packet;
        if packet.reply {
            return None;
        }
        if has_ports(packet) && packet.port == DNS_PORT {
            return Some(DNS_PORT);
        }
        let direct = packet.loopback
            || self.policy.allowed_entry(packet.destination).is_some()
            || self.policy.denied_entry(packet.destination).is_some()
            || is_private(packet.destination);
        let by_name = self.state != ShieldState::Up || contains(&self.dynamic.learned, packet.destination);
        (!direct && packet.protocol == protocol::TCP && by_name).then_some(LISTENER_PORT)
    }

    fn goes_to_supervisor(&self) -> bool {
        let packet = self.packet;
        let dns = has_ports(packet) && packet.port == DNS_PORT;
        let listener = packet.protocol == protocol::TCP && packet.port == LISTENER_PORT;
        packet.destination == packet.family().loopback() && (dns || listener)
    }

    fn is_service(&self) -> bool {
        let target = (self.packet.destination, self.packet.port);
        let tcp = self.packet.protocol == protocol::TCP;
        tcp && self.policy.services.iter().any(|service| (service.address, service.port) == target)
    }

    fn undecided(&self, logs: &mut Vec<&'static str>) -> Decision {
        let packet = self.packet;
        let udp = packet.protocol == protocol::UDP;
        if udp && packet.port == 443 {
            return Decision::Refuse(Rejection::Prohibited);
        }
        if udp && contains(&self.dynamic.learned, packet.destination) {
            let spent = self.policy.budget.is_some() && packet.quota_spent;
            return open_if(!spent);
        }
        let tcp = packet.protocol == protocol::TCP;
        if contains(&self.dynamic.refused, packet.destination) {
            return Decision::Refuse(if tcp { Rejection::Reset } else { Rejection::Prohibited });
        }
        logs.extend(packet.below_limit.then_some(prefix::BLOCKED));
        if tcp && self.dynamic.hold { Decision::Hold } else { self.refuse() }
    }

    fn refuse(&self) -> Decision {
        let resets = self.packet.family() == Family::V6 && self.packet.protocol == protocol::TCP;
        Decision::Refuse(if resets { Rejection::Reset } else { Rejection::Prohibited })
    }
}

fn contains(elements: &[terok_nft::Element], address: IpAddr) -> bool {
    elements.iter().any(|element| element.range.contains(address))
}
