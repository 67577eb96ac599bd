//! `terok-supervisor shield VERB`: looks at or changes a container's firewall from outside, without its supervisor.
//!
//! Files and rules change under the lock that the supervisor's worker respects; it takes over what it finds. Quarantine
//! needs no file, no lock and no policy: only the process.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use base::fault::Fault;
use serde_json::{Value, json};
use terok_nft::{
    Element, Family, Firewall, Image, NetworkNamespace, Range, destroy_outward_sockets, differences, render,
};
use terok_shield_policy::audit::{self, AuditLine};
use terok_shield_policy::directory::{StateDirectory, file};
use terok_shield_policy::ruleset::{Dynamic, TABLE, build, quarantine, set_name};
use terok_shield_policy::{Policy, ShieldState, Target, classify, element_is_known, explain};

use crate::container::Init;

const USAGE: &str = "\
usage: terok-supervisor shield VERB --state-dir DIR [--pid PID] [--json]

  state                 the state that the kernel's rules have
  up | down [--all]     change the state; --all opens private space too
  quarantine            let nothing pass any more; needs --pid or --state-dir
  rules                 the rules, as text
  verify                compare the kernel's rules with the policy; status 1 when they differ
  explain HOST[:PORT]   what becomes of a connection, and why
";
const STATUS_USAGE: u8 = 2;

/// The words of a command line.
#[derive(Debug, Default, PartialEq)]
struct Order {
    verb: String,
    pid: Option<i32>,
    directory: Option<PathBuf>,
    json: bool,
    all: bool,
    target: Option<String>,
}

/// What a verb has to say: a text for people, and a value for programs.
struct Report {
    text: String,
    value: Value,
    code: u8,
}

/// Runs a verb; the exit status.
pub fn run(words: &[&str]) -> u8 {
    let order = match understand(words) {
        Ok(order) => order,
        Err(why) => {
            write_err(&format!("{why}\n{USAGE}"));
            return STATUS_USAGE;
        }
    };
    match carry_out(&order) {
        Ok(report) => {
            let text = if order.json { format!("{}\n", report.value) } else { report.text };
            if std::io::stdout().write_all(text.as_bytes()).is_err() { 1 } else { report.code }
        }
        Err(why) => {
            write_err(&format!("Error: {why}\n"));
            1
        }
    }
}

fn write_err(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn understand(words: &[&str]) -> Result<Order, String> {
    let mut order = Order::default();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().map(|word| (*word).to_owned()).ok_or(format!("`{word}` has no value"));
        match *word {
            "--pid" => order.pid = Some(value()?.parse().map_err(|_| "`--pid` is no process number".to_owned())?),
            "--state-dir" => order.directory = Some(value()?.into()),
            "--json" => order.json = true,
            "--all" => order.all = true,
            word if word.starts_with('-') => return Err(format!("`{word}` is not known")),
            word if order.verb.is_empty() => order.verb = word.to_owned(),
            word if order.verb == "explain" && order.target.is_none() => order.target = Some(word.to_owned()),
            word => return Err(format!("`{word}` is not known")),
        }
    }
    let verbs = ["state", "up", "down", "quarantine", "rules", "verify", "explain"];
    if !verbs.contains(&order.verb.as_str()) {
        return Err(format!("there is no verb `{}`", order.verb));
    }
    if order.directory.is_none() && (order.verb != "quarantine" || order.pid.is_none()) {
        return Err("`--state-dir` is missing".to_owned());
    }
    if (order.verb == "explain") != order.target.is_some() {
        return Err("`explain` has one host".to_owned());
    }
    Ok(order)
}

fn carry_out(order: &Order) -> Result<Report, String> {
    if order.verb == "quarantine" {
        return quarantine_container(order);
    }
    let path = order.directory.as_deref().unwrap_or(std::path::Path::new("/"));
    let directory = StateDirectory::open(path).map_err(explained)?;
    // Read before the namespace is entered, where the policy's files may look different.
    let (policy, _) = directory.policy().map_err(explained)?;
    let pid = process(order, Some(&directory))?;
    let _lock = directory.lock().map_err(explained)?;
    enter(pid)?;
    let mut firewall = Firewall::open(TABLE).map_err(explained)?;
    match order.verb.as_str() {
        "state" => look(&mut firewall, &policy, |state, _| Report {
            text: format!("{}\n", state.word()),
            value: json!({ "state": state.word() }),
            code: 0,
        }),
        "verify" => look(&mut firewall, &policy, |state, found| Report {
            text: verified(state, found),
            value: json!({ "state": state.word(), "differences": found }),
            code: u8::from(state == ShieldState::Error || state == ShieldState::Offline),
        }),
        "rules" => rules(&mut firewall, &policy),
        "explain" => why(&mut firewall, &policy, order.target.as_deref().unwrap_or_default()),
        verb => {
            let state = match (verb, order.all) {
                ("up", _) => ShieldState::Up,
                (_, true) => ShieldState::Disengaged,
                _ => ShieldState::Down,
            };
            change(&directory, &mut firewall, &policy, state)
        }
    }
}

/// The container's first process: as ordered, or as its supervisor noted it.
fn process(order: &Order, directory: Option<&StateDirectory>) -> Result<i32, String> {
    if let Some(pid) = order.pid {
        return Ok(pid);
    }
    let noted = directory.map(|directory| directory.text(file::INIT).map_err(explained)).transpose()?;
    let init = noted.and_then(|text| Init::parse(text.trim())).filter(|init| init.is_alive());
    init.map(|init| init.pid).ok_or_else(|| "the container is not running; give its process with `--pid`".to_owned())
}

fn enter(pid: i32) -> Result<(), String> {
    let network = NetworkNamespace::of_process(pid).map_err(explained)?;
    let own = NetworkNamespace::current().and_then(|own| own.is_same(&network)).map_err(explained)?;
    if own {
        return Err("the process has this host's own network".to_owned());
    }
    network.enter().map_err(explained)
}

fn look(
    firewall: &mut Firewall,
    policy: &Policy,
    report: impl FnOnce(ShieldState, &[String]) -> Report,
) -> Result<Report, String> {
    let found = firewall.read().map_err(explained)?;
    let (state, _, differences) = classify(policy, &found);
    Ok(report(state, &differences))
}

fn verified(state: ShieldState, found: &[String]) -> String {
    match state {
        ShieldState::Error => found.iter().map(|line| format!("{line}\n")).collect(),
        ShieldState::Offline => "there are no rules\n".to_owned(),
        state => format!("the rules are those of `{}`\n", state.word()),
    }
}

fn rules(firewall: &mut Firewall, policy: &Policy) -> Result<Report, String> {
    let found = firewall.read().map_err(explained)?;
    let (state, hold, differing) = classify(policy, &found);
    let dynamic = Dynamic { hold, ..kernel_elements(firewall, policy, state) };
    let text = match build(policy, state, &dynamic) {
        Some(table) => render::table(&table),
        None => verified(state, &differing),
    };
    let value = json!({ "state": state.word(), "rules": text, "differences": differing });
    Ok(Report { text: format!("State: {}\n{text}", state.word()), value, code: 0 })
}

fn why(firewall: &mut Firewall, policy: &Policy, target: &str) -> Result<Report, String> {
    let (target, port) = Target::parse_with_port(target).map_err(explained)?;
    let found = firewall.read().map_err(explained)?;
    let (state, hold, _) = classify(policy, &found);
    let dynamic = Dynamic { hold, ..kernel_elements(firewall, policy, state) };
    let told = explain(policy, state, &dynamic, &target, port);
    let mut text = format!("{target}:{port} is {}: {}\n", told.outcome.word(), told.reason);
    if let Some(hint) = &told.hint {
        text.push_str(&format!("hint: {hint}\n"));
    }
    let value = json!({
        "target": target.to_string(), "port": port, "state": state.word(), "outcome": told.outcome.word(),
        "rule": told.rule, "reason": told.reason, "hint": told.hint,
    });
    Ok(Report { text, value, code: 0 })
}

/// Learned and refused addresses that the kernel holds and that the policy knows.
fn kernel_elements(firewall: &mut Firewall, policy: &Policy, state: ShieldState) -> Dynamic {
    let mut dynamic = Dynamic::default();
    for family in Family::BOTH {
        for (kind, into) in [("learn", &mut dynamic.learned), ("refuse", &mut dynamic.refused)] {
            let set = set_name(kind, family);
            let found = firewall.elements(&set).unwrap_or_default();
            let known = found.iter().filter(|element| element_is_known(policy, state, &set, element));
            into.extend(known.filter_map(|element| {
                let range = Range::single(element.address()?);
                let expires = element.expires.map(std::time::Duration::from_millis);
                Some(Element { comment: element.comment(), expires, ..Element::new(range) })
            }));
        }
    }
    dynamic
}

fn change(
    directory: &StateDirectory,
    firewall: &mut Firewall,
    policy: &Policy,
    state: ShieldState,
) -> Result<Report, String> {
    let dynamic = kernel_elements(firewall, policy, state);
    directory.want_state(state).map_err(explained)?;
    let table = build(policy, state, &dynamic).ok_or("that state has no rules")?;
    apply(firewall, &Image::of(&table))?;
    let action = if state == ShieldState::Up { "shield_up" } else { "shield_down" };
    let detail = if state == ShieldState::Disengaged { "allow_all=True" } else { "" };
    note(directory, &policy.container, action, detail);
    Ok(done(state))
}

/// Applies rules and reads them back.
fn apply(firewall: &mut Firewall, image: &Image) -> Result<(), String> {
    firewall.apply(image).map_err(explained)?;
    let found = firewall.read().map_err(explained)?;
    let differing = differences(image, &found, |_, _| true);
    if differing.is_empty() { Ok(()) } else { Err(format!("the rules are not in force: {}", differing.join("; "))) }
}

fn quarantine_container(order: &Order) -> Result<Report, String> {
    let started = Instant::now();
    // Only to find the process and to note it afterwards: nothing of it decides anything.
    let directory = order.directory.as_deref().and_then(|path| StateDirectory::open(path).ok());
    let settings = directory.as_ref().and_then(|directory| directory.settings().ok());
    enter(process(order, directory.as_ref())?)?;
    let mut firewall = Firewall::open(TABLE).map_err(explained)?;
    apply(&mut firewall, &Image::of(&quarantine()))?;
    // Programs notice at once; the rules alone would let them hang. Kernels without the call keep to the rules.
    let ended = destroy_outward_sockets().unwrap_or_default();
    if let Some(directory) = directory {
        let _ = directory.want_state(ShieldState::Quarantine);
        let container = directory.text(file::CONTAINER).unwrap_or_default();
        if settings.is_none_or(|settings| settings.audit_enabled) {
            note(&directory, container.trim(), "shield_quarantine", "");
        }
    }
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let value = json!({ "state": "quarantine", "sockets_ended": ended, "micros": micros });
    Ok(Report { text: "quarantine\n".to_owned(), value, code: 0 })
}

fn note(directory: &StateDirectory, container: &str, action: &str, detail: &str) {
    let wanted = directory.settings().is_ok_and(|settings| settings.audit_enabled);
    if wanted {
        let line = AuditLine { detail: detail.to_owned(), ..AuditLine::new(container, action) };
        let _ = audit::append(directory, line);
    }
}

fn done(state: ShieldState) -> Report {
    Report { text: format!("{}\n", state.word()), value: json!({ "state": state.word() }), code: 0 }
}

fn explained(fault: impl Fault) -> String {
    base::fault::explain(&fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_or_refused() {
        let order = understand(&["explain", "--state-dir", "/s", "a.test:80", "--json"]).unwrap();
        assert_eq!((order.target.as_deref(), order.json, order.pid), (Some("a.test:80"), true, None));
        assert_eq!(understand(&["quarantine", "--pid", "7"]).unwrap().pid, Some(7));
        assert!(understand(&["down", "--all", "--state-dir", "/s"]).unwrap().all);
        for bad in [
            &[][..],
            &["state"],
            &["nothing", "--state-dir", "/s"],
            &["state", "--state-dir"],
            &["state", "--state-dir", "/s", "more"],
            &["explain", "--state-dir", "/s"],
            &["quarantine", "--pid", "x"],
            &["quarantine"],
            &["state", "--state-dir", "/s", "--other"],
        ] {
            assert!(understand(bad).is_err(), "{bad:?}");
        }
    }
}
