//! The way from an old passphrase to a new one that survives a crash at any point.
//!
//! The database takes its new key in one step, the tiers take the new passphrase in others. Between them lies a note
//! beside the vault: the new passphrase, in a small database of its own that the *old* passphrase opens. Whoever still
//! has the old one, from whatever tier, gets into the vault through the note; it is removed when every tier has the new
//! one. The note opens nothing that the old passphrase did not open already, and it never holds plain text.

use std::path::{Path, PathBuf};

use base::secret::Secret;
use rusqlite::{Connection, OpenFlags};

use crate::error::VaultError;
use crate::store::Store;

const FILE: &str = "vault.passphrase.handover";

/// Where the note of a vault is.
pub fn note(vault: &Path) -> PathBuf {
    vault.with_file_name(FILE)
}

/// Writes the note and reads it back.
///
/// # Errors
/// [`VaultError::Io`] or the database's; there is no usable note then.
pub fn write(vault: &Path, old: &Secret, new: &Secret) -> Result<(), VaultError> {
    if old.is_empty() || new.is_empty() {
        return Err(VaultError::EmptyPassphrase);
    }
    let path = note(vault);
    forget(vault)?;
    base::file::create_new(&path, b"", base::file::PRIVATE).map_err(|source| VaultError::Io {
        doing: "create the note",
        path: path.clone(),
        source,
    })?;
    let fail = |source| VaultError::from_sqlite(&path, source);
    let connection = connect(&path, old).map_err(fail)?;
    // Synchronous as it is by default: the note must be on the disk before the vault changes its key.
    connection.execute_batch("CREATE TABLE note (passphrase TEXT NOT NULL)").map_err(fail)?;
    connection.execute("INSERT INTO note VALUES (?1)", [new.expose()]).map_err(fail)?;
    drop(connection);
    match read(vault, old) {
        Some(found) if found.matches(new.expose()) => Ok(()),
        _ => Err(VaultError::Corrupt(path)),
    }
}

/// The new passphrase, for who has the old one; `None` without a note, with another passphrase or for half a note.
pub fn read(vault: &Path, old: &Secret) -> Option<Secret> {
    let path = note(vault);
    if old.is_empty() || !std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file()) {
        return None;
    }
    let connection = connect(&path, old).ok()?;
    let text: String = connection.query_row("SELECT passphrase FROM note", [], |row| row.get(0)).ok()?;
    let secret = Secret::new(text);
    (!secret.is_empty()).then_some(secret)
}

/// Removes the note; false when there was none.
///
/// # Errors
/// [`VaultError::Io`].
pub fn forget(vault: &Path) -> Result<bool, VaultError> {
    let path = note(vault);
    for companion in ["-journal", "-wal", "-shm"] {
        let _ = std::fs::remove_file(path.with_file_name(format!("{FILE}{companion}")));
    }
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(VaultError::Io { doing: "remove the note", path, source }),
    }
}

/// Opens the vault, through the note when a change of the passphrase was interrupted.
///
/// # Errors
/// Those of [`Store::open`].
pub fn open(vault: &Path, passphrase: &Secret) -> Result<Store, VaultError> {
    match Store::open(vault, passphrase) {
        Err(wrong @ VaultError::WrongPassphrase(_)) => {
            let Some(newer) = read(vault, passphrase) else { return Err(wrong) };
            let store = Store::open(vault, &newer).map_err(|_| wrong)?;
            tracing::warn!("a change of the passphrase was interrupted; finish it with `vault passphrase change`");
            Ok(store)
        }
        other => other,
    }
}

fn connect(path: &Path, key: &Secret) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "cipher_log_level", "NONE")?;
    connection.pragma_update(None, "key", key.expose())?;
    connection.pragma_update(None, "cipher_compatibility", 4)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    #[test]
    fn the_note_tells_the_new_passphrase_to_who_has_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let vault = dir.path().join("credentials.db");
        assert!(read(&vault, &secret("old")).is_none());
        write(&vault, &secret("old"), &secret("brand new")).unwrap();
        assert_eq!(read(&vault, &secret("old")).unwrap().expose(), "brand new");
        assert!(read(&vault, &secret("guess")).is_none() && read(&vault, &secret("")).is_none());
        let file = note(&vault);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!std::fs::read(&file).unwrap().windows(9).any(|w| w == b"brand new"));
        assert!(forget(&vault).unwrap() && !forget(&vault).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing else is left");
        std::fs::write(&file, b"").unwrap();
        assert!(read(&vault, &secret("old")).is_none(), "half a note is none");
    }

    #[test]
    fn the_vault_opens_with_either_passphrase_until_the_note_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let vault = dir.path().join("credentials.db");
        // As if the key had been changed and the tiers had not.
        Store::open(&vault, &secret("new")).unwrap();
        assert!(matches!(open(&vault, &secret("old")), Err(VaultError::WrongPassphrase(_))));
        write(&vault, &secret("old"), &secret("new")).unwrap();
        for word in ["old", "new"] {
            open(&vault, &secret(word)).unwrap();
        }
        assert!(matches!(open(&vault, &secret("other")), Err(VaultError::WrongPassphrase(_))));
        forget(&vault).unwrap();
        assert!(matches!(open(&vault, &secret("old")), Err(VaultError::WrongPassphrase(_))));
    }
}
