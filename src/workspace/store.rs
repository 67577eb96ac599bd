//! Where workspaces are stored: one directory per container below the state directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base::lock::Lock;

use crate::fault::{WorkspaceError, io};
use crate::record;
use crate::source::DOT_GIT;

/// How long another process may take to bring commits back.
const PATIENCE: Duration = Duration::from_secs(600);

/// Directory of all workspaces.
pub fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("workspaces")
}

/// Directory of one container's workspace.
///
/// # Errors
/// [`WorkspaceError::Name`].
pub fn of(state_dir: &Path, container: &str) -> Result<PathBuf, WorkspaceError> {
    base::ident::check_container_name(container)?;
    Ok(directory(state_dir).join(container))
}

/// Containers that have a workspace, and whether their commits were brought back after their end.
pub fn list(state_dir: &Path) -> Vec<(String, bool)> {
    let entries = std::fs::read_dir(directory(state_dir)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let known = names.filter_map(|name| Some((record::read(&of(state_dir, &name).ok()?)?, name)));
    known.map(|(record, name)| (name, record.ended)).collect()
}

/// Waits until no other process works on this workspace.
///
/// # Errors
/// [`WorkspaceError::Io`].
pub fn hold(dir: &Path) -> Result<Lock, WorkspaceError> {
    let path = dir.with_file_name(format!(".{}.lock", dir.file_name().unwrap_or_default().to_string_lossy()));
    Lock::acquire(&path, PATIENCE).map_err(io("lock", &path))
}

/// Removes a workspace, brought back or not, and the empty mount point that was made for it. With `run`, a workspace of
/// another run stays: a later launch under the same name owns it. Does nothing without a workspace.
///
/// # Errors
/// [`WorkspaceError::Name`], [`WorkspaceError::Io`].
pub fn remove(state_dir: &Path, container: &str, run: Option<&str>) -> Result<(), WorkspaceError> {
    let dir = of(state_dir, container)?;
    if !dir.exists() {
        return Ok(());
    }
    let _lock = hold(&dir)?;
    let record = record::read(&dir);
    if run.is_some_and(|run| record.as_ref().is_none_or(|record| record.run != run)) {
        return Ok(());
    }
    if let Some(record) = record.filter(|record| record.made_dot_git) {
        // Only while it is empty: anything else in it is the user's by now.
        let _ = std::fs::remove_dir(record.folder.join(DOT_GIT));
    }
    std::fs::remove_dir_all(&dir).map_err(io("remove", &dir))
}
