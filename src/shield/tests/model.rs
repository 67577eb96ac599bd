//! The rules against the oracle, and every mutation of them against packets made from the model.

mod policies;

use std::collections::BTreeSet;

use policies::{Random, image, overlapping, random_packet, random_policy, vectors};
use terok_nft::expression::{Comparison, Expression};
use terok_nft::{ElementImage, Image, Rejection, Ruleset, differences};
use terok_shield_policy::ShieldState;
use terok_shield_policy::interpret::{Trace, Verdict, run};
use terok_shield_policy::judge::{Decision, judge};
use terok_shield_policy::packet::Packet;
use terok_shield_policy::ruleset::{HOLD_RULE, quarantine};

const STATES: [ShieldState; 4] = [ShieldState::Up, ShieldState::Down, ShieldState::Disengaged, ShieldState::Quarantine];

/// What the oracle would say of a way through the rules.
fn decision(trace: &Trace) -> Decision {
    match (trace.steered, trace.verdict) {
        (Some(port), Verdict::Accept) => Decision::Steer(port),
        (_, Verdict::Accept) => Decision::Accept,
        (_, Verdict::Drop) if trace.rule.as_deref() == Some(HOLD_RULE) => Decision::Hold,
        (_, Verdict::Drop) => Decision::Discard,
        (_, Verdict::Reject(how)) => Decision::Refuse(how),
    }
}

// holds: firewall-oracle
#[test]
fn rules_do_what_the_oracle_says_for_a_hundred_thousand_packets() {
    let mut random = Random(0x7e40_c0de);
    let mut seen = BTreeSet::new();
    for round in 0..500 {
        let (policy, dynamic) = random_policy(&mut random);
        let state = random.pick(&STATES);
        let rules = image(&policy, state, &dynamic);
        for _ in 0..200 {
            let packet = random_packet(&mut random);
            let (expected, trace) = (judge(&policy, state, &dynamic, &packet), run(&rules, &packet));
            let found = (decision(&trace), trace.logs.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(found, (expected.decision, expected.logs.clone()), "round {round}, {packet:?}, {trace:?}");
            seen.insert(format!("{:?} {:?}", expected.decision, expected.logs));
        }
    }
    // Every kind of decision was among them.
    for kind in ["Accept []", "Steer(53)", "Steer(9416)", "Hold", "Discard", "Refuse(Reset)", "Refuse(Prohibited)"] {
        assert!(seen.iter().any(|text| text.starts_with(kind)), "{kind} was never decided: {seen:?}");
    }
    for log in ["BLOCKED", "DENIED", "PRIVATE", "ALLOWED", "BYPASS"] {
        assert!(seen.iter().any(|text| text.contains(log)), "{log} was never logged");
    }
}

/// One changed image with a description.
fn mutants(image: &Image) -> Vec<(String, Image)> {
    let mut out = Vec::new();
    for (c, chain) in image.chains.iter().enumerate() {
        let mut flipped = image.clone();
        let base = flipped.chains[c].base.as_mut().unwrap();
        base.policy ^= 1;
        out.push((format!("policy of {}", chain.name), flipped));
        for r in 0..chain.rules.len() {
            let name = chain.rules[r].name().unwrap();
            let mut removed = image.clone();
            removed.chains[c].rules.remove(r);
            out.push((format!("{}: {name} removed", chain.name), removed));
            if r + 1 < chain.rules.len() {
                let mut swapped = image.clone();
                swapped.chains[c].rules.swap(r, r + 1);
                out.push((format!("{}: {name} after the next", chain.name), swapped));
            }
            for e in 0..chain.rules[r].expressions.len() {
                if let Some(negated) = negate(&chain.rules[r].expressions[e]) {
                    let mut changed = image.clone();
                    changed.chains[c].rules[r].expressions[e] = negated;
                    out.push((format!("{}: {name}, step {e} negated", chain.name), changed));
                }
            }
        }
    }
    // A set that no rule of the state looks into decides nothing.
    let used = |name: &str| {
        let mut steps = image.chains.iter().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.expressions);
        steps.any(|step| matches!(step, Expression::Lookup { set, .. } | Expression::Quota { map: set } if set == name))
    };
    for (s, set) in image.sets.iter().enumerate().filter(|(_, set)| used(&set.name)) {
        for e in 0..set.elements.len() {
            let mut changed = image.clone();
            let removed = changed.sets[s].elements.remove(e);
            // Where a literal entry, a denial or private space decides first, what a name opened counts for nothing.
            let holds =
                |kind: &str| image.sets.iter().any(|set| set.name.starts_with(kind) && set.contains(&removed.key));
            let shadowed = set.is_dynamic() && ["allow", "deny", "private"].into_iter().any(holds);
            let shadow = if shadowed { SHADOWED } else { "" };
            out.push((format!("{}: {:?} removed{shadow}", set.name, removed.address()), changed));
        }
    }
    out
}

fn negate(expression: &Expression) -> Option<Expression> {
    Some(match expression {
        Expression::Compare(Comparison::Equal, value) => Expression::Compare(Comparison::Unequal, value.clone()),
        Expression::Compare(Comparison::Unequal, value) => Expression::Compare(Comparison::Equal, value.clone()),
        Expression::Compare(Comparison::AtMost, value) => Expression::Compare(Comparison::AtLeast, value.clone()),
        Expression::Compare(Comparison::AtLeast, value) => Expression::Compare(Comparison::AtMost, value.clone()),
        Expression::Lookup { set, inverted } => Expression::Lookup { set: set.clone(), inverted: !inverted },
        Expression::Accept => Expression::Drop,
        Expression::Drop => Expression::Accept,
        Expression::Reject(Rejection::Prohibited) => Expression::Reject(Rejection::Reset),
        Expression::Reject(Rejection::Reset) => Expression::Reject(Rejection::Prohibited),
        Expression::Load(value) => Expression::Load(value.iter().map(|byte| !byte).collect()),
        _ => return None,
    })
}

/// True when the two do the same to every packet.
fn are_alike(image: &Image, mutant: &Image, packets: &[Packet]) -> bool {
    packets.iter().all(|packet| run(image, packet) == run(mutant, packet))
}

// holds: firewall-mutation
#[test]
#[allow(clippy::print_stderr)]
fn vectors_notice_every_mutation_of_rules_elements_and_policies() {
    let (mut tried, mut survivors, mut equal) = (0, Vec::new(), 0);
    for (state, hold) in [
        (ShieldState::Up, true),
        (ShieldState::Up, false),
        (ShieldState::Down, false),
        (ShieldState::Disengaged, false),
        (ShieldState::Quarantine, false),
    ] {
        let (policy, dynamic) = overlapping(hold);
        let original = image(&policy, state, &dynamic);
        let packets = vectors(&original, &[3000, 3001]);
        let ways: Vec<Trace> = packets.iter().map(|packet| run(&original, packet)).collect();
        let found = |mutant: &Image| packets.iter().zip(&ways).any(|(packet, way)| &run(mutant, packet) != way);
        let mut everything = None;
        for (what, mutant) in mutants(&original) {
            tried += 1;
            let dump = Ruleset { generation: 1, tables: vec![mutant.clone()] };
            // Elements of expiring sets come and go; the policy, not the image, says which may be there.
            let dynamic_element = what.starts_with("learn") || what.starts_with("refuse");
            let known = |_: &str, _: &ElementImage| true;
            assert!(dynamic_element || !differences(&original, &dump, known).is_empty(), "read-back: {what}");
            if found(&mutant) {
                continue;
            }
            // Not noticed: it must be the same to every packet there is.
            let all = everything.get_or_insert_with(|| policies::class_packets(&original, &[3000, 3001]));
            if are_alike(&original, &mutant, all) && is_harmless(&what) {
                equal += 1;
            } else {
                survivors.push(format!("{} {what}", state.word()));
            }
        }
        eprintln!("{}: {} packets", state.word(), packets.len());
    }
    let noticed = tried - equal - survivors.len();
    eprintln!("figure: mutation: {noticed} of {} noticed, {equal} change nothing", tried - equal);
    assert!(survivors.is_empty(), "not noticed: {survivors:#?}");
}

/// Mutations that can be without effect: neighbours that no packet matches together, the policy of a chain whose last
/// rule decides about every packet (the read-back notices both), and shadowed elements.
fn is_harmless(what: &str) -> bool {
    what.ends_with("after the next") || what == "policy of output" || what.ends_with(SHADOWED)
}

const SHADOWED: &str = ", shadowed";

// holds: firewall-quarantine-constant
#[test]
fn quarantine_is_the_same_whatever_the_policy_says() {
    let mut random = Random(11);
    for _ in 0..100 {
        let (policy, dynamic) = random_policy(&mut random);
        assert_eq!(terok_shield_policy::ruleset::build(&policy, ShieldState::Quarantine, &dynamic), Some(quarantine()));
    }
}

// holds: firewall-no-established
#[test]
fn no_rule_accepts_a_packet_because_its_connection_is_established() {
    let mut random = Random(12);
    for _ in 0..20_000 {
        let (policy, dynamic) = random_policy(&mut random);
        let state = random.pick(&STATES);
        let rules = image(&policy, state, &dynamic);
        let mut packet = random_packet(&mut random);
        packet.direction = terok_shield_policy::packet::Direction::Output;
        packet.reply = false;
        packet.tracking = terok_shield_policy::packet::Tracking::New;
        let first = run(&rules, &packet);
        packet.tracking = terok_shield_policy::packet::Tracking::Established;
        let later = run(&rules, &packet);
        assert_eq!(
            (first.verdict, first.rule, first.steered),
            (later.verdict, later.rule, later.steered),
            "{packet:?}"
        );
    }
}
