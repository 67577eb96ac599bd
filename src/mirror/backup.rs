//! Keeping the old tip of a reference before it moves, and bringing it back.
//!
//! Invariants: a tip is kept before anything changes, so that no moment exists in which nothing names it; a kept tip goes
//! only when the reference itself holds it again, or when a person says so.

use std::path::Path;

use crate::fault::MirrorError;
use crate::git::Git;
use crate::ledger::{self, Transaction};
use crate::refs::{self, BACKUP, Reference};

/// Longest subject that is returned, in characters.
const MAX_SHOWN: usize = 500;

/// A tip that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What it was: a branch, or `tags/…`, `terok/upstream/…`.
    pub name: String,
    /// The object.
    pub id: String,
    /// When the commit was made, ISO-like; empty for what is no commit.
    pub date: String,
    /// Its subject.
    pub subject: String,
}

/// Keeps these tips; those that are kept already stay. All or nothing.
///
/// # Errors
/// [`MirrorError`]; whoever wanted to move the references must not.
pub fn keep(mirror: &Path, tips: &[Reference]) -> Result<(), MirrorError> {
    let mut change = Transaction::default();
    let mut names = std::collections::HashSet::new();
    for tip in tips {
        let name = refs::backup(&tip.name, &tip.id);
        if names.insert(name.clone()) {
            change.put(&name, &tip.id);
        }
    }
    change.commit(mirror, "terok: kept")
}

/// Lets those of these kept tips go that their own reference holds (again): what was only moved forward needs no backup.
///
/// Sound while others push: a value that a reference ever had is either still held by it or kept before it moves.
///
/// # Errors
/// [`MirrorError`]; the tips stay kept then.
pub fn relax(mirror: &Path, tips: &[Reference]) -> Result<(), MirrorError> {
    let mut change = Transaction::default();
    for tip in tips {
        let Ok(name) = std::str::from_utf8(&tip.name) else { continue };
        let Some(now) = ledger::tip(mirror, name)? else { continue };
        // Ancestry is about commits; a tag object would be peeled, and lost.
        let held = now == tip.id || (name.starts_with(refs::HEADS) && ledger::contains(mirror, &now, &tip.id)?);
        if held && ledger::tip(mirror, &String::from_utf8_lossy(&refs::backup(&tip.name, &tip.id)))?.is_some() {
            change.delete(&refs::backup(&tip.name, &tip.id), &tip.id);
        }
    }
    change.commit(mirror, "terok: held again")
}

/// The kept tips, the youngest commit first; of one name only when it is given.
///
/// # Errors
/// [`MirrorError`].
pub fn list(mirror: &Path, name: Option<&str>) -> Result<Vec<Kept>, MirrorError> {
    if !mirror.is_dir() {
        return Err(MirrorError::Missing(mirror.to_owned()));
    }
    let format = "--format=%(objectname)%00%(refname)%00%(creatordate:iso)%00%(subject)";
    let output =
        Git::at(mirror, ["for-each-ref", "--sort=-creatordate", format, "--", BACKUP]).succeed("list kept tips")?;
    let kept = |line: &[u8]| -> Option<Kept> {
        let fields: Vec<&[u8]> = line.splitn(4, |byte| *byte == 0).collect();
        let [_, reference, date, subject] = fields.try_into().ok()?;
        let text = |bytes: &[u8]| base::text::sanitize_tty(&String::from_utf8_lossy(bytes));
        let subject = base::text::clean_label(&String::from_utf8_lossy(subject), MAX_SHOWN);
        let (name, id) = refs::backed_up(reference)?;
        Some(Kept { name: text(name), id: id.to_owned(), date: text(date), subject })
    };
    let all = output.stdout.split(|byte| *byte == b'\n').filter_map(kept);
    Ok(all.filter(|kept| name.is_none_or(|name| name == kept.name)).collect())
}

/// Brings a kept tip back as the branch `branch`; the branch's present tip is kept if it would be lost. Returns the id.
///
/// `name` and `id` say which (an id may be shortened; empty when only one is kept under the name).
///
/// # Errors
/// [`MirrorError::NothingKept`] when nothing or more than one tip fits, else what git says.
pub fn restore(mirror: &Path, name: &str, id: &str, branch: &str) -> Result<String, MirrorError> {
    if !refs::is_branch(branch) {
        return Err(MirrorError::Branch(branch.to_owned()));
    }
    let fitting = list(mirror, Some(name))?.into_iter().filter(|kept| kept.id.starts_with(id));
    let [kept] = fitting.collect::<Vec<_>>().try_into().map_err(|found: Vec<Kept>| MirrorError::NothingKept {
        name: if found.is_empty() { format!("{name} {id}").trim().to_owned() } else { format!("{name} {id}…") },
        mirror: mirror.to_owned(),
    })?;
    move_branch(mirror, format!("{}{branch}", refs::HEADS).as_bytes(), Some(&kept.id), "terok: brought back")?;
    Ok(kept.id)
}

/// Moves a branch to `target` (away, when `None`) and keeps its present tip first.
pub(crate) fn move_branch(mirror: &Path, name: &[u8], target: Option<&str>, why: &str) -> Result<(), MirrorError> {
    let now = ledger::read(mirror, &[&String::from_utf8_lossy(name)])?.into_iter().find(|found| found.name == name);
    let mut change = Transaction::default();
    if let Some(now) = &now {
        keep(mirror, std::slice::from_ref(now))?;
    }
    match (&now, target) {
        (Some(now), Some(id)) => change.advance(name, id, &now.id),
        (Some(now), None) => change.delete(name, &now.id),
        (None, Some(id)) => change.create(name, id),
        (None, None) => {}
    }
    change.commit(mirror, why)?;
    now.map_or(Ok(()), |now| relax(mirror, &[now]))
}
