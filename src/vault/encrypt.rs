//! A vault of the days without encryption becomes an encrypted one.
//!
//! Invariants: the plain file is replaced by a complete, verified copy in one rename, or it is untouched; while the copy
//! is made nobody else can write the plain file; nothing of the copy stays behind after a failure, and what a killed
//! process left is removed by the next attempt.

use std::io;
use std::path::{Path, PathBuf};

use base::secret::Secret;
use rusqlite::{Connection, OpenFlags};

use crate::error::VaultError;
use crate::header::is_plain;
use crate::store::{BUSY_TIMEOUT, connect};

/// Encrypts the plain database at `path` with `passphrase`.
///
/// # Errors
/// [`VaultError::EmptyPassphrase`], [`VaultError::Absent`] when there is no file, [`VaultError::Encrypted`] when it is
/// not a plain database, [`VaultError::Busy`] while somebody uses it, else the store's failures.
pub fn encrypt_in_place(path: &Path, passphrase: &Secret) -> Result<(), VaultError> {
    if passphrase.is_empty() {
        return Err(VaultError::EmptyPassphrase);
    }
    let fail = |source| VaultError::Io { doing: "encrypt the vault", path: path.to_path_buf(), source };
    match is_plain(path) {
        Ok(true) => {}
        Ok(false) => return Err(VaultError::Encrypted(path.to_path_buf())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(VaultError::Absent(path.to_path_buf())),
        Err(error) => return Err(fail(error)),
    }
    let copy = with_suffix(path, ".encrypting");
    remove_with_sidecars(&copy).map_err(fail)?;
    base::file::create_new(&copy, b"", base::file::PRIVATE).map_err(fail)?;
    let outcome = replace(path, &copy, passphrase);
    if outcome.is_err() {
        let _ = remove_with_sidecars(&copy);
    }
    outcome
}

fn replace(path: &Path, copy: &Path, passphrase: &Secret) -> Result<(), VaultError> {
    let fail = |source| VaultError::from_sqlite(path, source);
    let plain = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(fail)?;
    let rows = export(&plain, copy, passphrase).map_err(fail)?;
    let sealed = connect(copy, passphrase)?;
    if count_rows(&sealed).map_err(fail)? != rows || is_damaged(&sealed).map_err(fail)? {
        return Err(VaultError::Corrupt(copy.to_path_buf()));
    }
    // Folds its own log into the file, so that the rename takes everything along.
    sealed.close().map_err(|(_, error)| fail(error))?;
    let finish = || -> io::Result<()> {
        std::fs::File::open(copy)?.sync_all()?;
        std::fs::rename(copy, path)?;
        if let Some(directory) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::File::open(directory)?.sync_all()?;
        }
        remove_sidecars(path)?;
        remove_sidecars(copy)
    };
    let done = finish().map_err(|source| VaultError::Io {
        doing: "put the encrypted vault in place of",
        path: path.to_path_buf(),
        source,
    });
    // Held until here: its lock keeps other writers from the file that is being replaced.
    drop(plain);
    done
}

/// Copies everything; the rows copied. The lock on the plain file stays until `plain` is closed.
fn export(plain: &Connection, copy: &Path, passphrase: &Secret) -> rusqlite::Result<i64> {
    plain.busy_timeout(BUSY_TIMEOUT)?;
    plain.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    plain.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    plain.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))?;
    plain.execute(
        "ATTACH DATABASE ?1 AS sealed KEY ?2",
        rusqlite::params![copy.to_string_lossy(), passphrase.expose()],
    )?;
    plain.execute_batch("PRAGMA sealed.cipher_compatibility = 4; BEGIN EXCLUSIVE")?;
    let version: i64 = plain.query_row("PRAGMA main.user_version", [], |row| row.get(0))?;
    plain.query_row("SELECT sqlcipher_export('sealed')", [], |_| Ok(()))?;
    plain.execute_batch(&format!("PRAGMA sealed.user_version = {version}; COMMIT"))?;
    let rows = count_rows(plain)?;
    plain.execute_batch("DETACH DATABASE sealed")?;
    Ok(rows)
}

fn count_rows(connection: &Connection) -> rusqlite::Result<i64> {
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM main.sqlite_master WHERE type = 'table'")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    tables.iter().try_fold(0, |sum, name| {
        let sql = format!("SELECT count(*) FROM main.\"{}\"", name.replace('"', "\"\""));
        connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(|count| sum + count)
    })
}

fn is_damaged(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).map(|verdict| verdict != "ok")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove_sidecars(path: &Path) -> io::Result<()> {
    ["-wal", "-shm", "-journal"].iter().try_for_each(|suffix| remove(&with_suffix(path, suffix)))
}

fn remove_with_sidecars(path: &Path) -> io::Result<()> {
    remove(path)?;
    remove_sidecars(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn plain(path: &Path) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE credentials (credential_set TEXT NOT NULL, provider TEXT NOT NULL, data TEXT NOT NULL, \
                 PRIMARY KEY (credential_set, provider)); \
                 CREATE TABLE proxy_tokens (token TEXT PRIMARY KEY, scope TEXT NOT NULL, task TEXT NOT NULL, \
                 credential_set TEXT NOT NULL, provider TEXT NOT NULL); \
                 INSERT INTO credentials VALUES ('s', 'p', '{\"key\": \"sk-plain\"}'); \
                 INSERT INTO proxy_tokens VALUES ('t', 'scope', 'task', 's', 'p'); PRAGMA user_version = 1",
            )
            .unwrap();
        connection
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_plain_vault_is_encrypted_and_then_migrated() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        drop(plain(&path));
        std::fs::write(dir.path().join("db.encrypting"), "left by a killed process").unwrap();
        let word = Secret::new("it's");
        encrypt_in_place(&path, &word).unwrap();
        assert_eq!(names(dir.path()), ["db"]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!std::fs::read(&path).unwrap().windows(8).any(|w| w == b"sk-plain"));
        let store = Store::open(&path, &word).unwrap();
        assert_eq!(store.load_credential("s", "p").unwrap().unwrap()["key"], "sk-plain");
        assert_eq!(store.lookup_token("t").unwrap().unwrap().subject, "task");
        assert!(matches!(encrypt_in_place(&path, &word), Err(VaultError::Encrypted(_))));
    }

    #[test]
    fn a_refusal_leaves_the_plain_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        assert!(matches!(encrypt_in_place(&path, &Secret::new("x")), Err(VaultError::Absent(_))));
        let user = plain(&path);
        assert!(matches!(encrypt_in_place(&path, &Secret::new("")), Err(VaultError::EmptyPassphrase)));
        user.execute_batch("BEGIN IMMEDIATE; INSERT INTO credentials VALUES ('s', 'q', '{}')").unwrap();
        assert!(matches!(encrypt_in_place(&path, &Secret::new("x")), Err(VaultError::Busy(_))));
        user.execute_batch("COMMIT").unwrap();
        assert_eq!(count_rows(&user).unwrap(), 3);
        assert!(!names(dir.path()).iter().any(|name| name.contains("encrypting")));
    }
}
