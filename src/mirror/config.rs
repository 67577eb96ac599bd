//! The configuration of a mirror: nothing in it ever removes an object, and whoever pushes without keeping the old tips
//! first can only add.
//!
//! Invariants: written before the mirror can be seen, and again by every synchronisation, which also turns the catch-all
//! configuration of `git clone --mirror` into ours without touching a reference.

use std::path::Path;

use crate::fault::MirrorError;
use crate::git::Git;

/// What a mirror's own configuration says.
///
/// Objects are never collected: a tip that nobody names any more may be the only copy of somebody's work. Loose objects
/// are synchronised to the disk like packs, because a push is small enough to arrive as loose objects.
const SETTINGS: &[(&str, &str)] = &[
    ("core.bare", "true"),
    ("core.hooksPath", "/dev/null"),
    ("core.logAllRefUpdates", "always"),
    ("core.fsync", "all"),
    ("core.fsyncMethod", "batch"),
    ("gc.auto", "0"),
    ("gc.pruneExpire", "never"),
    ("gc.reflogExpire", "never"),
    ("gc.reflogExpireUnreachable", "never"),
    ("maintenance.auto", "false"),
    ("receive.autogc", "false"),
    ("receive.fsckObjects", "true"),
    ("receive.denyDeletes", "true"),
    ("receive.denyNonFastForwards", "true"),
    ("receive.denyDeleteCurrent", "true"),
    ("transfer.hideRefs", crate::refs::PRIVATE),
    ("http.receivepack", "true"),
];

/// What a server sets on top when it has kept the old tips ([`crate::backup::keep`]) before it lets git run.
pub const AFTER_KEEPING: &[(&str, &str)] =
    &[("receive.denyDeletes", "false"), ("receive.denyNonFastForwards", "false")];

/// Fetches by hand end in our namespace, also those of programs that know the remote `origin` only.
pub(crate) const FETCH: &[&str] =
    &["+refs/heads/*:refs/terok/upstream/heads/*", "+refs/tags/*:refs/terok/upstream/tags/*"];

/// Writes the configuration; `address` is the upstream's, without a password.
///
/// # Errors
/// [`MirrorError`].
pub fn write(mirror: &Path, address: Option<&str>) -> Result<(), MirrorError> {
    let present =
        Git::at(mirror, ["config", "--local", "--null", "--list"]).succeed("read the mirror's configuration")?;
    let present: Vec<(String, String)> = present.text().split('\0').filter_map(entry).collect();
    let values = |key: &str| -> Vec<&str> {
        present.iter().filter(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v.as_str()).collect()
    };
    for (key, value) in SETTINGS {
        if values(key) != [*value] {
            set(mirror, &["--replace-all", key, value])?;
        }
    }
    if !values("remote.origin.mirror").is_empty() {
        set(mirror, &["--unset-all", "remote.origin.mirror"])?;
    }
    let Some(address) = address else { return Ok(()) };
    if values("remote.origin.url") != [address] {
        set(mirror, &["--replace-all", "remote.origin.url", address])?;
    }
    if values("remote.origin.tagOpt") != ["--no-tags"] {
        set(mirror, &["--replace-all", "remote.origin.tagOpt", "--no-tags"])?;
    }
    if values("remote.origin.fetch") != FETCH {
        set(mirror, &["--replace-all", "remote.origin.fetch", FETCH[0]])?;
        set(mirror, &["--add", "remote.origin.fetch", FETCH[1]])?;
    }
    Ok(())
}

fn entry(line: &str) -> Option<(String, String)> {
    if line.is_empty() {
        return None;
    }
    // A key without a value means true.
    let (key, value) = line.split_once('\n').unwrap_or((line, "true"));
    Some((key.to_owned(), value.to_owned()))
}

fn set(mirror: &Path, words: &[&str]) -> Result<(), MirrorError> {
    let all = ["config", "--local"].iter().chain(words);
    Git::at(mirror, all).succeed("write the mirror's configuration").map(drop)
}
