//! Compares what the kernel holds with what was meant, part by part.
//!
//! Equal means: our table and nothing else, the same comment, quotas, sets, chains, policies and rules in the same
//! order. Counters, handles, consumed quotas and remaining life times are not compared. Elements that expire are
//! compared by what they may be, because they come and go.

use std::collections::BTreeSet;

use crate::constant as k;
use crate::dump::Ruleset;
use crate::image::{ChainImage, ElementImage, Image, SetImage};

/// Bits of a quota that say how it is, not what it is.
const QUOTA_KIND: u32 = k::QUOTA_FLAG_OVER;

/// Lists the differences between the model's image and a dump; none when the kernel holds exactly the model.
///
/// `known` says whether an element of an expiring set is one that the policy allows.
pub fn differences(expected: &Image, found: &Ruleset, known: impl Fn(&str, &ElementImage) -> bool) -> Vec<String> {
    let mut out = Vec::new();
    let Some(ours) = found.table(&expected.name) else {
        return vec![format!("table `{}` is missing", expected.name)];
    };
    for table in found.tables.iter().filter(|table| !std::ptr::eq(*table, ours)) {
        out.push(format!("table `{}` of family {} is not ours", table.name, table.family));
    }
    if (ours.flags, &ours.userdata) != (expected.flags, &expected.userdata) {
        out.push(format!("table `{}` has other flags or another comment", ours.name));
    }
    compare_quotas(expected, ours, &mut out);
    compare_sets(expected, ours, known, &mut out);
    compare_chains(expected, ours, &mut out);
    out
}

fn compare_quotas(expected: &Image, found: &Image, out: &mut Vec<String>) {
    let facts = |image: &Image| -> BTreeSet<(String, u64, u32)> {
        image.quotas.iter().map(|quota| (quota.name.clone(), quota.bytes, quota.flags & QUOTA_KIND)).collect()
    };
    let (wanted, real) = (facts(expected), facts(found));
    out.extend(wanted.difference(&real).map(|(name, ..)| format!("quota `{name}` is missing or differs")));
    out.extend(real.difference(&wanted).map(|(name, ..)| format!("quota `{name}` is not ours")));
    out.extend(found.foreign_objects.iter().map(|name| format!("object `{name}` is not ours")));
}

fn compare_sets(expected: &Image, found: &Image, known: impl Fn(&str, &ElementImage) -> bool, out: &mut Vec<String>) {
    for set in found.sets.iter().filter(|set| expected.set(&set.name).is_none()) {
        out.push(format!("set `{}` is not ours", set.name));
    }
    for set in &expected.sets {
        let Some(real) = found.set(&set.name) else {
            out.push(format!("set `{}` is missing", set.name));
            continue;
        };
        if description(set) != description(real) {
            out.push(format!("set `{}` is of another kind", set.name));
        } else if set.is_dynamic() {
            let strange = real.elements.iter().filter(|element| element.foreign || !known(&set.name, element));
            out.extend(strange.map(|element| format!("set `{}` has {}", set.name, describe(element))));
        } else {
            compare_elements(set, real, out);
        }
    }
}

fn description(set: &SetImage) -> (u32, u32, u32, u64, u32, u32) {
    // The kernel reports no size for a set that was made without one.
    (set.flags, set.key_type, set.key_length, set.timeout, set.size, set.object_type)
}

fn compare_elements(expected: &SetImage, found: &SetImage, out: &mut Vec<String>) {
    let facts = |set: &SetImage| -> BTreeSet<_> { set.elements.iter().map(element_facts).collect() };
    let (wanted, real) = (facts(expected), facts(found));
    if expected.elements.len() != found.elements.len() && wanted == real {
        out.push(format!("set `{}` has an element twice", expected.name));
    }
    for (elements, other, what) in [(expected, &real, "lacks"), (found, &wanted, "has")] {
        for element in elements.elements.iter().filter(|element| !other.contains(&element_facts(element))) {
            out.push(format!("set `{}` {what} {}", expected.name, describe(element)));
        }
    }
}

type ElementFacts = (Vec<u8>, u32, Vec<u8>, Option<String>, bool, Option<u64>);

fn element_facts(element: &ElementImage) -> ElementFacts {
    let ElementImage { key, flags, userdata, object, foreign, timeout, .. } = element.clone();
    (key, flags, userdata, object, foreign, timeout)
}

fn describe(element: &ElementImage) -> String {
    let address = element.address().map_or_else(|| format!("{:02x?}", element.key), |address| address.to_string());
    let end = if element.is_end() { " (end of a range)" } else { "" };
    format!("element {address}{end}")
}

fn compare_chains(expected: &Image, found: &Image, out: &mut Vec<String>) {
    for chain in found.chains.iter().filter(|chain| expected.chain(&chain.name).is_none()) {
        out.push(format!("chain `{}` is not ours", chain.name));
    }
    for chain in &expected.chains {
        match found.chain(&chain.name) {
            None => out.push(format!("chain `{}` is missing", chain.name)),
            Some(real) => compare_chain(chain, real, out),
        }
    }
}

fn compare_chain(expected: &ChainImage, found: &ChainImage, out: &mut Vec<String>) {
    if expected.base != found.base {
        out.push(format!("chain `{}` has another hook, priority or policy", expected.name));
    }
    if expected.rules.len() != found.rules.len() {
        let (wanted, real) = (expected.rules.len(), found.rules.len());
        out.push(format!("chain `{}` has {real} rules instead of {wanted}", expected.name));
    }
    for (at, (wanted, real)) in expected.rules.iter().zip(&found.rules).enumerate() {
        if wanted.expressions != real.expressions || wanted.userdata != real.userdata {
            let name = wanted.name().unwrap_or_default();
            out.push(format!("rule {} of chain `{}` is not `{name}`", at + 1, expected.name));
            return;
        }
    }
}
