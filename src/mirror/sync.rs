//! What callers ask of a mirror as a whole, each under its lock.

use std::path::Path;

use crate::backup;
use crate::fault::MirrorError;
use crate::hold::{self, Listener};
use crate::ledger;
use crate::pull::{self, Pulled};
use crate::refs::{self, HEADS, UPSTREAM};
use crate::upstream::Upstream;

/// Brings a mirror up to date with its upstream.
///
/// # Errors
/// [`MirrorError`]; [`crate::error_text`] words it for a result.
pub fn synchronise(
    mirror: &Path,
    upstream: &Upstream,
    branches: Option<&[String]>,
    listener: Listener<'_>,
) -> Result<Pulled, MirrorError> {
    let _lock = hold::hold(mirror, listener)?;
    if !mirror.is_dir() {
        return Err(MirrorError::Missing(mirror.to_owned()));
    }
    let report = pull::pull(mirror, upstream, branches, listener)?;
    for (name, why) in &report.left {
        tracing::info!(mirror = %mirror.display(), name, why, "left as it is");
    }
    for name in report.kept.iter().chain(&report.freed) {
        tracing::warn!(mirror = %mirror.display(), name, "kept or freed");
    }
    Ok(report)
}

/// Makes branches what the upstream had at the last synchronisation: rewinds those that were rewound there, removes those
/// that are gone there. Their present tips are kept. To be called only for branches that a person named.
///
/// # Errors
/// [`MirrorError`]; branches before the failing one have been moved.
pub fn follow(mirror: &Path, branches: &[String]) -> Result<(), MirrorError> {
    if !mirror.is_dir() {
        return Err(MirrorError::Missing(mirror.to_owned()));
    }
    let _lock = hold::hold(mirror, &mut |_| true)?;
    if let Some(bad) = branches.iter().find(|branch| !refs::is_branch(branch)) {
        return Err(MirrorError::Branch(bad.clone()));
    }
    let known = ledger::read(mirror, &[UPSTREAM, "refs/heads"])?;
    let id = |name: &str| known.iter().find(|found| found.name == name.as_bytes()).map(|found| found.id.as_str());
    for branch in branches {
        let (here, there) = (format!("{HEADS}{branch}"), format!("{UPSTREAM}/heads/{branch}"));
        if id(&here).is_none() && id(&there).is_none() {
            return Err(MirrorError::Branch(branch.clone()));
        }
        if id(&here) != id(&there) {
            backup::move_branch(mirror, here.as_bytes(), id(&there), "terok: as the upstream")?;
        }
    }
    Ok(())
}
