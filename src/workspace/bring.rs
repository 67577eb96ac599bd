//! Brings a container's commits back into the user's repository, and moves the user's branch where that is safe.
//!
//! - The commits arrive as branch `terok/<run>`, other branches of the container as `terok/<run>--<name>`.
//! - The branch that the user has checked out follows only when it did not move, the container's is ahead of it, no
//!   merge or rebase is under way, and the index can be carried over. The working tree is the container's already.
//! - The user's index is updated from the two commits; the container's index is never read.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::file::Dir;
use mirror::git::Git;
use mirror::refs::HEADS;

use crate::fault::{WorkspaceError, io};
use crate::private::{INITIAL, PRIVATE};
use crate::record::{self, Record};
use crate::refs::{self, Branches, Head};
use crate::source::Kind;
use crate::{quarantine, scan, store};

/// Most branches that are brought back.
pub const MAX_BRANCHES: usize = 50;

const QUERY: Duration = Duration::from_secs(60);
const FETCH: Duration = Duration::from_secs(600);
/// Settings of the fetch into the user's repository.
const CHECKS: &[(&str, &str)] = &[
    ("fetch.fsckObjects", "true"),
    ("transfer.fsckObjects", "true"),
    ("fetch.prune", "false"),
    ("fetch.pruneTags", "false"),
    ("fetch.writeCommitGraph", "false"),
    ("protocol.file.allow", "always"),
    ("protocol.allow", "never"),
];
/// Entries of a git directory that show an unfinished operation.
const UNFINISHED: &[&str] =
    &["MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG", "rebase-merge", "rebase-apply", "index.lock"];
/// Names in the user's reflog.
const IDENTITY: [(&str, &str); 2] = [("GIT_COMMITTER_NAME", "terok"), ("GIT_COMMITTER_EMAIL", "terok@localhost")];

/// Result for the branch that the user has checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forward {
    /// It was moved to the container's commit.
    Moved(String),
    /// It stays, because of this.
    Stays(&'static str),
}

/// A branch that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Its name in the user's repository, without `refs/heads/`.
    pub branch: String,
    /// Its name in the container; `None` for a detached `HEAD`.
    pub inside: Option<String>,
    /// Number of commits that the start did not have.
    pub commits: Option<u64>,
}

/// Commits and branches that the end of a run brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The user's directory.
    pub folder: PathBuf,
    /// Where the run began.
    pub base: Option<String>,
    /// Branches that came back.
    pub arrivals: Vec<Arrival>,
    /// Branches of the container beyond the limit.
    pub left_out: usize,
    /// Result for the user's branch.
    pub forward: Option<Forward>,
    /// Commits that stay in the container's repository, because the directory has none.
    pub unkept: bool,
}

/// Completes a run whose container has ended: brings its commits back, and looks once through the directory. The report
/// and the warning, several lines; `None` when there is nothing to say.
///
/// # Errors
/// As [`bring`].
pub fn end(state_dir: &Path, container: &str) -> Result<Option<String>, WorkspaceError> {
    let dir = store::of(state_dir, container)?;
    let first = record::read(&dir).filter(|record| !record.ended);
    let report = bring(state_dir, container)?.map(|outcome| crate::report::text(&outcome));
    let lines: Vec<String> = report.into_iter().chain(first.and_then(|record| scan::after(&record))).collect();
    Ok((!lines.is_empty()).then(|| lines.join("\n")))
}

/// Brings back what is new since the last time. The container must have ended.
///
/// `None` without a workspace, and when there is nothing new.
///
/// # Errors
/// [`WorkspaceError`]; everything stays for another attempt.
pub fn bring(state_dir: &Path, container: &str) -> Result<Option<Outcome>, WorkspaceError> {
    let dir = store::of(state_dir, container)?;
    if !dir.exists() {
        return Ok(None);
    }
    let _lock = store::hold(&dir)?;
    let Some(mut record) = record::read(&dir) else { return Ok(None) };
    let outcome = brought(&dir, &mut record)?;
    record.ended = true;
    record::write(&dir, &record)?;
    Ok(outcome)
}

fn brought(dir: &Path, record: &mut Record) -> Result<Option<Outcome>, WorkspaceError> {
    let path = dir.join(PRIVATE);
    let private = Dir::open(&path).map_err(io("open", &path))?;
    let (head, now) = (refs::head(&private), refs::branches(&private)?);
    let mut outcome = Outcome {
        folder: record.folder.clone(),
        base: record.base.clone(),
        arrivals: Vec::new(),
        left_out: 0,
        forward: None,
        unkept: record.kind == Kind::Absent && !now.is_empty(),
    };
    if record.kind == Kind::Absent {
        let is_news = outcome.unkept && !record.ended;
        return Ok(is_news.then_some(outcome));
    }
    let initial = refs::parse(&fs::read(dir.join(INITIAL)).unwrap_or_default());
    let wanted = wanted(record, head.as_ref(), &now, &initial);
    if wanted.iter().all(|(branch, (_, id))| record.brought.get(branch) == Some(id)) {
        return Ok(None);
    }
    outcome.left_out = wanted.len().saturating_sub(MAX_BRANCHES);
    let wanted: BTreeMap<_, _> = wanted.into_iter().take(MAX_BRANCHES).collect();
    fetch(dir, record, &wanted)?;
    for (branch, (inside, id)) in &wanted {
        let commits = count(record, id);
        outcome.arrivals.push(Arrival { branch: branch.clone(), inside: inside.clone(), commits });
        record.brought.insert(branch.clone(), id.clone());
    }
    outcome.forward = match record.branch.clone().and_then(|branch| Some((now.get(&branch)?.clone(), branch))) {
        Some((id, branch)) if record.base.as_ref() != Some(&id) => Some(forward(record, &branch, &id)?),
        _ => None,
    };
    if let (Some(Forward::Moved(_)), Some(branch)) = (&outcome.forward, &record.branch) {
        record.base = now.get(branch).cloned();
    }
    Ok(Some(outcome))
}

/// The branches to bring back: name in the user's repository, name in the container, commit.
fn wanted(
    record: &Record,
    head: Option<&Head>,
    now: &Branches,
    initial: &Branches,
) -> BTreeMap<String, (Option<String>, String)> {
    let main = format!("terok/{}", record.run);
    let mut wanted = BTreeMap::new();
    let current = match head {
        Some(Head::Branch(name)) => now.get(name).map(|id| (Some(name.clone()), id.clone())),
        Some(Head::Detached(id)) => Some((None, id.clone())),
        None => None,
    };
    let is_new = |id: &String| record.base.as_ref() != Some(id) && !initial.values().any(|known| known == id);
    if let Some((inside, id)) = current.filter(|(_, id)| is_new(id)) {
        wanted.insert(main.clone(), (inside, id));
    }
    let on_head = |name: &String| head == Some(&Head::Branch(name.clone()));
    for (name, id) in now.iter().filter(|(name, id)| !on_head(name) && initial.get(*name) != Some(id) && is_new(id)) {
        wanted.insert(format!("{main}--{name}"), (Some(name.clone()), id.clone()));
    }
    wanted
}

/// Fetches the commits into the user's repository, checked.
fn fetch(
    dir: &Path,
    record: &Record,
    wanted: &BTreeMap<String, (Option<String>, String)>,
) -> Result<(), WorkspaceError> {
    let commits: Vec<String> = wanted.values().map(|(_, id)| id.clone()).collect();
    let quarantine = quarantine::fill(dir, record, &commits)?;
    let mut words: Vec<std::ffi::OsString> = vec!["fetch".into()];
    let options = "--quiet --no-tags --no-prune --no-write-fetch-head --no-recurse-submodules --no-auto-maintenance";
    words.extend(options.split(' ').map(Into::into));
    words.extend(["--no-show-forced-updates".into(), "--".into(), quarantine.path.clone().into_os_string()]);
    words.extend(wanted.keys().enumerate().map(|(n, branch)| format!("+refs/terok/{n}:{HEADS}{branch}").into()));
    let mut git = Git::at(&record.git_dir, words).limit(FETCH);
    for (key, value) in CHECKS {
        git = git.setting(*key, *value);
    }
    for (name, value) in IDENTITY {
        git = git.variable(name, value);
    }
    git.succeed("bring the container's commits back")?;
    Ok(())
}

fn count(record: &Record, id: &str) -> Option<u64> {
    let mut words = vec!["rev-list".to_owned(), "--count".to_owned(), id.to_owned()];
    words.extend(record.base.iter().flat_map(|base| ["--not".to_owned(), base.clone()]));
    let output = Git::at(&record.git_dir, words).limit(QUERY).run().ok().filter(base::process::Output::ok)?;
    output.text().trim().parse().ok()
}

/// Moves the user's branch to the container's commit where that is safe.
fn forward(record: &Record, branch: &str, id: &str) -> Result<Forward, WorkspaceError> {
    if record.branch_only {
        return Ok(Forward::Stays("only a branch was asked for"));
    }
    let git_dir = &record.git_dir;
    let head = Git::at(git_dir, ["symbolic-ref", "--quiet", "HEAD"]).limit(QUERY).run()?.text();
    if head.trim() != format!("{HEADS}{branch}") {
        return Ok(Forward::Stays("another branch is checked out now"));
    }
    let full = format!("{HEADS}{branch}");
    let tip = Git::at(git_dir, ["rev-parse", "--quiet", "--verify", &full]).limit(QUERY).run()?.text();
    let tip = Some(tip.trim().to_owned()).filter(|tip| !tip.is_empty());
    if tip != record.base {
        return Ok(Forward::Stays("it moved during the run"));
    }
    if let Some(tip) = &tip {
        let words = ["merge-base", "--is-ancestor", tip, id];
        if !Git::at(git_dir, words).limit(QUERY).run()?.ok() {
            return Ok(Forward::Stays("the container's branch does not continue it"));
        }
    }
    if UNFINISHED.iter().any(|name| fs::symlink_metadata(git_dir.join(name)).is_ok()) {
        return Ok(Forward::Stays("a merge, rebase or other operation is under way"));
    }
    let Some(index) = carried_index(git_dir, tip.as_deref(), id)? else {
        return Ok(Forward::Stays("what is staged conflicts with the new commits"));
    };
    let zeros = "0".repeat(id.len());
    let old = tip.as_deref().unwrap_or(&zeros);
    let message = format!("terok: fast-forward to terok/{}", record.run);
    let mut git = Git::at(git_dir, ["update-ref", "-m", &message, &full, id, old]).limit(QUERY);
    for (name, value) in IDENTITY {
        git = git.variable(name, value);
    }
    if !git.run()?.ok() {
        let _ = fs::remove_file(&index);
        return Ok(Forward::Stays("it moved during the run"));
    }
    let target = git_dir.join("index");
    fs::rename(&index, &target).map_err(io("replace", &target))?;
    Ok(Forward::Moved(branch.to_owned()))
}

/// Makes the index for the new commit and leaves it in `index.lock`; `None` when staged changes are in the way.
fn carried_index(git_dir: &Path, old: Option<&str>, new: &str) -> Result<Option<PathBuf>, WorkspaceError> {
    let (index, lock, young) = (git_dir.join("index"), git_dir.join("index.lock"), git_dir.join("index.terok"));
    // The name by which git locks the index: other git processes that find it give up.
    match fs::OpenOptions::new().write(true).create_new(true).open(&lock) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(io("lock", &lock)(error)),
    }
    let made = carry(git_dir, &index, &young, old, new);
    let moved = made.and_then(|good| match good {
        true => fs::rename(&young, &lock).map_err(io("replace", &lock)).map(|()| Some(lock.clone())),
        false => Ok(None),
    });
    if !matches!(moved, Ok(Some(_))) {
        let _ = fs::remove_file(&young);
        let _ = fs::remove_file(&lock);
    }
    moved
}

fn carry(git_dir: &Path, index: &Path, young: &Path, old: Option<&str>, new: &str) -> Result<bool, WorkspaceError> {
    let exists = match fs::copy(index, young) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(io("copy", index)(error)),
    };
    let words: Vec<&str> = match (exists, old) {
        (true, Some(old)) => vec!["read-tree", "-i", "-m", old, new],
        // Without an index, or before the first commit, there is nothing to carry over but staged files.
        (true, None) => vec!["read-tree", "-i", "-m", new],
        (false, _) => vec!["read-tree", new],
    };
    let git = Git::at(git_dir, words).variable("GIT_INDEX_FILE", "index.terok").limit(QUERY);
    Ok(git.run()?.ok())
}
