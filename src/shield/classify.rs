//! Reads the state from the kernel's rules, by comparing them with the rules of every state.

use terok_nft::{ElementImage, Image, Ruleset, differences};

use crate::address::is_private;
use crate::name::Name;
use crate::policy::{NameVerdict, Policy};
use crate::ruleset::{Dynamic, TABLE, build};
use crate::state::ShieldState;

/// The state whose rules the kernel has, and whether they hold undecided connections.
///
/// [`ShieldState::Error`] comes with the differences to the state that differs least.
pub fn classify(policy: &Policy, found: &Ruleset) -> (ShieldState, bool, Vec<String>) {
    if found.tables.is_empty() {
        return (ShieldState::Offline, false, Vec::new());
    }
    let mut nearest: Option<Vec<String>> = None;
    for state in ShieldState::WITH_RULES {
        for hold in [true, false] {
            let dynamic = Dynamic { hold, ..Dynamic::default() };
            let Some(table) = build(policy, state, &dynamic) else { continue };
            let differing =
                differences(&Image::of(&table), found, |set, element| element_is_known(policy, state, set, element));
            if differing.is_empty() {
                return (state, hold && state == ShieldState::Up, differing);
            }
            if nearest.as_ref().is_none_or(|best| differing.len() < best.len()) {
                nearest = Some(differing);
            }
        }
    }
    (ShieldState::Error, false, nearest.unwrap_or_else(|| vec![format!("table `{TABLE}` is missing")]))
}

/// True when an element of an expiring set is one that the policy can have put there.
///
/// A learned address has the name that opened it, which must still be allowed (or, with the firewall down, not
/// denied), and is never private. A refused address may be any.
pub fn element_is_known(policy: &Policy, state: ShieldState, set: &str, element: &ElementImage) -> bool {
    let Some(address) = element.address() else { return false };
    if !set.starts_with("learn") {
        return true;
    }
    let Some(comment) = element.comment() else { return false };
    // Of a name that is longer than a comment, the comment has the end.
    let name = Name::parse(comment.strip_prefix('~').unwrap_or(&comment));
    let known = name.is_ok_and(|name| match policy.judge_name(&name) {
        NameVerdict::Allowed(_) => true,
        NameVerdict::Denied(_) => false,
        NameVerdict::Undecided => state != ShieldState::Up,
    });
    known && !is_private(address)
}
