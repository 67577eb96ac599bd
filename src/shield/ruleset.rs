//! From policy and state to the rules: the only place that knows their order.
//!
//! Invariants:
//! - what no rule accepts is dropped or refused;
//! - denials come first, private space before everything that a name opened;
//! - no rule accepts packets of a connection because it is established in its original direction, so that every
//!   change acts on open connections too;
//! - quarantine depends on nothing but constants.

use std::time::Duration;

use terok_nft::{
    Chain, Element, Family, Hook, Protocol, Quota, Range, Rejection, Rule, Set, SetKind, State, Table, Term,
};

use crate::address;
use crate::policy::Policy;
use crate::state::ShieldState;

/// The table's name.
pub const TABLE: &str = "terok_shield";
/// The log group.
pub const LOG_GROUP: u16 = 100;
/// The port of the listener.
pub const LISTENER_PORT: u16 = 9416;
/// The port of the DNS forwarder.
pub const DNS_PORT: u16 = 53;
/// How long a learned address stays.
pub const LEARN_TIMEOUT: Duration = Duration::from_secs(12 * 3600);
/// The most learned addresses of one family.
pub const LEARN_SIZE: u32 = 16_384;
/// How long a refused target stays refused without a question.
pub const REFUSE_TIMEOUT: Duration = Duration::from_secs(60);
/// The most refused targets of one family.
pub const REFUSE_SIZE: u32 = 4096;
/// The quota of UDP to learned addresses.
pub const UDP_QUOTA: &str = "learned_udp";
/// The rule that holds or refuses what nothing decides.
pub const HOLD_RULE: &str = "undecided-tcp";

/// Texts before logged packets.
pub mod prefix {
    /// Nothing decides about the packet.
    pub const BLOCKED: &str = "TEROK_SHIELD_BLOCKED: ";
    /// The packet is denied.
    pub const DENIED: &str = "TEROK_SHIELD_DENIED: ";
    /// The packet goes to private space.
    pub const PRIVATE: &str = "TEROK_SHIELD_PRIVATE: ";
    /// The packet opens an allowed connection.
    pub const ALLOWED: &str = "TEROK_SHIELD_ALLOWED: ";
    /// The packet passes because the firewall is down.
    pub const BYPASS: &str = "TEROK_SHIELD_BYPASS: ";
}

const SNAPLEN: u32 = 128;
const LOG_RATE: u64 = 20;
const LOG_BURST: u32 = 50;
const HTTPS_PORT: u16 = 443;

/// Elements that come and go while a container runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// Addresses that names opened.
    pub learned: Vec<Element>,
    /// Targets that are refused without a question.
    pub refused: Vec<Element>,
    /// True holds undecided connections instead of refusing them.
    pub hold: bool,
}

/// Builds the table of a state; none for a state without rules.
pub fn build(policy: &Policy, state: ShieldState, dynamic: &Dynamic) -> Option<Table> {
    match state {
        ShieldState::Up => Some(enforcing(policy, dynamic)),
        ShieldState::Down => Some(bypass(policy, dynamic, true)),
        ShieldState::Disengaged => Some(bypass(policy, dynamic, false)),
        ShieldState::Quarantine => Some(quarantine()),
        ShieldState::Offline | ShieldState::Error => None,
    }
}

fn enforcing(policy: &Policy, dynamic: &Dynamic) -> Table {
    let mut rules = Rules::default();
    rules.common(policy, true);
    rules.for_families("quic", |_| vec![udp(), Term::DestinationPort(HTTPS_PORT), refuse()], &[]);
    rules.learned_udp(policy);
    for family in Family::BOTH {
        let target = || Term::DestinationIn(family, set_name("refuse", family));
        let reset = Term::Reject(Rejection::Reset);
        rules.add(&named("refused-tcp", family), vec![target(), tcp(), Term::Counter, reset]);
        rules.add(&named("refused", family), vec![target(), Term::Counter, refuse()]);
    }
    rules.add("undecided-log", vec![limit(), log(prefix::BLOCKED)]);
    rules.0.push(undecided_tcp(dynamic.hold));
    rules.add("undecided", vec![Term::Counter, refuse()]);
    table(policy, dynamic, steer(false), rules.0)
}

fn bypass(policy: &Policy, dynamic: &Dynamic, guards_private: bool) -> Table {
    let mut rules = Rules::default();
    rules.common(policy, guards_private);
    rules.add("bypass-log", vec![Term::State(State::New), limit(), log(prefix::BYPASS)]);
    rules.add("bypass", vec![Term::Counter, Term::Accept]);
    table(policy, dynamic, steer(true), rules.0)
}

/// The rules that let nothing out. They are constants, and so is their order.
pub fn quarantine() -> Table {
    let mut rules = Rules::default();
    for (name, protocol, port) in
        [("dns-udp", udp(), DNS_PORT), ("dns-tcp", tcp(), DNS_PORT), ("listener", tcp(), LISTENER_PORT)]
    {
        rules.add(&format!("{name}-to"), vec![protocol.clone(), Term::DestinationPort(port), Term::Drop]);
        // What a listener still has to say to a container must not arrive either.
        rules.add(&format!("{name}-from"), vec![protocol, Term::SourcePort(port), Term::Drop]);
    }
    rules.add("loopback", vec![Term::OutputLoopback, Term::Accept]);
    rules.add("quarantine-log", vec![limit(), log(prefix::BLOCKED)]);
    rules.add("quarantine", vec![Term::Counter, Term::Drop]);
    let input = vec![rule("input-loopback", vec![Term::InputLoopback, Term::Accept])];
    Table {
        name: TABLE.to_owned(),
        comment: String::new(),
        quotas: Vec::new(),
        sets: Vec::new(),
        chains: vec![chain("output", Hook::Output, rules.0), chain("input", Hook::Input, input)],
    }
}

/// The rule for TCP that nothing decides about: it waits, or fails at once.
pub fn undecided_tcp(hold: bool) -> Rule {
    if hold {
        return rule(HOLD_RULE, vec![tcp(), Term::Counter, Term::Drop]);
    }
    rule(HOLD_RULE, vec![Term::Family(Family::V6), tcp(), Term::Counter, Term::Reject(Rejection::Reset)])
}

/// `allow_v4` and its like.
pub fn set_name(kind: &str, family: Family) -> String {
    format!("{kind}_{}", family.suffix())
}

fn table(policy: &Policy, dynamic: &Dynamic, steer: Vec<Rule>, output: Vec<Rule>) -> Table {
    let (quotas, maps) = budgets(policy);
    Table {
        name: TABLE.to_owned(),
        comment: policy.container.clone(),
        quotas,
        sets: [sets(policy, dynamic), maps].concat(),
        chains: vec![
            Chain { accepts: true, ..chain("steer", Hook::Steer, steer) },
            chain("output", Hook::Output, output),
            chain("input", Hook::Input, input(policy)),
        ],
    }
}

fn steer(everything: bool) -> Vec<Rule> {
    let mut rules = Rules::default();
    rules.add("dns-udp", vec![udp(), Term::DestinationPort(DNS_PORT), Term::Redirect(DNS_PORT)]);
    rules.add("dns-tcp", vec![tcp(), Term::DestinationPort(DNS_PORT), Term::Redirect(DNS_PORT)]);
    rules.add("steer-loopback", vec![Term::OutputLoopback, Term::Accept]);
    for kind in ["allow", "deny", "private"] {
        rules.for_families(&format!("direct-{kind}"), |_| vec![Term::Accept], &[kind]);
    }
    if everything {
        rules.add("names", vec![tcp(), Term::Redirect(LISTENER_PORT)]);
    } else {
        rules.for_families("names", |_| vec![tcp(), Term::Redirect(LISTENER_PORT)], &["learn"]);
    }
    rules.0
}

fn input(policy: &Policy) -> Vec<Rule> {
    let mut rules = Rules::default();
    rules.add("input-loopback", vec![Term::InputLoopback, Term::Accept]);
    rules.add("input-known", vec![Term::State(State::Known), Term::Accept]);
    rules.neighbours("input-neighbours");
    for (protocol, port) in &policy.published {
        let protocol = Protocol::from(*protocol);
        let name = format!("published-{}-{port}", protocol.name());
        rules.add(&name, vec![Term::Protocol(protocol), Term::DestinationPort(*port), Term::Accept]);
    }
    rules.0
}

#[derive(Default)]
struct Rules(Vec<Rule>);

impl Rules {
    fn add(&mut self, name: &str, terms: Vec<Term>) {
        self.0.push(rule(name, terms));
    }

    /// One rule for each family, with a look-up in the sets of that kind before the terms.
    fn for_families(&mut self, name: &str, terms: impl Fn(Family) -> Vec<Term>, sets: &[&str]) {
        if sets.is_empty() {
            return self.add(name, terms(Family::V4));
        }
        for family in Family::BOTH {
            let lookups = sets.iter().map(|kind| Term::DestinationIn(family, set_name(kind, family)));
            self.add(&named(name, family), lookups.chain(terms(family)).collect());
        }
    }

    /// The rules that every state but quarantine begins with.
    fn common(&mut self, policy: &Policy, guards_private: bool) {
        self.add("loopback", vec![Term::OutputLoopback, Term::Accept]);
        for family in Family::BOTH {
            // A redirected packet carries the interface that it had before.
            let to = || Term::Destination(family.loopback());
            self.add(&named("to-dns-udp", family), vec![to(), udp(), Term::DestinationPort(DNS_PORT), Term::Accept]);
            self.add(&named("to-dns-tcp", family), vec![to(), tcp(), Term::DestinationPort(DNS_PORT), Term::Accept]);
            let port = Term::DestinationPort(LISTENER_PORT);
            self.add(&named("to-listener", family), vec![to(), tcp(), port, Term::Accept]);
        }
        self.refused("deny", prefix::DENIED);
        self.add("answers", vec![Term::Reply, Term::State(State::Known), Term::Accept]);
        self.neighbours("neighbours");
        for (number, service) in policy.services.iter().enumerate() {
            let terms =
                vec![Term::Destination(service.address), tcp(), Term::DestinationPort(service.port), Term::Accept];
            self.add(&format!("service-{number}"), terms);
        }
        for family in Family::BOTH {
            let target = || Term::DestinationIn(family, set_name("allow", family));
            if policy.budget.is_some() && !policy.allowed_ranges(family).is_empty() {
                let spent = Term::QuotaSpent(family, set_name("budget", family));
                self.add(&named("budget", family), vec![spent, Term::Counter, Term::Drop]);
            }
            self.add(&named("allow-log", family), vec![target(), Term::State(State::New), log(prefix::ALLOWED)]);
            self.add(&named("allow", family), vec![target(), Term::Counter, Term::Accept]);
        }
        if guards_private {
            self.refused("private", prefix::PRIVATE);
        }
    }

    /// Logs new connections to a set and refuses all of it.
    fn refused(&mut self, kind: &str, prefix: &str) {
        for family in Family::BOTH {
            let target = || Term::DestinationIn(family, set_name(kind, family));
            self.add(&named(&format!("{kind}-log"), family), vec![target(), Term::State(State::New), log(prefix)]);
            if family == Family::V6 {
                // The ICMPv6 form takes a second to end a connecting socket.
                let reset = Term::Reject(Rejection::Reset);
                self.add(&format!("{kind}-tcp-v6"), vec![target(), tcp(), Term::Counter, reset]);
            }
            self.add(&named(kind, family), vec![target(), Term::Counter, refuse()]);
        }
    }

    fn neighbours(&mut self, name: &str) {
        let icmp = Term::Protocol(Protocol::Icmp6);
        let message = Term::Icmp6Type(133, 136);
        self.add(name, vec![Term::Family(Family::V6), icmp, message, Term::HopLimit(255), Term::Accept]);
    }

    fn learned_udp(&mut self, policy: &Policy) {
        for family in Family::BOTH {
            let target = || Term::DestinationIn(family, set_name("learn", family));
            if policy.budget.is_some() {
                let spent = Term::NamedQuotaSpent(UDP_QUOTA.to_owned());
                self.add(&named("budget-udp", family), vec![target(), udp(), spent, Term::Counter, Term::Drop]);
            }
            self.add(&named("learned-udp", family), vec![target(), udp(), Term::Counter, Term::Accept]);
        }
    }
}

fn sets(policy: &Policy, dynamic: &Dynamic) -> Vec<Set> {
    let mut sets = Vec::new();
    for family in Family::BOTH {
        let interval = |kind: &str, ranges: Vec<Range>| Set {
            name: set_name(kind, family),
            family,
            kind: SetKind::Interval,
            elements: ranges.into_iter().map(Element::new).collect(),
        };
        sets.push(interval("allow", policy.allowed_ranges(family)));
        sets.push(interval("deny", policy.denied_ranges(family)));
        sets.push(interval("private", address::private(family)));
        for (kind, timeout, size, all) in [
            ("learn", LEARN_TIMEOUT, LEARN_SIZE, &dynamic.learned),
            ("refuse", REFUSE_TIMEOUT, REFUSE_SIZE, &dynamic.refused),
        ] {
            let elements = all.iter().filter(|element| element.range.family() == family).cloned().collect();
            sets.push(Set { name: set_name(kind, family), family, kind: SetKind::Timed { timeout, size }, elements });
        }
    }
    sets
}

/// One quota for each open range, and one for UDP to learned addresses.
fn budgets(policy: &Policy) -> (Vec<Quota>, Vec<Set>) {
    let Some(bytes) = policy.budget else { return (Vec::new(), Vec::new()) };
    let mut quotas = vec![Quota { name: UDP_QUOTA.to_owned(), bytes }];
    let mut maps = Vec::new();
    for family in Family::BOTH {
        let mut elements = Vec::new();
        for (number, range) in policy.allowed_ranges(family).into_iter().enumerate() {
            let name = format!("direct_{}_{number}", family.suffix());
            quotas.push(Quota { name: name.clone(), bytes });
            elements.push(Element { quota: Some(name), ..Element::new(range) });
        }
        if !elements.is_empty() {
            maps.push(Set { name: set_name("budget", family), family, kind: SetKind::QuotaMap, elements });
        }
    }
    (quotas, maps)
}

fn chain(name: &str, hook: Hook, rules: Vec<Rule>) -> Chain {
    Chain { name: name.to_owned(), hook, accepts: false, rules }
}

fn rule(name: &str, terms: Vec<Term>) -> Rule {
    Rule { name: name.to_owned(), terms }
}

fn named(name: &str, family: Family) -> String {
    format!("{name}-{}", family.suffix())
}

fn tcp() -> Term {
    Term::Protocol(Protocol::Tcp)
}

fn udp() -> Term {
    Term::Protocol(Protocol::Udp)
}

fn refuse() -> Term {
    Term::Reject(Rejection::Prohibited)
}

fn limit() -> Term {
    Term::Limit { rate: LOG_RATE, burst: LOG_BURST }
}

fn log(prefix: &str) -> Term {
    Term::Log { group: LOG_GROUP, prefix: prefix.to_owned(), snaplen: SNAPLEN }
}
