//! The session's file: the passphrase in memory-backed storage that the end of the login clears.
//!
//! A missing, unreadable or empty file is the same as none; a link in its place is not followed. Front ends write it by
//! themselves, for a moment with the usual mode: what others could read is made private, or refused.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base::secret::Secret;

use crate::error::VaultError;

use super::LIMIT;

/// What the file holds.
pub(super) fn read(path: &Path) -> Option<Secret> {
    let bytes = base::file::read_regular(path, LIMIT).ok()?;
    if !made_private(path) {
        tracing::warn!(path = %path.display(), "the session file can be read by others and is ignored");
        return None;
    }
    let Ok(text) = String::from_utf8(bytes) else {
        tracing::warn!(path = %path.display(), "the session file is not UTF-8 and is ignored");
        return None;
    };
    let text = Secret::new(text);
    let secret = Secret::new(text.expose().trim_end_matches(['\n', '\r']));
    (!secret.is_empty()).then_some(secret)
}

/// Takes everybody else's rights to the file away, where there are any; false when that cannot be done.
fn made_private(path: &Path) -> bool {
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::symlink_metadata(path)
        .is_ok_and(|found| found.permissions().mode() & 0o077 == 0 || std::fs::set_permissions(path, private).is_ok())
}

/// Writes the session file: 0600, replaced atomically, parents 0700.
///
/// # Errors
/// [`VaultError::Io`].
pub fn write_session_file(path: &Path, passphrase: &Secret) -> Result<(), VaultError> {
    let line = Secret::new(format!("{}\n", passphrase.expose()));
    base::file::write_private(path, line.expose().as_bytes()).map_err(|source| VaultError::Io {
        doing: "write the session file",
        path: path.to_path_buf(),
        source,
    })
}

/// Removes the session file; false when there was none.
///
/// # Errors
/// [`VaultError::Io`].
pub fn forget_session_file(path: &Path) -> Result<bool, VaultError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(VaultError::Io { doing: "remove the session file", path: path.to_path_buf(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // improves: 40-8-session-private
    #[test]
    fn a_file_that_others_could_read_is_made_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault.passphrase");
        std::fs::write(&path, "word\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read(&path).unwrap().expose(), "word");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
