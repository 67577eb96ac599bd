//! The text of a table, in the language of the nft program.
//!
//! For reading only: nothing of ours ever loads it. It is still exact, so that nft loads the very rules we send.

use std::fmt::Write as _;

use crate::expression::Rejection;
use crate::model::{Chain, Element, Family, Hook, Rule, Set, SetKind, State, Table, Term};

/// Renders a table.
pub fn table(table: &Table) -> String {
    let mut out = format!("table inet {} {{\n", table.name);
    if !table.comment.is_empty() {
        let _ = writeln!(out, "\tcomment {}", quoted(&table.comment));
    }
    for quota in &table.quotas {
        let _ = writeln!(out, "\n\tquota {} {{\n\t\tover {} bytes\n\t}}", quota.name, quota.bytes);
    }
    for set in &table.sets {
        out.push('\n');
        render_set(set, &mut out);
    }
    for chain in &table.chains {
        out.push('\n');
        render_chain(chain, &mut out);
    }
    out.push_str("}\n");
    out
}

/// Quotes a text for nft, which knows no escapes: characters that would end the text are left out.
fn quoted(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !c.is_control() && *c != '"').collect();
    format!("\"{kept}\"")
}

fn render_set(set: &Set, out: &mut String) {
    let key = if set.family == Family::V4 { "ipv4_addr" } else { "ipv6_addr" };
    let map = set.kind == SetKind::QuotaMap;
    let _ = writeln!(out, "\t{} {} {{", if map { "map" } else { "set" }, set.name);
    let _ = writeln!(out, "\t\ttype {key}{}", if map { " : quota" } else { "" });
    match set.kind {
        SetKind::Timed { timeout, size } => {
            let seconds = timeout.as_secs();
            let _ = writeln!(out, "\t\tsize {size}\n\t\tflags timeout\n\t\ttimeout {seconds}s");
        }
        SetKind::Interval | SetKind::QuotaMap => out.push_str("\t\tflags interval\n"),
    }
    if !set.elements.is_empty() {
        let elements: Vec<String> = set.elements.iter().map(element).collect();
        let _ = writeln!(out, "\t\telements = {{ {} }}", elements.join(",\n\t\t\t     "));
    }
    out.push_str("\t}\n");
}

fn element(element: &Element) -> String {
    let mut text = element.range.to_string();
    if let Some(comment) = &element.comment {
        let _ = write!(text, " comment {}", quoted(comment));
    }
    if let Some(quota) = &element.quota {
        let _ = write!(text, " : {}", quoted(quota));
    }
    text
}

fn render_chain(chain: &Chain, out: &mut String) {
    let hook = match chain.hook {
        Hook::Input => "type filter hook input priority filter",
        Hook::Output => "type filter hook output priority filter",
        Hook::Steer => "type nat hook output priority -100",
    };
    let policy = if chain.accepts { "accept" } else { "drop" };
    let _ = writeln!(out, "\tchain {} {{\n\t\t{hook}; policy {policy};", chain.name);
    for rule in &chain.rules {
        let _ = writeln!(out, "\t\t{}", rule_text(rule));
    }
    out.push_str("\t}\n");
}

/// Renders one rule with its name as comment.
pub fn rule_text(rule: &Rule) -> String {
    let mut words: Vec<String> = Vec::with_capacity(rule.terms.len() + 1);
    let mut protocol = "th";
    for term in &rule.terms {
        if let Term::Protocol(known) = term {
            protocol = known.name();
        }
        words.push(term_text(term, protocol));
    }
    if !rule.name.is_empty() {
        words.push(format!("comment {}", quoted(&rule.name)));
    }
    words.join(" ")
}

fn term_text(term: &Term, protocol: &str) -> String {
    let ip = |family: Family| if family == Family::V4 { "ip" } else { "ip6" };
    match term {
        Term::OutputLoopback => "oifname \"lo\"".to_owned(),
        Term::InputLoopback => "iifname \"lo\"".to_owned(),
        Term::Family(family) => format!("meta nfproto ip{}", family.suffix()),
        Term::Protocol(protocol) => format!("meta l4proto {}", protocol.name()),
        Term::Destination(address) => format!("{} daddr {address}", ip(Family::of(*address))),
        Term::DestinationIn(family, set) => format!("{} daddr @{set}", ip(*family)),
        Term::DestinationPort(port) => format!("{protocol} dport {port}"),
        Term::SourcePort(port) => format!("{protocol} sport {port}"),
        Term::Icmp6Type(first, last) => format!("icmpv6 type >= {first} icmpv6 type <= {last}"),
        Term::HopLimit(limit) => format!("ip6 hoplimit {limit}"),
        Term::State(State::New) => "ct state new".to_owned(),
        Term::State(State::Known) => "ct state established,related".to_owned(),
        Term::Reply => "ct direction reply".to_owned(),
        Term::Limit { rate, burst } => format!("limit rate {rate}/second burst {burst} packets"),
        Term::QuotaSpent(family, map) => format!("quota name {} daddr map @{map}", ip(*family)),
        Term::NamedQuotaSpent(name) => format!("quota name {}", quoted(name)),
        Term::Log { group, prefix, snaplen } => {
            format!("log prefix {} group {group} snaplen {snaplen}", quoted(prefix))
        }
        Term::Counter => "counter".to_owned(),
        Term::Accept => "accept".to_owned(),
        Term::Drop => "drop".to_owned(),
        Term::Reject(Rejection::Prohibited) => "reject with icmpx admin-prohibited".to_owned(),
        Term::Reject(Rejection::Reset) => "reject with tcp reset".to_owned(),
        Term::Redirect(port) => format!("redirect to :{port}"),
    }
}
