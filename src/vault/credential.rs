//! Credential records: one JSON object per credential set and provider.
//!
//! Invariants: members that nobody here knows survive; the compare-and-store of a refresh happens in one statement, so
//! that no other process can come between, and a record that was deleted meanwhile is not made again.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::store::{BUSY_TIMEOUT, Store};

impl Store {
    /// Stores one credential record, replacing the one it had.
    ///
    /// # Errors
    /// The store's write failures.
    pub fn store_credential(&self, set: &str, provider: &str, data: &Map<String, Value>) -> Result<(), VaultError> {
        let text = json_text(data);
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
        let text: Option<Zeroizing<String>> = self.with(|c| {
            c.prepare_cached("SELECT data FROM credentials WHERE credential_set = ?1 AND provider = ?2")?
                .query_row([set, provider], |row| row.get(0).map(Zeroizing::new))
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

    /// Replaces a record only while its `refresh_token` is still `expected`; false when it is not, or there is none.
    ///
    /// # Errors
    /// The store's write failures.
    pub fn update_credential_if(
        &self,
        set: &str,
        provider: &str,
        expected: &str,
        new: &Map<String, Value>,
    ) -> Result<bool, VaultError> {
        self.with(|c| replace_if(c, [set, provider, &json_text(new), expected]))
    }

    /// The same, but does not wait for another writer for longer than `patience`: whoever shares this store waits as
    /// long as this call does.
    ///
    /// # Errors
    /// [`VaultError::Busy`] soon, else the store's write failures.
    pub fn update_credential_within(
        &self,
        patience: Duration,
        set: &str,
        provider: &str,
        expected: &str,
        new: &Map<String, Value>,
    ) -> Result<bool, VaultError> {
        self.with(|c| {
            c.busy_timeout(patience)?;
            let outcome = replace_if(c, [set, provider, &json_text(new), expected]);
            c.busy_timeout(BUSY_TIMEOUT)?;
            outcome
        })
    }

    /// Set and provider of every record, sorted.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn credential_rows(&self) -> Result<Vec<(String, String)>, VaultError> {
        self.with(|c| {
            c.prepare_cached("SELECT credential_set, provider FROM credentials ORDER BY credential_set, provider")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }
}

/// The stored text; wiped after use, as it holds the secret.
fn json_text(record: &Map<String, Value>) -> Zeroizing<String> {
    Zeroizing::new(serde_json::to_string(record).unwrap_or_else(|_| unreachable!("a JSON map has a text")))
}

fn replace_if(c: &Connection, [set, provider, text, expected]: [&str; 4]) -> rusqlite::Result<bool> {
    let sql = "UPDATE credentials SET data = ?3 WHERE credential_set = ?1 AND provider = ?2 AND \
               CASE WHEN json_valid(data) THEN json_extract(data, '$.refresh_token') = ?4 ELSE 0 END";
    c.prepare_cached(sql)?.execute([set, provider, text, expected]).map(|changed| changed > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::secret::Secret;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), &Secret::new("x")).unwrap();
        (dir, store)
    }

    fn record(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_update_with_little_patience_does_not_keep_others_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let open = || Store::open(&path, &Secret::new("x")).unwrap();
        let (ours, other) = (open(), open());
        let record = |token: &str| Map::from_iter([("refresh_token".to_owned(), Value::from(token))]);
        ours.store_credential("s", "p", &record("r1")).unwrap();
        other.begin().unwrap();
        let began = std::time::Instant::now();
        let patience = Duration::from_millis(20);
        let busy = ours.update_credential_within(patience, "s", "p", "r1", &record("r2"));
        assert!(matches!(busy, Err(VaultError::Busy(_))) && began.elapsed() < Duration::from_secs(2));
        other.end(false).unwrap();
        assert!(ours.update_credential_within(patience, "s", "p", "r1", &record("r2")).unwrap());
        assert!(!ours.update_credential_within(patience, "s", "p", "r1", &record("r3")).unwrap());
        let timeout: i64 = ours.with(|c| c.query_row("PRAGMA busy_timeout", [], |row| row.get(0))).unwrap();
        assert_eq!(timeout, 5000);
    }

    #[test]
    fn a_record_is_replaced_only_while_its_refresh_token_is_the_expected_one() {
        let (_dir, store) = store();
        let fresh = record(r#"{"refresh_token": "new \"\u00e4", "extra": [1]}"#);
        assert!(!store.update_credential_if("s", "p", "old", &fresh).unwrap(), "a missing record is not made");
        assert_eq!(store.load_credential("s", "p").unwrap(), None);
        store.store_credential("s", "p", &record(r#"{"refresh_token": "old"}"#)).unwrap();
        assert!(!store.update_credential_if("s", "p", "other", &fresh).unwrap());
        assert!(store.update_credential_if("s", "p", "old", &fresh).unwrap());
        assert!(!store.update_credential_if("s", "p", "old", &fresh).unwrap(), "only once");
        assert!(store.update_credential_if("s", "p", "new \"ä", &fresh).unwrap(), "escapes are read");
        assert_eq!(store.load_credential("s", "p").unwrap(), Some(fresh));
        store.with(|c| c.execute("UPDATE credentials SET data = 'no json'", [])).unwrap();
        assert!(!store.update_credential_if("s", "p", "old", &record("{}")).unwrap(), "a broken record is left alone");
    }

    #[test]
    fn records_are_listed_by_set_and_provider() {
        let (_dir, store) = store();
        for (set, provider) in [("b", "z"), ("a", "y"), ("a", "x")] {
            store.store_credential(set, provider, &record("{}")).unwrap();
        }
        assert_eq!(
            store.credential_rows().unwrap(),
            [("a", "x"), ("a", "y"), ("b", "z")].map(|(s, p)| (s.to_owned(), p.to_owned()))
        );
        store.store_credential("a", "x", &record(r#"{"key": "new"}"#)).unwrap();
        assert_eq!(store.list_credentials("a").unwrap(), ["x", "y"]);
        assert_eq!(store.list_credential_sets().unwrap(), ["a", "b"]);
        assert_eq!(store.load_credential("a", "x").unwrap().unwrap()["key"], "new");
        store.delete_credential("a", "x").unwrap();
        store.delete_credential("a", "x").unwrap();
        assert_eq!(store.list_credentials("a").unwrap(), ["y"]);
    }
}
