//! The opened vault: one keyed connection that any thread may use, and its transactions.
//!
//! Refuses an empty passphrase before it touches the disk. The file is created 0600 in a directory created 0700.
//! Three failures are told apart at opening: wrong passphrase, file in use, file damaged. A transaction belongs to the
//! thread that began it; other threads wait for its end as long as they would for another process.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use base::secret::Secret;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::VaultError;
use crate::header::is_plain;
use crate::schema;

/// How long a statement waits for another process, as in every other opener of this file.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Size of a page of the encrypted file; its length is always a multiple.
const PAGE: u64 = 4096;

/// An open vault; any thread may use it.
pub struct Store {
    shared: Mutex<Shared>,
    /// Rung when a transaction ends.
    free: Condvar,
    path: PathBuf,
}

struct Shared {
    /// `None` once closed.
    connection: Option<Connection>,
    /// The thread whose transaction is open.
    owner: Option<ThreadId>,
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
        let shared = Mutex::new(Shared { connection: Some(connection), owner: None });
        Ok(Self { shared, free: Condvar::new(), path: path.to_path_buf() })
    }

    /// The file behind this store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the connection and wipes its key; every later call fails with [`VaultError::Closed`].
    pub fn close(&self) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.connection.take();
        shared.owner = None;
        self.free.notify_all();
    }

    /// The connection, after another thread's transaction has ended.
    fn lock(&self) -> Result<MutexGuard<'_, Shared>, VaultError> {
        let me = std::thread::current().id();
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = |shared: &mut Shared| shared.owner.is_some_and(|owner| owner != me);
        let (shared, waited) =
            self.free.wait_timeout_while(shared, BUSY_TIMEOUT, taken).unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() { Err(VaultError::Busy(self.path.clone())) } else { Ok(shared) }
    }

    /// Runs `work` on the connection and sorts its database errors.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, VaultError> {
        let guard = self.lock()?;
        let connection = guard.connection.as_ref().ok_or(VaultError::Closed)?;
        work(connection).map_err(|source| VaultError::from_sqlite(&self.path, source))
    }

    /// Runs `work` so that all of it happens or nothing; also inside [`Store::begin`].
    pub(crate) fn atomically<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, VaultError> {
        self.with(|connection| {
            // The write lock comes first: a reader that wants to write later may find that it is too late.
            let [start, keep, drop] = if connection.is_autocommit() {
                ["BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"]
            } else {
                ["SAVEPOINT step", "RELEASE step", "ROLLBACK TO step; RELEASE step"]
            };
            connection.execute_batch(start)?;
            let outcome = work(connection).and_then(|value| connection.execute_batch(keep).map(|()| value));
            if outcome.is_err() && !(start == "BEGIN IMMEDIATE" && connection.is_autocommit()) {
                let _ = connection.execute_batch(drop);
            }
            outcome
        })
    }

    /// Runs `work`, which may call any method of this store, so that all of it happens or nothing.
    ///
    /// # Errors
    /// Those of `work`, [`Store::begin`] and [`Store::end`].
    pub fn transaction<T>(&self, work: impl FnOnce() -> Result<T, VaultError>) -> Result<T, VaultError> {
        if self.is_mine() {
            return self.nested(work);
        }
        self.begin()?;
        let unfinished = Unfinished(self);
        let outcome = work();
        std::mem::forget(unfinished);
        let ended = self.end(outcome.is_ok());
        outcome.and_then(|value| ended.map(|()| value))
    }

    fn is_mine(&self) -> bool {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.owner == Some(std::thread::current().id())
    }

    fn nested<T>(&self, work: impl FnOnce() -> Result<T, VaultError>) -> Result<T, VaultError> {
        self.with(|c| c.execute_batch("SAVEPOINT part"))?;
        let outcome = work();
        let end = if outcome.is_ok() { "RELEASE part" } else { "ROLLBACK TO part; RELEASE part" };
        let ended = self.with(|c| c.execute_batch(end));
        outcome.and_then(|value| ended.map(|()| value))
    }

    /// Starts a write transaction that spans several calls.
    ///
    /// # Errors
    /// [`VaultError::Busy`] when another writer holds the file, [`VaultError::Database`] inside a transaction.
    pub fn begin(&self) -> Result<(), VaultError> {
        let mut shared = self.lock()?;
        let connection = shared.connection.as_ref().ok_or(VaultError::Closed)?;
        connection.execute_batch("BEGIN IMMEDIATE").map_err(|e| VaultError::from_sqlite(&self.path, e))?;
        shared.owner = Some(std::thread::current().id());
        Ok(())
    }

    /// Ends the transaction of [`Store::begin`], keeping (`true`) or dropping its changes. Any thread may end it; the
    /// changes of a transaction that could not be kept are dropped.
    ///
    /// # Errors
    /// [`VaultError::Full`] and the like when the changes cannot be kept, [`VaultError::Database`] outside a
    /// transaction.
    pub fn end(&self, keep: bool) -> Result<(), VaultError> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = shared.connection.as_ref().ok_or(VaultError::Closed)?;
        let outcome = connection.execute_batch(if keep { "COMMIT" } else { "ROLLBACK" });
        if outcome.is_err() && !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        shared.owner = None;
        self.free.notify_all();
        outcome.map_err(|source| VaultError::from_sqlite(&self.path, source))
    }

    pub(crate) fn column(&self, sql: &str, args: &[&dyn rusqlite::ToSql]) -> Result<Vec<String>, VaultError> {
        self.with(|c| c.prepare_cached(sql)?.query_map(args, |row| row.get(0))?.collect())
    }
}

/// Drops the changes of a transaction whose work panicked.
struct Unfinished<'a>(&'a Store);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let _ = self.0.end(false);
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
    let fail = |source| VaultError::Io { doing: "read the vault", path: path.to_path_buf(), source };
    if is_plain(path).map_err(fail)? {
        return Err(VaultError::Plaintext(path.to_path_buf()));
    }
    if path.metadata().map_err(fail)?.len() % PAGE != 0 {
        return Err(VaultError::Corrupt(path.to_path_buf()));
    }
    Ok(())
}

pub(crate) fn connect(path: &Path, passphrase: &Secret) -> Result<Connection, VaultError> {
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
    use serde_json::{Map, Value};
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
        assert_ne!(&bytes[..15], b"SQLite format 3");
        assert!(!bytes.windows(11).any(|w| w == b"sk-real-key"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        let again = Store::open(&path, &secret("s3cret")).unwrap();
        assert_eq!(again.load_credential("default", "claude").unwrap(), Some(record("sk-real-key")));
    }

    // improves: 21-2.1-errors-told-apart
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

    // improves: 21-2.1-errors-told-apart
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
    fn another_threads_write_waits_for_the_transaction_and_is_no_part_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), &secret("x")).unwrap();
        store.begin().unwrap();
        store.store_credential("s", "mine", &record("k")).unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| store.store_credential("s", "theirs", &record("k")));
            std::thread::sleep(Duration::from_millis(30));
            assert!(!other.is_finished());
            store.end(false).unwrap();
            other.join().unwrap().unwrap();
        });
        assert_eq!(store.list_credentials("s").unwrap(), ["theirs"]);
        assert!(store.end(true).is_err(), "there is no transaction to end");
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
