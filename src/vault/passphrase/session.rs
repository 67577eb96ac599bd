//! The session's file: the passphrase in memory-backed storage that the end of the login clears.
//!
//! A missing, unreadable or empty file is the same as none; a link in its place is not followed.

use std::path::Path;

use base::secret::Secret;

use crate::error::VaultError;

use super::LIMIT;

/// What the file holds.
pub(super) fn read(path: &Path) -> Option<Secret> {
    let bytes = base::file::read_regular(path, LIMIT).ok()?;
    let Ok(text) = String::from_utf8(bytes) else {
        tracing::warn!(path = %path.display(), "the session file is not UTF-8 and is ignored");
        return None;
    };
    let text = Secret::new(text);
    let secret = Secret::new(text.expose().trim_end_matches(['\n', '\r']));
    (!secret.is_empty()).then_some(secret)
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
