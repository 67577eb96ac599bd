//! Explains what becomes of a connection, and which rule or entry decides.
//!
//! The answer comes from running the very rules that are in the kernel, so it cannot disagree with them.

use std::net::IpAddr;

use terok_nft::{Element, Image};

use crate::address;
use crate::entry::parse_range;
use crate::fault::ShieldError;
use crate::interpret::{Trace, Verdict, run};
use crate::name::Name;
use crate::packet::{Packet, protocol};
use crate::policy::{NameEntry, NameVerdict, Policy};
use crate::ruleset::{DNS_PORT, Dynamic, HOLD_RULE, LISTENER_PORT, build};
use crate::state::ShieldState;

/// Something that a connection goes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A name.
    Name(Name),
    /// An address.
    Address(IpAddr),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Target {
    /// Parses a name or an address.
    ///
    /// # Errors
    /// [`ShieldError::Entry`].
    pub fn parse(text: &str) -> Result<Self, ShieldError> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Some(range) = parse_range(bare).filter(|range| range.first() == range.last() && !bare.contains('/')) {
            return Ok(Self::Address(range.first()));
        }
        let bad = |why: crate::name::BadName| ShieldError::Entry {
            text: base::text::sanitize_tty(text),
            why: why.to_string(),
        };
        Name::parse(text).map(Self::Name).map_err(bad)
    }

    /// Parses `host`, `host:port` or `[address]:port`; without a port it is 443.
    ///
    /// # Errors
    /// [`ShieldError::Entry`].
    pub fn parse_with_port(text: &str) -> Result<(Self, u16), ShieldError> {
        if let Ok(target) = Self::parse(text) {
            return Ok((target, 443));
        }
        let bad = || ShieldError::Entry { text: base::text::sanitize_tty(text), why: "its port is no number".into() };
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(bad)?;
        Ok((Self::parse(host)?, port))
    }
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It goes there directly.
    Direct,
    /// The supervisor checks its name and connects.
    ByName,
    /// It reaches a service of the supervisor inside the container.
    Supervisor,
    /// It waits for the operator.
    Held,
    /// It fails at once.
    Refused,
}

impl Outcome {
    /// The word in output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::ByName => "by-name",
            Self::Supervisor => "supervisor",
            Self::Held => "held",
            Self::Refused => "refused",
        }
    }
}

/// An explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What becomes of the connection.
    pub outcome: Outcome,
    /// The rule or entry that decides, for a program.
    pub rule: String,
    /// The same in a sentence.
    pub reason: String,
    /// What the operator can do about it.
    pub hint: Option<String>,
}

/// Explains a TCP connection.
pub fn explain(policy: &Policy, state: ShieldState, dynamic: &Dynamic, target: &Target, port: u16) -> Explanation {
    match target {
        Target::Address(address) => explain_address(policy, state, dynamic, *address, port),
        Target::Name(name) => explain_name(policy, state, dynamic, name, port),
    }
}

fn explain_name(policy: &Policy, state: ShieldState, dynamic: &Dynamic, name: &Name, port: u16) -> Explanation {
    let known = |entry: &NameEntry| format!("`{}` ({})", entry.name, entry.origin.word());
    let has_names = matches!(state, ShieldState::Up | ShieldState::Down | ShieldState::Disengaged);
    match policy.judge_name(name) {
        NameVerdict::Denied(entry) if has_names => Explanation {
            outcome: Outcome::Refused,
            rule: format!("denied-name {}", entry.name),
            reason: format!("the entry {} denies the name, so it does not resolve", known(entry)),
            hint: Some(allow(&entry.name)),
        },
        NameVerdict::Allowed(entry) if has_names => {
            // As if the name had been looked up: its address is learned.
            let mut dynamic = dynamic.clone();
            dynamic.learned.push(Element::named(stand_in(name), name.as_str()));
            let decided = explain_address(policy, state, &dynamic, stand_in(name), port);
            let reason = format!("the entry {} allows the name; {}", known(entry), decided.reason);
            Explanation { reason, rule: format!("allowed-name {}", entry.name), ..decided }
        }
        _ => {
            let mut dynamic = dynamic.clone();
            dynamic.learned.retain(|element| !element.range.contains(stand_in(name)));
            let decided = explain_address(policy, state, &dynamic, stand_in(name), port);
            let open = matches!(decided.outcome, Outcome::Held | Outcome::Refused);
            let hint = (state == ShieldState::Up && open).then(|| allow(name));
            Explanation { reason: format!("no entry decides about the name; {}", decided.reason), hint, ..decided }
        }
    }
}

/// The command that allows a destination.
fn allow(destination: &dyn std::fmt::Display) -> String {
    base::text::command_line(["terok-shield", "allow", "CONTAINER", &destination.to_string()])
}

/// A parking address, which no literal entry, denial or private network has unless the operator lists it.
fn stand_in(_name: &Name) -> IpAddr {
    address::parking(0).into()
}

fn explain_address(policy: &Policy, state: ShieldState, dynamic: &Dynamic, to: IpAddr, port: u16) -> Explanation {
    let Some(table) = build(policy, state, dynamic) else {
        let reason = "there are no rules of ours".to_owned();
        return Explanation { outcome: Outcome::Direct, rule: state.word().to_owned(), reason, hint: None };
    };
    let mut packet = Packet::first(to, protocol::TCP, port);
    packet.loopback = to.is_loopback();
    let trace = run(&Image::of(&table), &packet);
    let outcome = outcome(&trace);
    let deciding = if trace.steered.is_some() { &trace.steering } else { &trace.rule };
    let rule = deciding.clone().unwrap_or_else(|| "policy".to_owned());
    let reason = reason(&rule, policy, to);
    let hint = match rule.as_str() {
        _ if state == ShieldState::Quarantine => Some("terok-shield up CONTAINER".to_owned()),
        HOLD_RULE | "undecided" => Some(allow(&to)),
        rule if rule.starts_with("private") => Some(allow(&to)),
        rule if rule.starts_with("deny") => {
            let entry = policy.denied_entry(to).map_or_else(|| to.to_string(), |entry| entry.range.to_string());
            Some(allow(&entry))
        }
        _ => None,
    };
    Explanation { outcome, rule, reason, hint }
}

fn outcome(trace: &Trace) -> Outcome {
    match (trace.steered, trace.verdict) {
        (Some(DNS_PORT), Verdict::Accept) => Outcome::Supervisor,
        (Some(_), Verdict::Accept) => Outcome::ByName,
        (None, Verdict::Accept) => Outcome::Direct,
        (_, Verdict::Drop) if trace.rule.as_deref() == Some(HOLD_RULE) => Outcome::Held,
        _ => Outcome::Refused,
    }
}

/// A sentence about a rule; the name without its family.
fn reason(rule: &str, policy: &Policy, to: IpAddr) -> String {
    let origin = |entry: Option<&crate::policy::RangeEntry>| {
        entry.map_or_else(String::new, |entry| format!(" `{}` ({})", entry.range, entry.origin.word()))
    };
    let base = rule.trim_end_matches("-v4").trim_end_matches("-v6");
    match base {
        "loopback" => "it stays inside the container".into(),
        "dns-udp" | "dns-tcp" => "the supervisor answers every DNS question".into(),
        "names" => format!("the supervisor checks its first bytes and connects by name (port {LISTENER_PORT} inside)"),
        "allow" => format!("the literal entry{} opens the address", origin(policy.allowed_entry(to))),
        "budget" => "the address has had all the bytes that it may get".into(),
        "private" => "the address is in private space, which only a literal entry opens".into(),
        "undecided-tcp" => "no entry decides about the address; it waits for an answer".into(),
        "undecided" => "no entry decides about the address".into(),
        "refused" | "refused-tcp" => "a question about it has just been denied or has had no answer".into(),
        "bypass" => "the firewall is down".into(),
        "quarantine" => "the container is in quarantine".into(),
        _ if base.starts_with("deny") => {
            format!("the literal entry{} closes the address", origin(policy.denied_entry(to)))
        }
        _ if base.starts_with("private") => "the address is in private space, which only a literal entry opens".into(),
        _ if base.starts_with("service") => "it is a port of the host that the container needs".into(),
        _ if base.starts_with("to-") => "it is a port of the supervisor".into(),
        _ => format!("the rule `{rule}` decides"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Origin, RangeEntry};

    fn policy() -> Policy {
        let name = |text: &str| NameEntry { name: Name::parse(text).unwrap(), origin: Origin::Profile };
        let range = |text: &str| RangeEntry { range: parse_range(text).unwrap(), origin: Origin::Live };
        Policy {
            allowed_names: vec![name("example.com")],
            denied_names: vec![name("bad.example.com")],
            allowed: vec![range("198.51.100.0/24"), range("10.1.0.0/16")],
            denied: vec![range("198.51.100.9")],
            ..Policy::default()
        }
    }

    fn ask(state: ShieldState, hold: bool, text: &str) -> (Outcome, String, String) {
        let (target, port) = Target::parse_with_port(text).unwrap();
        let dynamic = Dynamic { hold, ..Dynamic::default() };
        let found = explain(&policy(), state, &dynamic, &target, port);
        (found.outcome, found.rule, found.hint.unwrap_or_default())
    }

    #[test]
    fn explanation_names_the_entry_or_rule_that_decides() {
        use Outcome as O;
        use ShieldState as S;
        for (state, hold, text, outcome, rule) in [
            (S::Up, true, "www.example.com", O::ByName, "allowed-name example.com"),
            (S::Up, true, "bad.example.com:80", O::Refused, "denied-name bad.example.com"),
            (S::Up, true, "other.test", O::Held, "undecided-tcp"),
            (S::Up, false, "other.test", O::Refused, "undecided"),
            (S::Up, true, "198.51.100.7:22", O::Direct, "allow-v4"),
            (S::Up, true, "198.51.100.9", O::Refused, "deny-v4"),
            (S::Up, true, "10.1.2.3:5432", O::Direct, "allow-v4"),
            (S::Up, true, "169.254.169.254:80", O::Refused, "private-v4"),
            (S::Up, true, "[fd00::2]:80", O::Refused, "private-tcp-v6"),
            (S::Up, true, "8.8.8.8:53", O::Supervisor, "dns-tcp"),
            (S::Up, true, "127.0.0.1:8080", O::Direct, "loopback"),
            (S::Down, true, "other.test", O::ByName, "names"),
            (S::Down, true, "bad.example.com", O::Refused, "denied-name bad.example.com"),
            (S::Down, true, "10.9.9.9", O::Refused, "private-v4"),
            (S::Disengaged, true, "10.9.9.9", O::Direct, "bypass"),
            (S::Quarantine, true, "www.example.com", O::Refused, "quarantine"),
        ] {
            let (found, by, _) = ask(state, hold, text);
            assert_eq!((found, by.as_str()), (outcome, rule), "{text} while {}", state.word());
        }
    }

    #[test]
    fn hint_is_a_command_that_changes_the_outcome() {
        assert_eq!(ask(ShieldState::Up, true, "other.test").2, "terok-shield allow CONTAINER other.test");
        assert_eq!(ask(ShieldState::Up, true, "198.51.100.9").2, "terok-shield allow CONTAINER 198.51.100.9");
        assert_eq!(ask(ShieldState::Up, true, "a.bad.example.com").2, "terok-shield allow CONTAINER bad.example.com");
        assert!(ask(ShieldState::Up, true, "www.example.com").2.is_empty());
    }

    #[test]
    fn target_is_refused_when_its_port_or_host_is_malformed() {
        for text in ["", ":443", "a.com:0", "a.com:99999", "a.com:x", "[::1", "10.0.0.0/8", "a b:1", "host:1"] {
            assert!(Target::parse_with_port(text).is_err(), "{text}");
        }
        assert_eq!(Target::parse_with_port("2001:db8::1").unwrap().1, 443);
    }
}
