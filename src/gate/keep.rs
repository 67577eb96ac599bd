//! Old tips: before a push moves or deletes a reference, its old object gets a name below `refs/terok/backup`.
//!
//! Invariants: the reference really has the old value when its tip is named, in one transaction; git itself refuses the
//! push when it has not any more. A name is taken away again only for a branch that was moved forward, and only while
//! the branch still points to the new tip, which reaches the old one.

use std::path::Path;
use std::time::Duration;

use mirror::refs::BACKUP;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::places::Place;
use crate::process::{self, Ended};
use crate::push::Change;

/// More branches than this in one push keep their names; looking at each costs a process.
const MOST_TIDIED: usize = 100;
/// Age of an unfinished push that nobody works on any more.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest that git may take for one of these small works.
const LIMIT: Duration = Duration::from_secs(30);

/// Names the old tips of everything that `changes` move or delete; the repository keeps `most` of them.
///
/// # Errors
/// What git says about it, for the client; nothing is named then, and the push must not go on.
pub async fn keep(repository: &Path, changes: &[Change], most: usize, place: &Place) -> Result<(), String> {
    let mut script = Vec::new();
    for change in changes.iter().filter(|change| !change.creates()) {
        let name = name_of(change);
        script.extend_from_slice(format!("verify {name}\0{}\0", change.old).as_bytes());
        script.extend_from_slice(format!("update {}\0{}\0\0", backup_of(change), change.old).as_bytes());
    }
    if script.is_empty() {
        return Ok(());
    }
    let more = changes.iter().filter(|change| !change.creates()).count();
    if kept(repository, most, place).await + more > most {
        return Err(format!(
            "the gate keeps {most} old tips of this repository and has no room for more; raise \
             `gate_server.kept_tips` in config.yml, or remove some on the host (docs/reference/limits.md)"
        ));
    }
    let ended = run(repository, &["update-ref", "--stdin", "-z"], script, place).await;
    match ended.well() {
        true => Ok(()),
        false => Err(reason(&ended)),
    }
}

/// How many old tips the repository keeps, counted up to `most`.
async fn kept(repository: &Path, most: usize, place: &Place) -> usize {
    let count = format!("--count={most}");
    ask(repository, &["for-each-ref", "--format=.", &count, BACKUP], Vec::new(), 2 * most as u64, place).await.1 / 2
}

/// The first line of what git complains about, short enough for a report.
fn reason(ended: &Ended) -> String {
    if ended.complaint.contains("but expected") || ended.complaint.contains("unable to resolve reference") {
        return "it has changed on the gate meanwhile; fetch first".into();
    }
    let cause = ended.complaint.strip_prefix("fatal: ").unwrap_or(&ended.complaint);
    let cause: String = cause.chars().take(200).collect();
    format!("the gate cannot keep its old tip: {cause}")
}

/// Removes what pushes left behind whose git was killed a day ago or earlier; none goes on for so long.
pub fn sweep(repository: &Path) {
    let Ok(entries) = std::fs::read_dir(repository.join("objects")) else { return };
    let old = |entry: &std::fs::DirEntry| {
        let age =
            entry.metadata().ok().filter(std::fs::Metadata::is_dir).and_then(|m| m.modified().ok()?.elapsed().ok());
        age.is_some_and(|age| age > ABANDONED)
    };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().as_encoded_bytes().starts_with(b"tmp_objdir-incoming-") && old(&entry) {
            match std::fs::remove_dir_all(entry.path()) {
                Ok(()) => tracing::warn!(path = %entry.path().display(), "an unfinished push is removed"),
                Err(error) => tracing::warn!(%error, "cannot remove an unfinished push"),
            }
        }
    }
}

/// Takes away the names of tips that the moved branches still reach.
pub async fn tidy(repository: &Path, changes: &[Change], place: &Place) {
    let moved = |c: &&Change| !c.creates() && !c.deletes() && c.name.starts_with(b"refs/heads/");
    for change in changes.iter().filter(moved).take(MOST_TIDIED) {
        let forward = ["merge-base", "--is-ancestor", &change.old, &change.new];
        if !run(repository, &forward, Vec::new(), place).await.well() {
            continue;
        }
        let (name, backup) = (name_of(change), backup_of(change));
        let script = format!("verify {name}\0{}\0delete {backup}\0{}\0", change.new, change.old);
        // Another push may have been faster; then the name stays.
        let _ = run(repository, &["update-ref", "--stdin", "-z"], script.into_bytes(), place).await;
    }
}

fn name_of(change: &Change) -> String {
    // Names that are not UTF-8 have been refused.
    String::from_utf8_lossy(&change.name).into_owned()
}

fn backup_of(change: &Change) -> String {
    let name = name_of(change);
    format!("{BACKUP}/{}/{}", name.strip_prefix("refs/").unwrap_or(&name), change.old)
}

/// Runs git with a small input; its output is dropped.
async fn run(repository: &Path, arguments: &[&str], input: Vec<u8>, place: &Place) -> Ended {
    ask(repository, arguments, input, 64 * 1024, place).await.0
}

/// Runs git with a small input; how it ended, and how many bytes it wrote, of which `most` are read.
async fn ask(repository: &Path, arguments: &[&str], input: Vec<u8>, most: u64, place: &Place) -> (Ended, usize) {
    let mut git = match process::start(repository, arguments, None, place) {
        Ok(git) => git,
        Err(error) => return (Ended { status: None, complaint: error.to_string() }, 0),
    };
    let (stdout, stdin) = (&mut git.stdout, git.stdin);
    let work = async {
        let feed = async move {
            let mut stdin = stdin;
            let _ = stdin.write_all(&input).await;
        };
        let drain = async {
            let mut written = Vec::new();
            stdout.take(most).read_to_end(&mut written).await.unwrap_or_default()
        };
        let ((), count) = tokio::join!(feed, drain);
        (git.end.await.unwrap_or_default(), count)
    };
    let late = || (Ended { status: None, complaint: "git took too long".into() }, 0);
    tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| late())
}
