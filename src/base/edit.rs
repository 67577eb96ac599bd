//! Changing one section of a configuration file in place.
//!
//! Invariants: the file is complete or untouched; edits of several processes follow each other; a link is written
//! through; mode and owner of an existing file stay, except that a file with a passphrase is never readable by others.
//! New files are 0600 in directories that are 0700.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::{self, ConfigError};
use crate::lock::Lock;
use crate::{file, yaml};

/// Merges `updates` into the mapping `section` of the file, keeping comments, order and quotes; a missing file is made.
///
/// # Errors
/// [`ConfigError`]; the file is unchanged then.
pub fn update_section(path: &Path, section: &str, updates: &Map<String, Value>) -> Result<(), ConfigError> {
    let target = through_links(path);
    let fail = |source| ConfigError::Write { path: path.to_owned(), source };
    if target.metadata().is_ok_and(|about| !about.is_file()) {
        return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    file::create_private_dir(&parent).map_err(fail)?;
    let _turn = Lock::directory(&parent).map_err(fail)?;
    let before = config::read_text(&target)?;
    let content = |source| ConfigError::Content { path: path.to_owned(), source };
    let after = yaml::set_in_section(before.as_deref().unwrap_or(""), section, updates).map_err(content)?;
    if before.as_deref() != Some(&after) {
        replace(&target, &after).map_err(fail)?;
    }
    config::forget_files();
    Ok(())
}

fn through_links(path: &Path) -> PathBuf {
    match path.symlink_metadata() {
        Ok(about) if about.is_symlink() => crate::path::resolve(path),
        _ => path.to_owned(),
    }
}

fn replace(target: &Path, text: &str) -> io::Result<()> {
    let old = target.metadata().ok();
    let secret = yaml::parse_mapping(text).is_ok_and(|data| config::holds_passphrase(&data));
    let mode = match &old {
        Some(old) if secret => old.mode() & file::PRIVATE,
        Some(old) => old.mode() & 0o777,
        None => file::PRIVATE,
    };
    file::write_atomic(target, text.as_bytes(), mode)?;
    match old {
        // Root edits a user's file: it stays the user's.
        Some(old) if crate::user::effective_uid() == 0 && (old.uid(), old.gid()) != (0, 0) => {
            std::os::unix::fs::lchown(target, Some(old.uid()), Some(old.gid()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o777
    }

    #[test]
    fn new_files_are_private() {
        let _alone = crate::notice::alone();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/config.yml");
        update_section(&path, "image", &map(json!({"agents": "all"}))).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "image:\n  agents: all\n");
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no lock or temporary file stays");
    }

    #[test]
    fn mode_owner_and_link_of_an_existing_file_stay() {
        let _alone = crate::notice::alone();
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real.yml"), dir.path().join("link.yml"));
        std::fs::write(&real, "a: 1 # keep\n").unwrap();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&real, &link).unwrap();
        let foreign = crate::user::effective_uid() == 0;
        if foreign {
            std::os::unix::fs::chown(&real, Some(1234), Some(1234)).unwrap();
        }
        update_section(&link, "image", &map(json!({"agents": "all"}))).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "a: 1 # keep\nimage:\n  agents: all\n");
        assert_eq!(mode(&real), 0o644);
        assert!(!foreign || real.metadata().unwrap().uid() == 1234);
        update_section(&link, "credentials", &map(json!({"passphrase": "x"}))).unwrap();
        assert_eq!(mode(&real), 0o600, "a passphrase is nobody else's business");
    }

    #[test]
    fn a_refused_edit_leaves_the_file_alone() {
        let _alone = crate::notice::alone();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yml");
        for text in ["- a\n", "a: [\n"] {
            std::fs::write(&path, text).unwrap();
            let error = update_section(&path, "image", &map(json!({"a": 1}))).unwrap_err();
            assert!(error.to_string().contains("c.yml"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn devices_and_directories_are_not_written() {
        let _alone = crate::notice::alone();
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("config.yml");
        symlink("/dev/null", &link).unwrap();
        for path in [Path::new("/dev/null"), &link, dir.path()] {
            let error = crate::fault::explain(&update_section(path, "image", &map(json!({"a": 1}))).unwrap_err());
            assert!(error.contains(&path.display().to_string()) && error.contains("not a regular file"), "{error}");
        }
        assert_eq!(config::read_text(&link).unwrap(), None, "the null device says that nothing is configured");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn parallel_edits_lose_nothing() {
        let _alone = crate::notice::alone();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yml");
        std::thread::scope(|threads| {
            for n in 0..16 {
                let path = &path;
                threads.spawn(move || update_section(path, "s", &map(json!({format!("k{n}"): n}))).unwrap());
            }
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(yaml::parse(&text).unwrap()["s"].as_object().unwrap().len(), 16);
    }
}
