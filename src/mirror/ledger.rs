//! Reading and changing references: every change is compare-and-swap, and several changes are one transaction.

use std::path::Path;

use crate::fault::MirrorError;
use crate::git::Git;
use crate::refs::Reference;

/// Changes that happen together or not at all.
#[derive(Debug, Default, Clone)]
pub struct Transaction(Vec<u8>);

impl Transaction {
    /// `name` must not exist, and will be `id`.
    pub fn create(&mut self, name: &[u8], id: &str) {
        self.line(b"create ", name, &[id]);
    }

    /// `name` becomes `new`; it must be `old`.
    pub fn advance(&mut self, name: &[u8], new: &str, old: &str) {
        self.line(b"update ", name, &[new, old]);
    }

    /// `name` becomes `id`, whatever it was.
    pub fn put(&mut self, name: &[u8], id: &str) {
        self.line(b"update ", name, &[id, ""]);
    }

    /// `name` goes; it must be `old`.
    pub fn delete(&mut self, name: &[u8], old: &str) {
        self.line(b"delete ", name, &[old]);
    }

    /// `name` must be `old` while all this happens.
    pub fn verify(&mut self, name: &[u8], old: &str) {
        self.line(b"verify ", name, &[old]);
    }

    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn line(&mut self, verb: &[u8], name: &[u8], ids: &[&str]) {
        self.0.extend_from_slice(verb);
        self.0.extend_from_slice(name);
        self.0.push(0);
        for id in ids {
            self.0.extend_from_slice(id.as_bytes());
            self.0.push(0);
        }
    }

    /// Does it; `reason` goes into the logs of the references.
    ///
    /// # Errors
    /// [`MirrorError::Git`] when a reference is not what was expected; nothing has changed then.
    pub fn commit(self, mirror: &Path, reason: &str) -> Result<(), MirrorError> {
        if self.is_empty() {
            return Ok(());
        }
        let words = ["update-ref", "--no-deref", "-m", reason, "--stdin", "-z"];
        // The log wants a name; it is ours, whoever runs this.
        let git = Git::at(mirror, words).setting("user.name", "terok").setting("user.email", "terok@localhost");
        git.input(self.0).succeed("change references").map(drop)
    }
}

/// The references below these prefixes (or of these full names), sorted by name.
///
/// # Errors
/// [`MirrorError`].
pub fn read(mirror: &Path, prefixes: &[&str]) -> Result<Vec<Reference>, MirrorError> {
    let words = ["for-each-ref", "--format=%(objectname) %(refname)", "--"];
    let output = Git::at(mirror, words.iter().chain(prefixes)).succeed("list references")?;
    let line = |line: &[u8]| {
        let cut = line.iter().position(|byte| *byte == b' ')?;
        Some(Reference::new(&line[cut + 1..], String::from_utf8_lossy(&line[..cut])))
    };
    Ok(output.stdout.split(|byte| *byte == b'\n').filter_map(line).collect())
}

/// What one reference points to.
///
/// # Errors
/// [`MirrorError`] when git cannot be run.
pub fn tip(mirror: &Path, name: &str) -> Result<Option<String>, MirrorError> {
    let output = Git::at(mirror, ["rev-parse", "--verify", "--quiet", "--end-of-options", name]).run()?;
    Ok(output.ok().then(|| output.text().trim().to_owned()))
}

/// True when everything that `old` holds is reachable from `new`; an object that is not there counts as no.
///
/// # Errors
/// [`MirrorError`] when git cannot be run.
pub fn contains(mirror: &Path, new: &str, old: &str) -> Result<bool, MirrorError> {
    if new == old {
        return Ok(true);
    }
    Ok(Git::at(mirror, ["merge-base", "--is-ancestor", old, new]).run()?.ok())
}

/// Which of these objects are not reachable from branches, tags and kept tips.
///
/// # Errors
/// [`MirrorError`].
pub fn unreachable(mirror: &Path, ids: &[&str]) -> Result<Vec<String>, MirrorError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut input = ids.join("\n");
    input.push_str("\n--not\n--branches\n--tags\n--glob=refs/terok/backup/*\n");
    // With objects: an annotated tag is an object of its own, which its commit does not hold.
    let words = ["rev-list", "--stdin", "--objects", "--no-object-names", "--filter=tree:0"];
    let output = Git::at(mirror, words).input(input).succeed("look for objects without a name")?;
    let found: std::collections::HashSet<String> = output.text().lines().map(str::to_owned).collect();
    Ok(ids.iter().filter(|id| found.contains(**id)).map(|id| (*id).to_owned()).collect())
}
