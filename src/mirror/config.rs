//! The configuration of a mirror: nothing in it ever removes an object, and whoever pushes without keeping the old tips
//! first can only add.
//!
//! Invariants: written before the mirror can be seen, and again by every synchronisation, which also turns the catch-all
//! configuration of `git clone --mirror` into ours without touching a reference.

use std::path::Path;

use crate::fault::{MirrorError, io};
use crate::git::Git;

/// What a mirror's own configuration says.
///
/// Objects are never collected: a tip that nobody names any more may be the only copy of somebody's work. Loose objects
/// are synchronised to the disk like packs, because a push is small enough to arrive as loose objects.
const SETTINGS: &[(&str, &str)] = &[
    ("core.bare", "true"),
    ("core.hooksPath", "/dev/null"),
    ("core.logAllRefUpdates", "true"),
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

/// What a server sets on top when it keeps the old tips, as [`crate::backup::keep`] does, before it lets git run.
pub const AFTER_KEEPING: &[(&str, &str)] =
    &[("receive.denyDeletes", "false"), ("receive.denyNonFastForwards", "false")];

/// Fetches by hand end in our namespace, also those of programs that know the remote `origin` only.
pub(crate) const FETCH: &[&str] =
    &["+refs/heads/*:refs/terok/upstream/heads/*", "+refs/tags/*:refs/terok/upstream/tags/*"];

/// What a mirror in the making says instead: it is written to the disk once, when it is complete.
const IN_THE_MAKING: &[(&str, &str)] = &[("core.fsync", "none"), ("core.logAllRefUpdates", "false")];

/// Adds our configuration to that of a mirror which git has just made and nobody uses yet; [`write`] completes it.
///
/// # Errors
/// [`MirrorError::Io`].
pub(crate) fn begin(mirror: &Path) -> Result<(), MirrorError> {
    let file = mirror.join("config");
    let mut text = std::fs::read_to_string(&file).map_err(io("read", &file))?;
    for (key, value) in SETTINGS.iter().chain(IN_THE_MAKING) {
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        text.push_str(&format!("[{section}]\n\t{name} = {value}\n"));
    }
    std::fs::write(&file, text).map_err(io("write", &file))
}

/// Writes the configuration; `address` is the upstream's, without a password.
///
/// # Errors
/// [`MirrorError`].
pub fn write(mirror: &Path, address: Option<&str>) -> Result<(), MirrorError> {
    write_except(mirror, address, &[])
}

/// As [`write`], without the settings that a mirror in the making has for a while.
pub(crate) fn write_young(mirror: &Path, address: Option<&str>) -> Result<(), MirrorError> {
    write_except(mirror, address, IN_THE_MAKING)
}

fn write_except(mirror: &Path, address: Option<&str>, except: &[(&str, &str)]) -> Result<(), MirrorError> {
    let present =
        Git::at(mirror, ["config", "--local", "--null", "--list"]).succeed("read the mirror's configuration")?;
    let present: Vec<(String, String)> = present.text().split('\0').filter_map(entry).collect();
    let values = |key: &str| -> Vec<&str> {
        present.iter().filter(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v.as_str()).collect()
    };
    for (key, value) in SETTINGS.iter().filter(|(key, _)| !except.iter().any(|(name, _)| name == key)) {
        if values(key).last() != Some(value) {
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
