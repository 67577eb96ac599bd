//! Tells what came back from a container, and how to look at it and take the rest.
//!
//! Invariants: names are cleaned and printed commands quoted; a printed command runs no hook, monitor or diff driver.

use std::ffi::OsStr;
use std::path::Path;

use base::text::{clean_label, command_line};
use mirror::refs::HEADS;

use crate::bring::{Arrival, Forward, Outcome};

/// Most branches that a report lists.
const MAX_LISTED: usize = 20;
/// Longest name that is shown.
const MAX_SHOWN: usize = 120;
/// Settings in front of the verb of every printed git command.
const INERT: &[&str] = &["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"];

/// The report of a run's end, several lines.
pub fn text(outcome: &Outcome) -> String {
    if outcome.unkept {
        return format!(
            "`{}` is no git repository: the commits of the container were not kept, its files were",
            shown(&outcome.folder.to_string_lossy())
        );
    }
    let mut lines: Vec<String> =
        outcome.arrivals.iter().take(MAX_LISTED).flat_map(|arrival| entry(outcome, arrival)).collect();
    let more = outcome.arrivals.len().saturating_sub(MAX_LISTED);
    if more > 0 {
        let list = git(&outcome.folder, &["branch", "--list", "terok/*"]);
        lines.push(format!("and {more} branches more; list all with: {list}"));
    }
    if outcome.left_out > 0 {
        lines.push(format!("{} further branches of the container were not brought back", outcome.left_out));
    }
    match &outcome.forward {
        Some(Forward::Moved(branch)) => lines.push(format!("branch `{}` was fast-forwarded to it", shown(branch))),
        Some(Forward::Stays(why)) => lines.push(format!("the branch that is checked out was not moved: {why}")),
        None => {}
    }
    lines.join("\n")
}

fn entry(outcome: &Outcome, arrival: &Arrival) -> Vec<String> {
    let full = format!("{HEADS}{}", arrival.branch);
    let range = outcome.base.as_ref().map_or_else(|| full.clone(), |base| format!("{base}..{full}"));
    let look = git(&outcome.folder, &["log", "-p", "--no-ext-diff", "--no-textconv", &range]);
    let take = git(&outcome.folder, &["merge", &full]);
    let count = arrival.commits.map_or_else(|| "?".to_owned(), |count| count.to_string());
    let inside = match &arrival.inside {
        Some(name) => format!(" (`{}` in the container)", shown(name)),
        None => String::new(),
    };
    let mut lines = vec![
        format!("came back: branch `{}`{inside}, {count} commit(s)", shown(&arrival.branch)),
        format!("  look at it:  {look}"),
    ];
    let moved = matches!(&outcome.forward, Some(Forward::Moved(branch)) if arrival.inside.as_ref() == Some(branch));
    if !moved {
        // The files in the directory are the container's already, and git does not overwrite them.
        lines.push(format!("  merge it:    {take}    (commit or stash first what is in the directory)"));
    }
    lines
}

/// A git command in the user's directory that runs nothing on its own.
fn git(folder: &Path, words: &[&str]) -> String {
    let start = [OsStr::new("git"), "-C".as_ref(), folder.as_os_str()];
    command_line(start.into_iter().chain(INERT.iter().map(OsStr::new)).chain(words.iter().map(OsStr::new)))
}

fn shown(name: &str) -> String {
    clean_label(name, MAX_SHOWN)
}
