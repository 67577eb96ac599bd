//! Small private files of a launch: complete or absent, 0600, and cheap.
//!
//! They need to survive the death of a process, not of the machine, so they are not forced to the disk: a launch writes
//! several, and the container does not survive a power cut either.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Replaces `path`; missing parents are made 0700. A link at `path` is replaced, not followed.
///
/// # Errors
/// The operating system's; the old content is then untouched.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = stage(path, content)?;
    std::fs::rename(&temporary, path).inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

/// Creates `path` with its whole content at once; false when something is there already.
///
/// # Errors
/// The operating system's.
pub fn create(path: &Path, content: &[u8]) -> io::Result<bool> {
    let temporary = stage(path, content)?;
    let linked = std::fs::hard_link(&temporary, path);
    let _ = std::fs::remove_file(&temporary);
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a file; absence is success.
///
/// # Errors
/// The operating system's.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn stage(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = parent.join(format!(".{name}.{}.tmp", base::ident::random_hex(6)));
    let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
    let mut file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            base::file::create_private_dir(parent)?;
            open()?
        }
        other => other?,
    };
    file.write_all(content).inspect_err(|_| drop(std::fs::remove_file(&temporary)))?;
    Ok(temporary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn creates_once_and_replaces_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/file");
        assert!(create(&path, b"1").unwrap());
        assert!(!create(&path, b"2").unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"1");
        write(&path, b"3").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"3");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(root.path().join("a")).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
    }
}
