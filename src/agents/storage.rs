//! How much room tasks and shared directories take.
//!
//! Invariants: links are neither followed nor counted, a file with several names counts once, and what vanishes or
//! cannot be read during the walk is passed over.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Sum of the apparent sizes of the regular files below `root`, in bytes; 0 for what is no directory.
pub fn tree_size(root: &Path) -> u64 {
    let mut seen: HashSet<(u64, u64)> = HashSet::new();
    let mut open: Vec<PathBuf> = Vec::new();
    if std::fs::symlink_metadata(root).is_ok_and(|meta| meta.is_dir()) {
        open.push(root.to_owned());
    }
    let mut total = 0;
    while let Some(dir) = open.pop() {
        let Ok(listing) = std::fs::read_dir(&dir) else { continue };
        for entry in listing.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                open.push(entry.path());
            } else if meta.is_file() && (meta.nlink() == 1 || seen.insert((meta.dev(), meta.ino()))) {
                total += meta.len();
            }
        }
    }
    total
}

/// Names of the plain directories below `root`, sorted; none when it does not exist.
pub fn children(root: &Path) -> Vec<String> {
    let Ok(listing) = std::fs::read_dir(root) else { return Vec::new() };
    let dirs = listing.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut names: Vec<String> = dirs.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Bytes of a task's workspace, and of its agent configuration with its copies of the shared directories.
pub fn task(dir: &Path) -> (u64, u64) {
    let own = [crate::config_dir::DIRECTORY, "agent-home"].map(|name| tree_size(&dir.join(name)));
    (tree_size(&dir.join("workspace-dangerous")), own.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn sizes() {
        let dir = tempfile::tempdir().unwrap();
        let (work, config) = (dir.path().join("workspace-dangerous/sub"), dir.path().join("agent-config"));
        fs::create_dir_all(&work).unwrap();
        fs::create_dir(&config).unwrap();
        fs::write(work.join("a"), [0; 100]).unwrap();
        fs::write(work.join("../b"), [0; 50]).unwrap();
        fs::hard_link(work.join("a"), work.join("again")).unwrap();
        fs::write(config.join("c"), [0; 30]).unwrap();
        std::os::unix::fs::symlink("/nowhere", config.join("dangling")).unwrap();
        std::os::unix::fs::symlink("/usr", config.join("large")).unwrap();
        assert_eq!(task(dir.path()), (150, 30));
        assert_eq!(task(&dir.path().join("none")), (0, 0));
        assert_eq!(children(dir.path()), ["agent-config", "workspace-dangerous"]);
    }
}
