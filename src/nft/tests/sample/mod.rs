//! A table with every term, every kind of set and a quota.

use std::net::IpAddr;
use std::time::Duration;

use terok_nft::{
    Chain, Element, Family, Hook, Protocol, Quota, Range, Rejection, Rule, Set, SetKind, State, Table, Term,
};

pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn prefix(text: &str) -> Range {
    let (address, length) = text.split_once('/').unwrap();
    Range::prefix(address.parse().unwrap(), length.parse().unwrap()).unwrap()
}

fn rule(name: &str, terms: Vec<Term>) -> Rule {
    Rule { name: name.to_owned(), terms }
}

fn log(prefix: &str) -> Term {
    Term::Log { group: 100, prefix: prefix.to_owned(), snaplen: 128 }
}

pub fn timed() -> SetKind {
    SetKind::Timed { timeout: Duration::from_secs(12 * 3600), size: 16384 }
}

fn output_rules() -> Vec<Rule> {
    use Term as T;
    vec![
        rule("loopback", vec![T::OutputLoopback, T::Accept]),
        rule(
            "dns",
            vec![T::Destination(address("127.0.0.1")), T::Protocol(Protocol::Udp), T::DestinationPort(53), T::Accept],
        ),
        rule("listener", vec![T::Protocol(Protocol::Tcp), T::SourcePort(9416), T::Drop]),
        rule("denied", vec![T::DestinationIn(Family::V6, "deny_v6".into()), T::State(State::New), log("DENIED: ")]),
        rule("answers", vec![T::Reply, T::State(State::Known), T::Accept]),
        rule(
            "neighbours",
            vec![
                T::Family(Family::V6),
                T::Protocol(Protocol::Icmp6),
                T::Icmp6Type(133, 136),
                T::HopLimit(255),
                T::Accept,
            ],
        ),
        rule("budget-v4", vec![T::QuotaSpent(Family::V4, "budget_v4".into()), T::Counter, T::Drop]),
        rule("budget-udp", vec![T::Protocol(Protocol::Udp), T::NamedQuotaSpent("direct_udp".into()), T::Drop]),
        rule(
            "reset",
            vec![
                T::DestinationIn(Family::V4, "learn_v4".into()),
                T::Protocol(Protocol::Tcp),
                T::Counter,
                T::Reject(Rejection::Reset),
            ],
        ),
        rule("blocked", vec![T::Limit { rate: 20, burst: 50 }, log("BLOCKED: ")]),
        rule("rest", vec![T::Counter, T::Reject(Rejection::Prohibited)]),
    ]
}

pub fn table() -> Table {
    let set = |name: &str, family, kind, elements| Set { name: name.to_owned(), family, kind, elements };
    let ranges = |texts: &[&str]| texts.iter().map(|text| Element::new(prefix(text))).collect::<Vec<_>>();
    let budget = Element { quota: Some("web".into()), ..Element::new(prefix("203.0.113.0/24")) };
    Table {
        name: "terok_shield".into(),
        comment: "0123456789ab".into(),
        quotas: vec![Quota { name: "web".into(), bytes: 4096 }, Quota { name: "direct_udp".into(), bytes: 1 << 30 }],
        sets: vec![
            set("deny_v6", Family::V6, SetKind::Interval, ranges(&["2001:db8:1::/48", "ffff::/16"])),
            set("private_v4", Family::V4, SetKind::Interval, ranges(&["0.0.0.0/8", "10.0.0.0/8", "224.0.0.0/3"])),
            set("learn_v4", Family::V4, timed(), vec![Element::named(address("198.51.100.7"), "good.test")]),
            set("budget_v4", Family::V4, SetKind::QuotaMap, vec![budget]),
        ],
        chains: vec![
            Chain {
                name: "steer".into(),
                hook: Hook::Steer,
                accepts: true,
                rules: vec![rule(
                    "names",
                    vec![
                        Term::Protocol(Protocol::Tcp),
                        Term::DestinationIn(Family::V4, "learn_v4".into()),
                        Term::Redirect(9416),
                    ],
                )],
            },
            Chain { name: "output".into(), hook: Hook::Output, accepts: false, rules: output_rules() },
            Chain {
                name: "input".into(),
                hook: Hook::Input,
                accepts: false,
                rules: vec![rule("loopback", vec![Term::InputLoopback, Term::Accept])],
            },
        ],
    }
}
