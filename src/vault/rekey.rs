//! Another passphrase for a vault that is open.
//!
//! SQLCipher rewrites every page in one transaction of the write-ahead log: a process that is killed leaves the old
//! passphrase or the new one in force, never a mixture. Other handles on the file keep its identity, so none of their
//! writes can go to a file that nobody reads any more; their next use fails with [`VaultError::Rekeyed`].
//! Invariant: a handle that could not finish is closed, because it might write pages that nobody can read.

use base::secret::Secret;
use rusqlite::Connection;

use crate::error::VaultError;
use crate::store::{Store, connect};

impl Store {
    /// Makes `new` the passphrase of this vault; the old one opens it no more. Takes about 0.3 s.
    ///
    /// # Errors
    /// [`VaultError::EmptyPassphrase`]; [`VaultError::Busy`] when another writer holds the file, with nothing changed;
    /// [`VaultError::Full`] and the like, after which this handle is closed and the old passphrase still holds.
    pub fn change_passphrase(&self, new: &Secret) -> Result<(), VaultError> {
        if new.is_empty() {
            return Err(VaultError::EmptyPassphrase);
        }
        let changed = self.exclusively(|connection| {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            let outcome = rewrite(connection, new);
            if outcome.is_err() && !connection.is_autocommit() {
                let _ = connection.execute_batch("ROLLBACK");
            }
            Ok(outcome)
        })?;
        // The pragma keeps its own failures to itself: what counts is whether the new passphrase opens the file.
        let opened = connect(self.path(), new);
        match (changed, opened) {
            (Ok(()), Ok(_)) => Ok(()),
            (Ok(()), Err(error)) | (Err(error), _) => {
                self.close();
                Err(error)
            }
        }
    }

    /// Runs `work` outside any transaction; its outer failures leave the handle as it was.
    fn exclusively(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<rusqlite::Result<()>>,
    ) -> Result<Result<(), VaultError>, VaultError> {
        let path = self.path().to_path_buf();
        self.with(|connection| work(connection).map(|inner| inner.map_err(|e| VaultError::from_sqlite(&path, e))))
    }
}

fn rewrite(connection: &Connection, new: &Secret) -> rusqlite::Result<()> {
    connection.pragma_update(None, "rekey", new.expose())?;
    if !connection.is_autocommit() {
        connection.execute_batch("COMMIT")?;
    }
    // Pages under the old passphrase leave the file as soon as no reader needs them; a reader in the way is no failure.
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::fault::{Fault, Kind};
    use serde_json::Map;

    #[test]
    fn the_new_passphrase_opens_and_the_old_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let (old, new) = (Secret::new("old"), Secret::new("it's \"new\"; -- ä"));
        let store = Store::open(&path, &old).unwrap();
        for n in 0..500 {
            store
                .store_credential("s", &format!("p{n}"), &Map::from_iter([("k".into(), "x".repeat(300).into())]))
                .unwrap();
        }
        let other = Store::open(&path, &old).unwrap();
        assert_eq!(other.list_credentials("s").unwrap().len(), 500);
        assert!(matches!(store.change_passphrase(&Secret::new("")), Err(VaultError::EmptyPassphrase)));
        store.change_passphrase(&new).unwrap();
        store.store_credential("s", "after", &Map::new()).unwrap();
        assert_eq!(Store::open(&path, &old).unwrap_err().kind(), Kind::WrongPassphrase);
        let again = Store::open(&path, &new).unwrap();
        assert_eq!(again.list_credentials("s").unwrap().len(), 501);
        for attempt in 0..3 {
            let error = other.store_credential("s", "late", &Map::new()).unwrap_err();
            assert!(matches!(error, VaultError::Rekeyed(_)), "{attempt}: {error:?}");
            assert!(matches!(other.list_credentials("s"), Err(VaultError::Rekeyed(_))));
        }
        drop((other, store));
        let sound: String = again.with(|c| c.query_row("PRAGMA integrity_check", [], |row| row.get(0))).unwrap();
        let sealed: usize = again
            .with(|c| {
                c.prepare("PRAGMA cipher_integrity_check")?.query_map([], |_| Ok(()))?.collect::<Result<Vec<_>, _>>()
            })
            .unwrap()
            .len();
        assert_eq!((sound.as_str(), sealed), ("ok", 0));
        drop(again);
        assert_eq!(Store::open(&path, &new).unwrap().list_credentials("s").unwrap().len(), 501);
    }

    #[test]
    fn a_busy_file_keeps_its_passphrase_and_the_handle_stays_usable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let store = Store::open(&path, &Secret::new("old")).unwrap();
        let writer = Store::open(&path, &Secret::new("old")).unwrap();
        writer.begin().unwrap();
        store.with(|c| c.busy_timeout(std::time::Duration::from_millis(10))).unwrap();
        assert!(matches!(store.change_passphrase(&Secret::new("new")), Err(VaultError::Busy(_))));
        writer.end(true).unwrap();
        store.store_credential("s", "p", &Map::new()).unwrap();
        assert!(store.begin().is_ok() && store.change_passphrase(&Secret::new("new")).is_err(), "not in a transaction");
        store.end(true).unwrap();
        assert_eq!(Store::open(&path, &Secret::new("old")).unwrap().list_credentials("s").unwrap(), ["p"]);
    }
}
