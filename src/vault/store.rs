//! The opened vault: one keyed connection behind a mutex, and the credential records.
//!
//! Refuses an empty passphrase before it touches the disk. The file is created 0600 in a directory created 0700.
//! Three failures are told apart at opening: wrong passphrase, file in use, file damaged.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use base::secret::Secret;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};
use serde_json::{Map, Value};

use crate::error::VaultError;
use crate::schema;

/// How long a statement waits for another process, as in every other opener of this file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Size of a page of the encrypted file; its length is always a multiple.
const PAGE: u64 = 4096;
const PLAIN_HEADER: &[u8; 16] = b"SQLite format 3\0";

/// An open vault; any thread may use it.
pub struct Store {
    connection: Mutex<Option<Connection>>,
    path: PathBuf,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the vault at `path`, creating it when there is none. Takes about 0.1 s: the key is derived anew.
    ///
    /// # Errors
    /// [`VaultError::NoPassphrase`] for an empty passphrase, else one of the opening failures.
    pub fn open(path: &Path, passphrase: &Secret) -> Result<Self, VaultError> {
        if passphrase.is_empty() {
            return Err(VaultError::NoPassphrase(path.to_path_buf()));
        }
        create_private(path)?;
        refuse_plain_or_torn(path)?;
        let connection = connect(path, passphrase)?;
        schema::prepare(&connection, path)?;
        Ok(Self { connection: Mutex::new(Some(connection)), path: path.to_path_buf() })
    }

    /// The file behind this store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the connection and wipes its key; every later call fails with [`VaultError::Closed`].
    pub fn close(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Runs `work` on the connection and sorts its database errors.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, VaultError> {
        let guard = self.lock();
        let connection = guard.as_ref().ok_or(VaultError::Closed)?;
        work(connection).map_err(|source| VaultError::from_sqlite(&self.path, source))
    }

    /// Runs `work` so that all of it happens or nothing; also inside [`Store::begin`].
    pub(crate) fn atomically<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, VaultError> {
        self.with(|connection| {
            connection.execute_batch("SAVEPOINT step")?;
            let outcome = work(connection);
            let end = if outcome.is_ok() { "RELEASE step" } else { "ROLLBACK TO step; RELEASE step" };
            connection.execute_batch(end)?;
            outcome
        })
    }

    /// Starts a write transaction that spans several calls.
    ///
    /// # Errors
    /// [`VaultError::Busy`] when another writer holds the file, [`VaultError::Database`] inside a transaction.
    pub fn begin(&self) -> Result<(), VaultError> {
        self.with(|c| c.execute_batch("BEGIN IMMEDIATE"))
    }

    /// Ends the transaction of [`Store::begin`], keeping (`true`) or dropping its changes.
    ///
    /// # Errors
    /// [`VaultError::Full`] and the like when the changes cannot be kept.
    pub fn end(&self, keep: bool) -> Result<(), VaultError> {
        self.with(|c| c.execute_batch(if keep { "COMMIT" } else { "ROLLBACK" }))
    }

    /// Stores one credential record, replacing the one it had.
    ///
    /// # Errors
    /// The store's write failures.
    pub fn store_credential(&self, set: &str, provider: &str, data: &Map<String, Value>) -> Result<(), VaultError> {
        let text = Value::Object(data.clone()).to_string();
        self.with(|c| {
            c.prepare_cached(
                "INSERT INTO credentials (credential_set, provider, data) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (credential_set, provider) DO UPDATE SET data = excluded.data",
            )?
            .execute([set, provider, &text])
            .map(drop)
        })
    }

    /// One credential record, or `None`.
    ///
    /// # Errors
    /// [`VaultError::Record`] when the stored text is not a JSON object, else the store's read failures.
    pub fn load_credential(&self, set: &str, provider: &str) -> Result<Option<Map<String, Value>>, VaultError> {
        let text: Option<String> = self.with(|c| {
            c.prepare_cached("SELECT data FROM credentials WHERE credential_set = ?1 AND provider = ?2")?
                .query_row([set, provider], |row| row.get(0))
                .optional()
        })?;
        let Some(text) = text else { return Ok(None) };
        match serde_json::from_str(&text) {
            Ok(Value::Object(record)) => Ok(Some(record)),
            _ => Err(VaultError::Record { what: format!("credential of `{provider}` in set `{set}`") }),
        }
    }

    /// Provider names with a credential in `set`, sorted.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn list_credentials(&self, set: &str) -> Result<Vec<String>, VaultError> {
        self.column("SELECT provider FROM credentials WHERE credential_set = ?1 ORDER BY provider", &[&set])
    }

    /// All credential sets, sorted.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn list_credential_sets(&self) -> Result<Vec<String>, VaultError> {
        self.column("SELECT DISTINCT credential_set FROM credentials ORDER BY credential_set", &[])
    }

    /// Forgets one credential; nothing happens when there is none.
    ///
    /// # Errors
    /// The store's write failures.
    pub fn delete_credential(&self, set: &str, provider: &str) -> Result<(), VaultError> {
        self.with(|c| {
            c.execute("DELETE FROM credentials WHERE credential_set = ?1 AND provider = ?2", [set, provider]).map(drop)
        })
    }

    pub(crate) fn column(&self, sql: &str, args: &[&dyn rusqlite::ToSql]) -> Result<Vec<String>, VaultError> {
        self.with(|c| c.prepare_cached(sql)?.query_map(args, |row| row.get(0))?.collect())
    }
}

/// Creates the parents (0700) and an empty file (0600) so that SQLite never chooses a mode.
fn create_private(path: &Path) -> Result<(), VaultError> {
    if path.exists() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        base::file::create_private_dir(parent).map_err(|source| VaultError::Io {
            doing: "create the directory",
            path: parent.to_path_buf(),
            source,
        })?;
    }
    base::file::create_new(path, b"", base::file::PRIVATE).map(drop).map_err(|source| VaultError::Io {
        doing: "create the vault",
        path: path.to_path_buf(),
        source,
    })
}

/// A plain database has a readable header; a whole number of pages is the least an encrypted one has.
fn refuse_plain_or_torn(path: &Path) -> Result<(), VaultError> {
    use std::io::Read;
    let fail = |source| VaultError::Io { doing: "read the vault", path: path.to_path_buf(), source };
    let mut file = std::fs::File::open(path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    let mut header = [0u8; 16];
    if size >= 16 {
        file.read_exact(&mut header).map_err(fail)?;
    }
    if &header == PLAIN_HEADER {
        return Err(VaultError::Plaintext(path.to_path_buf()));
    }
    if size % PAGE != 0 {
        return Err(VaultError::Corrupt(path.to_path_buf()));
    }
    Ok(())
}

fn connect(path: &Path, passphrase: &Secret) -> Result<Connection, VaultError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let fail = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => VaultError::WrongPassphrase(path.to_path_buf()),
        _ => VaultError::from_sqlite(path, source),
    };
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
    // Its own diagnostics would go to our standard error and say less than our errors do.
    connection.pragma_update(None, "cipher_log_level", "NONE").map_err(fail)?;
    connection.pragma_update(None, "key", passphrase.expose()).map_err(fail)?;
    connection.pragma_update(None, "cipher_compatibility", 4).map_err(fail)?;
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(())).map_err(fail)?;
    journal_in_wal(&connection).map_err(fail)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(fail)?;
    Ok(connection)
}

/// A read-only file keeps whatever journal it has; reading works either way.
fn journal_in_wal(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if mode == "wal" || connection.is_readonly(rusqlite::MAIN_DB)? {
        return Ok(());
    }
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::fault::{Fault, Kind};
    use std::os::unix::fs::PermissionsExt;

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    fn record(key: &str) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("type".into(), "api_key".into());
        map.insert("key".into(), key.into());
        map
    }

    #[test]
    fn a_fresh_vault_is_private_and_encrypted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/vault/credentials.db");
        let store = Store::open(&path, &secret("s3cret")).unwrap();
        store.store_credential("default", "claude", &record("sk-real-key")).unwrap();
        store.close();
        assert!(matches!(store.list_credentials("default"), Err(VaultError::Closed)));
        let bytes = std::fs::read(&path).unwrap();
        assert_ne!(&bytes[..16], PLAIN_HEADER);
        assert!(!bytes.windows(11).any(|w| w == b"sk-real-key"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        let again = Store::open(&path, &secret("s3cret")).unwrap();
        assert_eq!(again.load_credential("default", "claude").unwrap(), Some(record("sk-real-key")));
    }

    #[test]
    fn opening_failures_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let kind = |path: &Path, word: &str| Store::open(path, &secret(word)).unwrap_err().kind();
        assert_eq!(kind(&at("none"), ""), Kind::NoPassphrase);
        assert!(!at("none").exists(), "an empty passphrase leaves no file");
        Store::open(&at("good"), &secret("right")).unwrap();
        assert_eq!(kind(&at("good"), "wrong"), Kind::WrongPassphrase);
        Connection::open(at("plain")).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        assert_eq!(kind(&at("plain"), "x"), Kind::PlaintextDb);
        std::fs::write(at("garbage"), vec![7u8; 5000]).unwrap();
        assert_eq!(kind(&at("garbage"), "x"), Kind::VaultCorrupt);
        std::fs::create_dir(at("directory")).unwrap();
        assert_eq!(kind(&at("directory"), "x"), Kind::Os);
        std::fs::write(at("empty"), "").unwrap();
        assert!(Store::open(&at("empty"), &secret("x")).is_ok());
    }

    #[test]
    fn a_lock_held_by_another_writer_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let first = Store::open(&path, &secret("x")).unwrap();
        let second = Store::open(&path, &secret("x")).unwrap();
        first.begin().unwrap();
        second.with(|c| c.busy_timeout(Duration::from_millis(10))).unwrap();
        let error = second.store_credential("s", "p", &record("k")).unwrap_err();
        assert_eq!(error.kind(), Kind::VaultBusy);
        assert_eq!(second.list_credentials("s").unwrap(), Vec::<String>::new(), "reading goes on");
        first.end(false).unwrap();
        second.store_credential("s", "p", &record("k")).unwrap();
    }

    #[test]
    fn a_dropped_transaction_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), &secret("x")).unwrap();
        store.begin().unwrap();
        assert!(store.begin().is_err(), "transactions do not nest");
        store.store_credential("s", "p", &record("k")).unwrap();
        store.end(false).unwrap();
        assert_eq!(store.load_credential("s", "p").unwrap(), None);
    }

    #[test]
    fn credentials_are_listed_by_set() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), &secret("x")).unwrap();
        for (set, provider) in [("b", "z"), ("a", "y"), ("a", "x")] {
            store.store_credential(set, provider, &record("k")).unwrap();
        }
        store.store_credential("a", "x", &record("new")).unwrap();
        assert_eq!(store.list_credentials("a").unwrap(), ["x", "y"]);
        assert_eq!(store.list_credential_sets().unwrap(), ["a", "b"]);
        assert_eq!(store.load_credential("a", "x").unwrap().unwrap()["key"], "new");
        store.delete_credential("a", "x").unwrap();
        store.delete_credential("a", "x").unwrap();
        assert_eq!(store.list_credentials("a").unwrap(), ["y"]);
    }

    #[test]
    fn version_one_is_migrated_and_newer_ones_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        Store::open(&path, &secret("x")).unwrap();
        let raw = connect(&path, &secret("x")).unwrap();
        raw.execute_batch("ALTER TABLE proxy_tokens RENAME COLUMN subject TO task; PRAGMA user_version = 1").unwrap();
        let store = Store::open(&path, &secret("x")).unwrap();
        let token = store.create_token("s", "t", "default", "gh").unwrap();
        assert_eq!(store.lookup_token(&token).unwrap().unwrap().subject, "t");
        raw.execute_batch("PRAGMA user_version = 99").unwrap();
        Store::open(&path, &secret("x")).unwrap();
        let version: i64 = raw.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, 99);
    }

    #[test]
    fn many_openers_of_a_fresh_file_agree_on_one_schema() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let openers: Vec<_> = (0..6)
            .map(|n| {
                let path = path.clone();
                std::thread::spawn(move || {
                    let store = Store::open(&path, &secret("x")).unwrap();
                    store.store_credential("s", &format!("p{n}"), &Map::new()).unwrap();
                })
            })
            .collect();
        openers.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(Store::open(&path, &secret("x")).unwrap().list_credentials("s").unwrap().len(), 6);
    }
}
