//! Reads `HEAD` and the branches of a git directory that a container wrote, without git and without following links.
//!
//! Names and contents that are malformed are skipped; sizes and numbers are bounded.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use base::file::Dir;
use mirror::refs::{HEADS, is_branch, is_object_id};

use crate::fault::WorkspaceError;

/// Largest `packed-refs`.
const MAX_PACKED: u64 = 64 * 1024 * 1024;
/// Most entries below `refs/heads`.
const MAX_ENTRIES: usize = 20_000;
/// Deepest directory below `refs/heads`.
const MAX_DEPTH: usize = 16;
/// Longest `HEAD` or branch file.
const MAX_REF: u64 = 4096;

/// Branch names, without `refs/heads/`, and their commits.
pub type Branches = BTreeMap<String, String>;

/// Target of `HEAD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// A branch, without `refs/heads/`.
    Branch(String),
    /// A commit.
    Detached(String),
}

/// Reads `HEAD`; `None` when it is missing or malformed.
pub fn head(git_dir: &Dir) -> Option<Head> {
    let text = String::from_utf8(git_dir.read(Path::new("HEAD"), MAX_REF).ok()?).ok()?;
    let text = text.trim();
    match text.strip_prefix("ref:") {
        Some(name) => name.trim().strip_prefix(HEADS).filter(|name| is_branch(name)).map(|n| Head::Branch(n.into())),
        None => is_object_id(text).then(|| Head::Detached(text.into())),
    }
}

/// Reads the branches, packed and loose.
///
/// # Errors
/// [`WorkspaceError::TooLarge`].
pub fn branches(git_dir: &Dir) -> Result<Branches, WorkspaceError> {
    let packed = git_dir.read(Path::new("packed-refs"), MAX_PACKED).unwrap_or_default();
    let mut found = parse(&packed);
    let mut waiting = vec![(PathBuf::new(), 0)];
    let mut seen = 0;
    let heads = Path::new("refs/heads");
    while let Some((relative, depth)) = waiting.pop() {
        let Ok(dir) = git_dir.open_below(&heads.join(&relative)) else { continue };
        for (name, kind) in list(&dir) {
            seen += 1;
            if seen > MAX_ENTRIES {
                return Err(WorkspaceError::TooLarge {
                    what: "the number of branches",
                    limit: MAX_ENTRIES.to_string(),
                });
            }
            let path = relative.join(&name);
            match kind {
                rustix::fs::FileType::Directory if depth < MAX_DEPTH => waiting.push((path, depth + 1)),
                rustix::fs::FileType::RegularFile => {
                    let id = dir.read(Path::new(&name), MAX_REF).ok().and_then(|text| String::from_utf8(text).ok());
                    let id = id.map(|text| text.trim().to_owned()).filter(|id| is_object_id(id));
                    let name = path.to_str().filter(|name| is_branch(name));
                    found.extend(name.map(str::to_owned).zip(id));
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

/// The branches of a `packed-refs` text.
pub fn parse(packed: &[u8]) -> Branches {
    let text = String::from_utf8_lossy(packed);
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let named = lines.filter_map(|(id, name)| Some((name.strip_prefix(HEADS)?, id)));
    let good = named.filter(|(name, id)| is_branch(name) && is_object_id(id));
    good.map(|(name, id)| (name.to_owned(), id.to_owned())).collect()
}

/// The entries of an open directory and their types.
pub(crate) fn list(dir: &Dir) -> Vec<(std::ffi::OsString, rustix::fs::FileType)> {
    let Ok(entries) = rustix::fs::Dir::read_from(dir.as_fd()) else { return Vec::new() };
    let named = entries.flatten().map(|entry| std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
    let visible = named.filter(|name| name != "." && name != "..").take(MAX_ENTRIES + 1);
    visible.filter_map(|name| Some((name.clone(), dir.entry_type(name.to_str()?).ok()??))).collect()
}
