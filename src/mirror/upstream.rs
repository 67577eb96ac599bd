//! Talking to the upstream: what it has, and getting it.
//!
//! Invariants: what is fetched lands below `refs/terok/upstream` only; a talk that goes silent is ended.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use base::process::{Output, RunError};

use crate::address::{Address, REMOTE};
use crate::fault::MirrorError;
use crate::git::{Git, Reach};
use crate::hold::{Listener, lines};
use crate::refs::{self, Reference};

/// An upstream and the way to it.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Where it is.
    pub address: Address,
    /// As whom we go there.
    pub reach: Reach,
    /// How long it may take.
    pub patience: Patience,
}

/// How long an upstream may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a list of its references.
    pub listing: Duration,
    /// A transfer, without saying anything; git reports progress several times a second.
    pub silence: Duration,
    /// A transfer altogether.
    pub transfer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let (listing, silence) = (Duration::from_secs(30), Duration::from_secs(120));
        Self { listing, silence, transfer: Duration::from_secs(6 * 3600) }
    }
}

/// The upstream's references at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Branches and tags under the names they have here (below `refs/terok/upstream`).
    pub references: BTreeMap<Vec<u8>, String>,
    /// The branch that `HEAD` stands for.
    pub head: Option<Vec<u8>>,
}

impl Listing {
    /// True when the ids are SHA-256 ones.
    pub fn is_sha256(&self) -> bool {
        self.references.values().next().is_some_and(|id| id.len() == 64)
    }

    /// True when these are the references of the listing.
    pub fn equals(&self, here: &[Reference]) -> bool {
        here.len() == self.references.len() && here.iter().all(|r| self.references.get(&r.name) == Some(&r.id))
    }

    fn parse(output: &[u8]) -> Self {
        let mut listing = Self::default();
        for line in output.split(|byte| *byte == b'\n') {
            let Some(tab) = line.iter().position(|byte| *byte == b'\t') else { continue };
            let (left, name) = (&line[..tab], &line[tab + 1..]);
            if let Some(target) = left.strip_prefix(b"ref: ") {
                if name == b"HEAD" && target.starts_with(refs::HEADS.as_bytes()) {
                    listing.head = Some(target.to_vec());
                }
            } else if let (Some(here), Ok(id)) = (refs::upstream(name), std::str::from_utf8(left))
                && !name.ends_with(b"^{}")
                && refs::is_object_id(id)
            {
                listing.references.insert(here, id.to_owned());
            }
        }
        listing
    }
}

impl Upstream {
    /// Asks for branches, tags and `HEAD`.
    ///
    /// # Errors
    /// [`MirrorError`].
    pub fn list(&self, listener: Listener<'_>) -> Result<Listing, MirrorError> {
        let git = Git::new(["ls-remote", "--symref", REMOTE, "HEAD", "refs/heads/*", "refs/tags/*"]);
        let output = self.talk(git.limit(self.patience.listing), &mut |_| listener(None))?;
        Ok(Listing::parse(&output.stdout))
    }

    /// The tip of one branch; `None` when the upstream has no such branch.
    ///
    /// # Errors
    /// [`MirrorError`].
    pub fn tip(&self, branch: &str, listener: Listener<'_>) -> Result<Option<String>, MirrorError> {
        let name = format!("{}{branch}", refs::HEADS);
        let git = Git::new(["ls-remote", REMOTE, &name]);
        let output = self.talk(git.limit(self.patience.listing), &mut |_| listener(None))?;
        let listing = Listing::parse(&output.stdout);
        Ok(refs::upstream(name.as_bytes()).and_then(|here| listing.references.get(&here).cloned()))
    }

    /// Brings everything below `refs/terok/upstream` up to date.
    ///
    /// # Errors
    /// [`MirrorError`].
    pub fn fetch(&self, mirror: &Path, listener: Listener<'_>) -> Result<(), MirrorError> {
        let words = ["fetch", "--progress", "--prune", "--force", "--no-tags", "--no-write-fetch-head", REMOTE];
        let git = Git::at(mirror, words.into_iter().chain(crate::config::FETCH.iter().copied()));
        let git = git.limit(self.patience.transfer).silence(self.patience.silence);
        self.talk(git, &mut lines(listener)).map(drop)
    }

    fn talk(&self, git: Git, watch: base::process::Watch<'_>) -> Result<Output, MirrorError> {
        let output = self.address.hand_to(git.reach(&self.reach)).watched(watch)?;
        match output.ok() {
            true => Ok(output),
            false => Err(MirrorError::Git { what: "talk to the upstream", complaint: complaint(&output) }),
        }
    }
}

/// What git said, without progress and passwords.
fn complaint(output: &Output) -> String {
    let text = base::text::redact_userinfo(&output.complaint());
    let last = |line: &str| line.rsplit('\r').next().unwrap_or_default().trim_end().to_owned();
    let progress = |line: &String| line.starts_with("remote: ") && line.contains('%');
    text.lines().map(last).filter(|line| !line.is_empty() && !progress(line)).collect::<Vec<_>>().join("\n")
}

/// The text of a failed synchronisation in a result's list of errors.
pub fn error_text(error: &MirrorError) -> String {
    match error {
        MirrorError::Run(RunError::TimedOut { .. }) => "Sync timed out".to_owned(),
        MirrorError::Git { what: "talk to the upstream", complaint } => format!("remote update failed: {complaint}"),
        other => base::fault::explain(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_has_branches_tags_and_head() {
        let (a, b) = ("1".repeat(40), "2".repeat(40));
        let text = format!(
            "ref: refs/heads/main\tHEAD\n{a}\tHEAD\n{a}\trefs/heads/main\n{b}\trefs/heads/HEAD\nref: refs/heads/x\trefs/remotes/o/HEAD\n\
             {b}\trefs/tags/v\n{a}\trefs/tags/v^{{}}\n{a}\trefs/pull/1/head\nnonsense\tx\n"
        );
        let listing = Listing::parse(text.as_bytes());
        assert_eq!(listing.head.as_deref(), Some(b"refs/heads/main".as_slice()));
        let names: Vec<_> = listing.references.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let below = |name: &str| format!("refs/terok/upstream/{name}");
        assert_eq!(names, [below("heads/HEAD"), below("heads/main"), below("tags/v")]);
        assert!(!listing.is_sha256() && !listing.equals(&[]));
    }

    #[test]
    fn a_complaint_has_no_progress_in_it() {
        let stderr = b"remote: Counting objects:  50% (1/2)\rremote: Counting objects: 100% (2/2)\nfatal: https://u:p@h/x gone\n";
        let output = Output { code: 1, stdout: Vec::new(), stderr: stderr.to_vec() };
        let text = complaint(&output);
        assert!(text.starts_with("fatal: ") && !text.contains("u:p"), "{text}");
    }
}
