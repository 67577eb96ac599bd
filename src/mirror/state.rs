//! What can be told about a mirror: its last commit, its branches, how far two commits are apart. Nothing here goes to
//! the upstream.

use std::path::Path;

use crate::fault::MirrorError;
use crate::git::Git;
use crate::{ledger, refs};

/// Longest author or subject that is returned, in characters.
const MAX_SHOWN: usize = 500;

/// One commit; its texts are cleaned, because whoever pushed it wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Object id.
    pub hash: String,
    /// Author date, ISO-like with offset.
    pub date: String,
    /// Author's name.
    pub author: String,
    /// First line of the message.
    pub subject: String,
}

/// The last commit of a branch, or of `HEAD` when there is no such branch.
pub fn last_commit(mirror: &Path, branch: Option<&str>) -> Option<Commit> {
    let branch = branch.filter(|branch| refs::is_branch(branch)).map(|branch| format!("{}{branch}", refs::HEADS));
    branch.into_iter().chain(["HEAD".to_owned()]).find_map(|revision| commit(mirror, &revision))
}

fn commit(mirror: &Path, revision: &str) -> Option<Commit> {
    let format = "--pretty=format:%H%x00%ad%x00%an%x00%s";
    let words = ["log", "-1", format, "--date=iso", "--end-of-options", revision, "--"];
    let output = Git::at(mirror, words).run().ok().filter(base::process::Output::ok)?;
    let text = output.text();
    let fields: [&str; 4] = text.split('\0').collect::<Vec<_>>().try_into().ok()?;
    let [hash, date, author, subject] = fields.map(|field| base::text::clean_label(field, MAX_SHOWN));
    Some(Commit { hash, date, author, subject })
}

/// The tip of a branch.
///
/// # Errors
/// [`MirrorError::Branch`], or when git cannot be run.
pub fn head(mirror: &Path, branch: &str) -> Result<Option<String>, MirrorError> {
    if !refs::is_branch(branch) {
        return Err(MirrorError::Branch(branch.to_owned()));
    }
    if !mirror.is_dir() {
        return Ok(None);
    }
    ledger::tip(mirror, &format!("{}{branch}", refs::HEADS))
}

/// How many commits are in `to` but not in `from`; `None` when one of them is not here.
pub fn distance(mirror: &Path, from: &str, to: &str) -> Option<u64> {
    if !refs::is_object_id(from) || !refs::is_object_id(to) {
        return None;
    }
    let range = format!("{from}..{to}");
    let output = Git::at(mirror, ["rev-list", "--count", &range, "--"]).run().ok()?;
    if output.ok() { output.text().trim().parse().ok() } else { None }
}
