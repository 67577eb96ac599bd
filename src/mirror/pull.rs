//! One synchronisation of a mirror with its upstream.
//!
//! Invariants: `refs/heads/` and `refs/tags/` are only added to or moved forward; what the upstream deleted or rewound
//! stays; an old state of the upstream that nothing else names is kept before it is replaced; every change is
//! compare-and-swap, so a push at the same time is never undone.

use std::path::Path;

use crate::fault::MirrorError;
use crate::git::Git;
use crate::hold::Listener;
use crate::ledger::{self, Transaction};
use crate::refs::{self, Reference, UPSTREAM};
use crate::upstream::{Listing, Upstream};
use crate::{backup, config, heal, objects};

/// Rounds in which pushes at the same time may get in our way.
const ROUNDS: usize = 5;
/// From so many packs on they are put together.
const PACKS: usize = 40;
/// From so many changed references on they are packed.
const LOOSE: usize = 500;

/// What a synchronisation did beyond its result.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// References that were created or moved forward.
    pub updated: Vec<String>,
    /// References that stay although the upstream has something else, and why.
    pub left: Vec<(String, &'static str)>,
    /// Old states of the upstream that are kept now.
    pub kept: Vec<String>,
    /// Lock files of dead processes that went.
    pub freed: Vec<String>,
}

/// Synchronises; the caller holds the mirror's lock. `branches` restricts which branches are touched.
///
/// # Errors
/// [`MirrorError`]; the mirror is as good as before, and the next synchronisation goes on from there.
pub fn pull(
    mirror: &Path,
    upstream: &Upstream,
    branches: Option<&[String]>,
    listener: Listener<'_>,
) -> Result<Pulled, MirrorError> {
    let freed = heal::clean(mirror).iter().map(|lock| lock.display().to_string()).collect();
    let mut report = Pulled { freed, ..Pulled::default() };
    config::write(mirror, Some(upstream.address.plain()))?;
    // A mirror of an earlier version: what it has by now counts as the upstream's.
    objects::record(mirror)?;
    let listing = upstream.list(listener)?;
    take(mirror, upstream, &listing, branches, &mut report, listener)?;
    maintain(mirror, report.updated.len());
    Ok(report)
}

/// Fills a mirror that nobody sees yet.
///
/// # Errors
/// [`MirrorError`]; the mirror is to be thrown away.
pub(crate) fn fill(
    young: &Path,
    upstream: &Upstream,
    listing: &Listing,
    listener: Listener<'_>,
) -> Result<(), MirrorError> {
    config::write_young(young, Some(upstream.address.plain()))?;
    take(young, upstream, listing, None, &mut Pulled::default(), listener)?;
    Git::at(young, ["pack-refs", "--all"]).succeed("pack the references").map(drop)
}

fn take(
    mirror: &Path,
    upstream: &Upstream,
    listing: &Listing,
    branches: Option<&[String]>,
    report: &mut Pulled,
    listener: Listener<'_>,
) -> Result<(), MirrorError> {
    absorb(mirror, upstream, listing, report, listener)?;
    offer(mirror, branches, report)?;
    settle_head(mirror, listing.head.as_deref())
}

/// Takes over the upstream's references into the private namespace.
fn absorb(
    mirror: &Path,
    upstream: &Upstream,
    listing: &Listing,
    report: &mut Pulled,
    listener: Listener<'_>,
) -> Result<(), MirrorError> {
    let before = ledger::read(mirror, &[UPSTREAM])?;
    if listing.equals(&before) {
        return Ok(());
    }
    let ids: Vec<&str> = before.iter().map(|r| r.id.as_str()).collect();
    let nameless = ledger::unreachable(mirror, &ids)?;
    let threatened: Vec<Reference> = before.into_iter().filter(|r| nameless.contains(&r.id)).collect();
    backup::keep(mirror, &threatened)?;
    let mut round = 0;
    while let Err(error) = upstream.fetch(mirror, listener) {
        round += 1;
        let locked = matches!(&error, MirrorError::Git { complaint, .. } if complaint.contains(".lock") || complaint.contains("lock ref"));
        if !locked || round >= ROUNDS {
            return Err(error);
        }
        make_way(mirror, round, report);
    }
    backup::relax(mirror, &threatened)?;
    for tip in &threatened {
        let name = refs::backup(&tip.name, &tip.id);
        if ledger::tip(mirror, &String::from_utf8_lossy(&name))?.is_some() {
            report.kept.push(Reference::new(name, "").shown());
        }
    }
    Ok(())
}

/// Waits for pushes to end, and frees what dead processes hold.
fn make_way(mirror: &Path, round: usize, report: &mut Pulled) {
    std::thread::sleep(std::time::Duration::from_millis(50 << round));
    report.freed.extend(heal::clean(mirror).iter().map(|lock| lock.display().to_string()));
}

/// What is to be done about one of the upstream's references.
enum Step {
    Create,
    Advance(String),
    Leave(&'static str),
    Nothing,
}

/// Lets containers see what the upstream has, as far as that adds to what they see.
fn offer(mirror: &Path, branches: Option<&[String]>, report: &mut Pulled) -> Result<(), MirrorError> {
    for round in 0..ROUNDS {
        let theirs = ledger::read(mirror, &[UPSTREAM])?;
        let ours = ledger::read(mirror, &["refs/heads", "refs/tags"])?;
        report.left.clear();
        let mut steps = Vec::new();
        for their in &theirs {
            let Some(name) = refs::offered(&their.name) else {
                report.left.push((their.shown(), "its name is not offered to containers"));
                continue;
            };
            if !wanted(&name, branches) {
                continue;
            }
            let ours = ours.binary_search_by(|our| our.name.cmp(&name)).ok().map(|at| &ours[at]);
            match decide(mirror, &name, &their.id, ours)? {
                Step::Leave(why) => report.left.push((Reference::new(name, "").shown(), why)),
                Step::Nothing => {}
                step => steps.push((Reference::new(name, their.id.clone()), step)),
            }
        }
        if apply(mirror, &steps, round + 1 == ROUNDS, report)? {
            return Ok(());
        }
        make_way(mirror, round, report);
    }
    Ok(())
}

fn wanted(name: &[u8], branches: Option<&[String]>) -> bool {
    let (Some(branches), Some(branch)) = (branches, name.strip_prefix(refs::HEADS.as_bytes())) else { return true };
    branches.iter().any(|wanted| wanted.as_bytes() == branch)
}

fn decide(mirror: &Path, name: &[u8], their: &str, ours: Option<&Reference>) -> Result<Step, MirrorError> {
    let Some(ours) = ours else { return Ok(Step::Create) };
    if ours.id == their {
        return Ok(Step::Nothing);
    }
    if name.starts_with(refs::TAGS.as_bytes()) {
        return Ok(Step::Leave("the upstream's tag of this name is another one"));
    }
    if ledger::contains(mirror, their, &ours.id)? {
        return Ok(Step::Advance(ours.id.clone()));
    }
    Ok(match ledger::contains(mirror, &ours.id, their)? {
        true => Step::Nothing,
        false => Step::Leave("it has commits that the upstream has not"),
    })
}

/// Applies all steps at once, or each for itself when that fails; false when it is worth looking again.
fn apply(mirror: &Path, steps: &[(Reference, Step)], last: bool, report: &mut Pulled) -> Result<bool, MirrorError> {
    const REASON: &str = "terok: from upstream";
    let add = |change: &mut Transaction, target: &Reference, step: &Step| match step {
        Step::Create => change.create(&target.name, &target.id),
        Step::Advance(old) => change.advance(&target.name, &target.id, old),
        Step::Leave(_) | Step::Nothing => {}
    };
    let mut all = Transaction::default();
    steps.iter().for_each(|(target, step)| add(&mut all, target, step));
    match all.commit(mirror, REASON) {
        Ok(()) => {
            report.updated.extend(steps.iter().map(|(target, _)| target.shown()));
            return Ok(true);
        }
        Err(MirrorError::Git { .. }) => {}
        Err(other) => return Err(other),
    }
    let mut settled = true;
    for (target, step) in steps {
        let mut one = Transaction::default();
        add(&mut one, target, step);
        match one.commit(mirror, REASON) {
            Ok(()) => report.updated.push(target.shown()),
            Err(MirrorError::Git { complaint, .. }) => {
                tracing::debug!(reference = target.shown(), complaint, "not taken over");
                let blocked = complaint.contains("exists; cannot create");
                if blocked || last {
                    let why =
                        if blocked { "another name is in its way" } else { "it is being changed by somebody else" };
                    report.left.push((target.shown(), why));
                }
                settled &= blocked;
            }
            Err(other) => return Err(other),
        }
    }
    Ok(settled)
}

/// Lets `HEAD` stand for the upstream's branch, or for the only one there is.
pub(crate) fn settle_head(mirror: &Path, wanted: Option<&[u8]>) -> Result<(), MirrorError> {
    let heads = ledger::read(mirror, &["refs/heads"])?;
    let known = |name: &[u8]| heads.iter().any(|head| head.name == name);
    let now = Git::at(mirror, ["symbolic-ref", "--quiet", "HEAD"]).run()?.stdout;
    let now = now.strip_suffix(b"\n").unwrap_or(&now);
    let target = match wanted.filter(|wanted| known(wanted)) {
        Some(wanted) => wanted,
        None if known(now) => return Ok(()),
        None => match &heads[..] {
            [only] => &only.name,
            _ => return Ok(()),
        },
    };
    let (Ok(target), true) = (std::str::from_utf8(target), target != now) else { return Ok(()) };
    let words = ["symbolic-ref", "-m", "terok: the upstream's default branch", "HEAD", target];
    let git = Git::at(mirror, words).setting("user.name", "terok").setting("user.email", "terok@localhost");
    git.succeed("point HEAD at the default branch").map(drop)
}

/// Keeps a mirror quick without ever dropping an object. Nothing here is needed, so nothing here fails.
fn maintain(mirror: &Path, changed: usize) {
    let attempt = |words: &[&str]| match Git::at(mirror, words).run() {
        Ok(output) if output.ok() => {}
        Ok(output) => tracing::warn!(mirror = %mirror.display(), "git {}: {}", words[0], output.complaint()),
        Err(error) => tracing::warn!(mirror = %mirror.display(), "git {}: {error}", words[0]),
    };
    let packs = std::fs::read_dir(mirror.join("objects/pack")).map_or(0, |entries| {
        entries.flatten().filter(|entry| entry.path().extension().is_some_and(|ending| ending == "pack")).count()
    });
    if packs >= PACKS {
        // Geometric: puts packs together as they are, with the objects that nothing reaches.
        attempt(&["repack", "--geometric=2", "-d", "-q"]);
        attempt(&["commit-graph", "write", "--reachable", "--no-progress"]);
    }
    if changed >= LOOSE {
        attempt(&["pack-refs", "--all"]);
    }
}
