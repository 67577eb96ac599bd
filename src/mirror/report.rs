//! Tells what arrived in a mirror during a run, and how to look at it and take it.
//!
//! Invariants: branch names stay bytes until they are shown; shown names are cleaned and printed commands are quoted; a
//! printed command names references in full, so that no tag of the same name and no option is meant; the length of the
//! report does not depend on what a container pushes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use base::text::{clean_label, command_line};

use crate::fault::MirrorError;
use crate::git::Git;
use crate::refs::{HEADS, UPSTREAM};
use crate::{ledger, refs};

/// Most branches that a report lists.
const MAX_LISTED: usize = 20;
/// Longest name that is shown.
const MAX_SHOWN: usize = 120;
const COUNT: Duration = Duration::from_secs(30);

/// Branch names (without `refs/heads/`) and their commits.
pub type Branches = BTreeMap<Vec<u8>, String>;

/// Returns the branches that containers see.
///
/// # Errors
/// [`MirrorError`].
pub fn branches(mirror: &Path) -> Result<Branches, MirrorError> {
    below(mirror, HEADS)
}

/// Returns the branches that have a commit which is neither in `before` nor the upstream's own.
///
/// # Errors
/// [`MirrorError`].
pub fn pushed(mirror: &Path, before: &Branches) -> Result<Branches, MirrorError> {
    let upstream = below(mirror, &format!("{UPSTREAM}/heads/"))?;
    let mut now = branches(mirror)?;
    now.retain(|name, tip| before.get(name) != Some(tip) && upstream.get(name) != Some(tip));
    Ok(now)
}

fn below(mirror: &Path, prefix: &str) -> Result<Branches, MirrorError> {
    let found = ledger::read(mirror, &[prefix.trim_end_matches('/')])?;
    let short = |name: Vec<u8>| name.strip_prefix(prefix.as_bytes()).map(<[u8]>::to_vec);
    Ok(found.into_iter().filter_map(|found| Some((short(found.name)?, found.id))).collect())
}

/// Says what was pushed since `before`, and how to look at it and take it; several lines.
pub fn report(mirror: &Path, before: &Branches) -> String {
    let found = match pushed(mirror, before) {
        Ok(found) => found,
        Err(error) => return format!("cannot tell what was pushed to the gate: {}", base::fault::explain(&error)),
    };
    if found.is_empty() {
        return format!("nothing was pushed to the gate (`{}`)", mirror.display());
    }
    let mut lines: Vec<String> =
        found.iter().take(MAX_LISTED).flat_map(|(name, tip)| entry(mirror, name, tip)).collect();
    if found.len() > MAX_LISTED {
        let all = command_line([OsStr::new("git"), "-C".as_ref(), mirror.as_os_str(), "branch".as_ref()]);
        lines.push(format!("and {} branches more; list all with: {all}", found.len() - MAX_LISTED));
    }
    lines.join("\n")
}

fn entry(mirror: &Path, name: &[u8], tip: &str) -> [String; 3] {
    let ahead = ahead(mirror, tip);
    let full = [HEADS.as_bytes(), name].concat();
    let (full, newest) = (OsStr::from_bytes(&full), format!("-{}", ahead.unwrap_or(1).max(1)));
    // Nothing that the user has configured for the content of files runs on what came out of a container.
    let look = ["log", "-p", "--no-ext-diff", "--no-textconv", &newest].map(OsStr::new);
    let git = [OsStr::new("git"), "-C".as_ref(), mirror.as_os_str()];
    let look = command_line(git.into_iter().chain(look).chain([full]));
    let take = command_line([OsStr::new("git"), "fetch".as_ref(), mirror.as_os_str(), full]);
    let shown = clean_label(&String::from_utf8_lossy(name), MAX_SHOWN);
    let count = ahead.map_or_else(|| "?".to_owned(), |count| count.to_string());
    [
        format!("pushed to the gate: branch `{shown}`, {count} commit(s) that the upstream does not have"),
        format!("  look at it:  {look}"),
        format!("  take it:     {take}"),
    ]
}

/// Counts the commits of `tip` that the upstream does not have.
fn ahead(mirror: &Path, tip: &str) -> Option<u64> {
    let theirs = format!("--glob={UPSTREAM}/heads/*");
    let words = ["rev-list", "--count", tip, "--not", &theirs];
    let output = Git::at(mirror, words).limit(COUNT).run().ok().filter(base::process::Output::ok)?;
    refs::is_object_id(tip).then(|| output.text().trim().parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Transaction;
    use crate::stage::Stage;
    use base::process::Run;

    fn names(found: &Branches) -> Vec<String> {
        found.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    #[test]
    fn report_lists_pushed_branches_and_not_those_of_the_upstream() {
        let stage = Stage::new();
        stage.commit("main", "a", "1");
        stage.sync().unwrap();
        let before = branches(&stage.mirror).unwrap();
        assert!(report(&stage.mirror, &before).starts_with("nothing was pushed"));
        stage.commit("news", "b", "2");
        stage.sync().unwrap();
        assert!(pushed(&stage.mirror, &before).unwrap().is_empty(), "the upstream's own branch is no push");
        let tip = stage.push("fix", "c", "3");
        assert_eq!(pushed(&stage.mirror, &before).unwrap().get(b"fix".as_slice()), Some(&tip));
        let text = report(&stage.mirror, &before);
        assert!(text.contains("branch `fix`, 1 commit(s)") && text.contains(" -1 refs/heads/fix\n"), "{text}");
    }

    // holds: printed-commands-paste
    #[test]
    fn printed_commands_run_and_do_nothing_else_when_branch_names_are_hostile() {
        let stage = Stage::new();
        stage.commit("main", "a", "1");
        stage.sync().unwrap();
        let tip = stage.push("fix", "c", "3");
        let hostile: [&[u8]; 5] =
            [b"x;touch${IFS}ran;#", "`id`'\"\u{202e}".as_bytes(), b"-output=x", b"Stra\xdfe", b"$(id)|&<>"];
        let mut change = Transaction::default();
        hostile.iter().for_each(|name| change.create(&[b"refs/heads/", *name].concat(), &tip));
        change.create(b"refs/tags/fix", &stage.tip("refs/heads/main"));
        change.commit(&stage.mirror, "test").unwrap();
        let text = report(&stage.mirror, &Branches::new());
        assert!(!text.contains(|c: char| c.is_control() && c != '\n') && !text.contains('\u{202e}'), "{text:?}");
        assert_eq!(text.matches("  take it: ").count(), hostile.len() + 1, "{text}");
        let copy = stage.path("copy");
        stage.git(&stage.path("."), &["init", "-q", "copy"]);
        for line in text.lines().filter(|line| line.starts_with("  ")) {
            let command = line.split_once(": ").unwrap().1;
            let run = Run::new(["bash", "-c", &format!("cd '{}' && {command}", copy.display())]).output().unwrap();
            assert!(run.ok(), "{command}: {}", run.complaint());
        }
        assert!(!copy.join("ran").exists());
        let seen = stage.git(&copy, &["rev-parse", "FETCH_HEAD"]);
        assert_eq!(seen.trim(), tip);
    }

    #[test]
    fn report_stays_short_when_thousands_of_branches_were_pushed() {
        let stage = Stage::new();
        stage.commit("main", "a", "1");
        stage.sync().unwrap();
        let tip = stage.tip("refs/heads/main");
        let mut change = Transaction::default();
        (0..2000).for_each(|n| change.create(format!("refs/heads/b/{n}").as_bytes(), &tip));
        change.commit(&stage.mirror, "test").unwrap();
        let found = pushed(&stage.mirror, &Branches::new()).unwrap();
        assert_eq!(names(&found).len(), 2000);
        let text = report(&stage.mirror, &Branches::new());
        assert!(text.lines().count() == 3 * MAX_LISTED + 1 && text.contains("and 1980 branches more"), "{text}");
    }
}
