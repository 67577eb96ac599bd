//! The record of one container's workspace, from which any later process can bring its commits back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fault::{WorkspaceError, io};
use crate::source::Kind;

const NAME: &str = "record.json";
const MAX_RECORD: u64 = 1024 * 1024;

/// Everything that is known about one container's workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The container.
    pub container: String,
    /// Identifier of the run, part of branch names.
    pub run: String,
    /// The user's directory.
    pub folder: PathBuf,
    /// Kind of its `.git` at the start.
    pub kind: Kind,
    /// The user's git directory.
    pub git_dir: PathBuf,
    /// The user's object directories.
    pub objects: Vec<PathBuf>,
    /// The branch that the user has checked out, without `refs/heads/`.
    pub branch: Option<String>,
    /// Its commit at the start, or the commit that we last moved it to.
    pub base: Option<String>,
    /// True when objects are named by SHA-256.
    #[serde(default)]
    pub sha256: bool,
    /// True when the user's own branch must not be moved.
    #[serde(default)]
    pub branch_only: bool,
    /// True when we made an empty `.git` as mount point.
    #[serde(default)]
    pub made_dot_git: bool,
    /// When the run began, in seconds since 1970.
    #[serde(default)]
    pub started: i64,
    /// Branches of the container that were brought back, and their commits.
    #[serde(default)]
    pub brought: BTreeMap<String, String>,
    /// True when the container ended and its commits were brought back.
    #[serde(default)]
    pub ended: bool,
}

/// Reads the record of a workspace; `None` when there is none that is whole.
pub fn read(dir: &Path) -> Option<Record> {
    serde_json::from_slice(&base::file::read_regular(&dir.join(NAME), MAX_RECORD).ok()?).ok()
}

/// Writes the record of a workspace.
///
/// # Errors
/// [`WorkspaceError::Io`].
pub fn write(dir: &Path, record: &Record) -> Result<(), WorkspaceError> {
    let path = dir.join(NAME);
    let text = serde_json::to_vec_pretty(record).expect("plain values serialise");
    base::file::write_private(&path, &text).map_err(io("write", &path))
}
