//! Finds the git directory of a user's directory, and refuses directories that cannot be protected.
//!
//! Nothing here runs git. A `.git` file and an `alternates` file may come from an archive, so the directories they name
//! are used only when they look like what they should be.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fault::{WorkspaceError, io};

/// Longest `.git`, `commondir` or `alternates` file.
const MAX_POINTER: u64 = 64 * 1024;
/// Most object directories of one repository.
const MAX_ALTERNATES: usize = 16;
/// Name of the entry that git looks for.
pub const DOT_GIT: &str = ".git";

/// Kind of `.git` in the user's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// There is no repository.
    Absent,
    /// A directory: an ordinary repository.
    Directory,
    /// A file with the path of the git directory: a linked worktree or a submodule.
    Link,
}

/// A user's directory and its repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The directory, links resolved.
    pub folder: PathBuf,
    /// Kind of its `.git`.
    pub kind: Kind,
    /// The git directory with `HEAD` and index; the folder's `.git` when there is no repository.
    pub git_dir: PathBuf,
    /// The git directory with configuration, objects and branches.
    pub common: PathBuf,
    /// Object directories: the repository's own first, then its alternates.
    pub objects: Vec<PathBuf>,
}

impl Source {
    /// True when there is a repository.
    pub fn is_repository(&self) -> bool {
        self.kind != Kind::Absent
    }
}

/// Looks at a directory.
///
/// # Errors
/// [`WorkspaceError::Refused`] for a bare repository, the inside of a git directory, a `.git` that is a link or names no
/// git directory; [`WorkspaceError::Io`].
pub fn inspect(folder: &Path) -> Result<Source, WorkspaceError> {
    let folder = std::fs::canonicalize(folder).map_err(io("read", folder))?;
    if folder.ancestors().any(is_git_dir) {
        return Err(WorkspaceError::refused(&folder, "it is, or lies in, a git directory without a working tree"));
    }
    let dot_git = folder.join(DOT_GIT);
    let kind = match std::fs::symlink_metadata(&dot_git) {
        Err(error) if error.kind() == ErrorKind::NotFound => Kind::Absent,
        Err(error) => return Err(io("read", &dot_git)(error)),
        Ok(meta) if meta.is_symlink() => {
            return Err(WorkspaceError::refused(&folder, "its `.git` is a symbolic link, which cannot be protected"));
        }
        // An empty or damaged directory is no repository for git either.
        Ok(meta) if meta.is_dir() => {
            if is_git_dir(&dot_git) {
                Kind::Directory
            } else {
                Kind::Absent
            }
        }
        Ok(_) => Kind::Link,
    };
    let git_dir = if kind == Kind::Link { linked(&folder, &dot_git)? } else { dot_git };
    let common = if kind == Kind::Absent { git_dir.clone() } else { common(&folder, &git_dir)? };
    let objects = if kind == Kind::Absent { Vec::new() } else { objects(&folder, &common.join("objects"))? };
    Ok(Source { folder, kind, git_dir, common, objects })
}

/// True for a directory that git would take for a git directory.
pub fn is_git_dir(path: &Path) -> bool {
    let is_dir = |name: &str| path.join(name).is_dir();
    let linked = || path.join("commondir").is_file() && path.join("gitdir").is_file();
    std::fs::symlink_metadata(path.join("HEAD")).is_ok() && (is_dir("objects") && is_dir("refs") || linked())
}

/// The git directory that a `.git` file names.
fn linked(folder: &Path, file: &Path) -> Result<PathBuf, WorkspaceError> {
    let text = base::file::read_regular(file, MAX_POINTER).map_err(io("read", file))?;
    let text = String::from_utf8_lossy(&text);
    let named = text.strip_prefix("gitdir:").map(|rest| folder.join(rest.trim()));
    let found = named.and_then(|path| std::fs::canonicalize(path).ok()).filter(|path| is_git_dir(path));
    found.ok_or_else(|| WorkspaceError::refused(folder, "its `.git` file does not name a git directory"))
}

/// The git directory that a linked worktree shares with its repository.
fn common(folder: &Path, git_dir: &Path) -> Result<PathBuf, WorkspaceError> {
    let file = git_dir.join("commondir");
    let text = match base::file::read_regular(&file, MAX_POINTER) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(git_dir.to_owned()),
        Err(error) => return Err(io("read", &file)(error)),
    };
    let named = git_dir.join(String::from_utf8_lossy(&text).trim());
    let found = std::fs::canonicalize(named).ok().filter(|path| is_git_dir(path));
    found.ok_or_else(|| WorkspaceError::refused(folder, "its git directory names no repository"))
}

/// The object directory and its alternates, each once.
fn objects(folder: &Path, first: &Path) -> Result<Vec<PathBuf>, WorkspaceError> {
    let (mut found, mut waiting) = (Vec::new(), vec![first.to_owned()]);
    while let Some(next) = waiting.pop() {
        let real = std::fs::canonicalize(&next).unwrap_or(next);
        if found.contains(&real) {
            continue;
        }
        if !is_object_dir(&real) || found.len() >= MAX_ALTERNATES {
            return Err(WorkspaceError::refused(
                folder,
                format!("`{}` is not a directory of git objects", base::text::sanitize_tty(&real.to_string_lossy())),
            ));
        }
        let text = base::file::read_regular(&real.join("info/alternates"), MAX_POINTER).unwrap_or_default();
        let lines = String::from_utf8_lossy(&text).into_owned();
        let named = lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| real.join(line));
        // An alternate that does not exist is skipped, as git does.
        waiting.extend(named.filter(|path| path.exists()));
        found.push(real);
    }
    Ok(found)
}

/// True for a directory with nothing but what git keeps among objects.
fn is_object_dir(path: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(path) else { return false };
    let known = |name: &str| {
        let is_fan_out = name.len() == 2 && name.bytes().all(|b| b.is_ascii_hexdigit());
        let is_temporary = ["tmp_", "incoming-", "bulk-fsync-", "tmp-objdir-"].iter().any(|p| name.starts_with(p));
        is_fan_out || is_temporary || matches!(name, "pack" | "info")
    };
    entries.take(4096).flatten().all(|entry| entry.file_name().to_str().is_some_and(known))
}
