//! SSH key rows and their assignment to scopes.
//!
//! A key belongs to any number of scopes and goes away with the last one. Scopes that begin with `%` belong to the
//! product itself; callers reach them only by saying so.

use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::schema;
use crate::store::Store;

/// One key without its material.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyRow {
    /// Row number.
    pub id: i64,
    /// `ed25519`, `rsa` or `ecdsa`.
    pub key_type: String,
    /// `SHA256:` and the unpadded base64 of the digest of the public blob.
    pub fingerprint: String,
    /// Free text shown by agents.
    pub comment: String,
    /// UTC, `YYYY-MM-DD HH:MM:SS`.
    pub created_at: String,
}

/// One key with its material; its `Debug` shows neither.
#[derive(Clone)]
pub struct KeyRecord {
    /// Row number.
    pub id: i64,
    /// `ed25519`, `rsa` or `ecdsa`.
    pub key_type: String,
    /// Unencrypted PKCS#8 DER.
    pub private_der: Zeroizing<Vec<u8>>,
    /// SSH wire form of the public key.
    pub public_blob: Vec<u8>,
    /// Free text shown by agents.
    pub comment: String,
    /// As in [`KeyRow`].
    pub fingerprint: String,
}

impl std::fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRecord")
            .field("id", &self.id)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

const LONGEST_SCOPE: usize = 64;
const LONGEST_COMMENT: usize = 200;

/// Checks the form of a scope.
///
/// # Errors
/// [`VaultError::Scope`] for anything but `[A-Za-z0-9][A-Za-z0-9._-]*` or `%[a-z]+` of at most 64 characters.
pub fn check_scope(scope: &str) -> Result<(), VaultError> {
    let refuse = |why| Err(VaultError::Scope { scope: scope.to_owned(), why });
    if scope.len() > LONGEST_SCOPE {
        return refuse("it is longer than 64 characters");
    }
    if let Some(name) = scope.strip_prefix('%') {
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
        return if plain { Ok(()) } else { refuse("after `%` only lower-case letters are allowed") };
    }
    let mut bytes = scope.bytes();
    if !bytes.next().is_some_and(|b| b.is_ascii_alphanumeric()) {
        return refuse("it must begin with a letter or digit");
    }
    if !bytes.all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return refuse("only letters, digits, `.`, `_` and `-` are allowed");
    }
    Ok(())
}

pub(crate) fn check_writable_scope(scope: &str, allow_infra: bool) -> Result<(), VaultError> {
    if scope.starts_with('%') && !allow_infra {
        return Err(VaultError::Scope { scope: scope.to_owned(), why: "scopes that begin with `%` are reserved" });
    }
    check_scope(scope)
}

pub(crate) fn check_comment(comment: &str) -> Result<(), VaultError> {
    if comment.chars().count() > LONGEST_COMMENT {
        return Err(VaultError::Comment("it is longer than 200 characters"));
    }
    if comment.chars().any(|c| c < ' ' || c == '\u{7f}') {
        return Err(VaultError::Comment("it contains a control character"));
    }
    Ok(())
}

const ROW: &str = "k.id, k.key_type, k.fingerprint, k.comment, k.created_at";
const IN_SCOPE: &str = "FROM ssh_keys k JOIN ssh_key_assignments link ON k.id = link.key_id WHERE link.scope = ?1 \
     ORDER BY link.assigned_at, k.id";

fn key_row(row: &Row<'_>) -> rusqlite::Result<KeyRow> {
    Ok(KeyRow {
        id: row.get(0)?,
        key_type: row.get(1)?,
        fingerprint: row.get(2)?,
        comment: row.get(3)?,
        created_at: row.get(4)?,
    })
}

impl Store {
    /// Stores a key unless its fingerprint is known; the row number either way.
    ///
    /// # Errors
    /// [`VaultError::KeyType`] for a type other than `ed25519`, `rsa` and `ecdsa`, else the store's write failures.
    pub fn store_ssh_key(
        &self,
        kind: &str,
        private: &[u8],
        public: &[u8],
        comment: &str,
        fingerprint: &str,
    ) -> Result<i64, VaultError> {
        if !matches!(kind, "ed25519" | "rsa" | "ecdsa") {
            return Err(VaultError::KeyType(kind.to_owned()));
        }
        self.atomically(|c| {
            if kind == "ecdsa" {
                schema::admit_ecdsa(c)?;
            }
            let inserted = c.execute(
                "INSERT INTO ssh_keys (key_type, private_der, public_blob, comment, fingerprint) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (fingerprint) DO NOTHING",
                rusqlite::params![kind, private, public, comment, fingerprint],
            )?;
            note_change(c, inserted)?;
            c.query_row("SELECT id FROM ssh_keys WHERE fingerprint = ?1", [fingerprint], |row| row.get(0))
        })
    }

    /// The key with this fingerprint, without its material.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn ssh_key_by_fingerprint(&self, fingerprint: &str) -> Result<Option<KeyRow>, VaultError> {
        let sql = format!("SELECT {ROW} FROM ssh_keys k WHERE k.fingerprint = ?1");
        self.with(|c| c.query_row(&sql, [fingerprint], key_row).optional())
    }

    /// Changes a comment; false when the fingerprint is unknown.
    ///
    /// # Errors
    /// [`VaultError::Comment`], else the store's write failures.
    pub fn set_ssh_key_comment(&self, fingerprint: &str, comment: &str) -> Result<bool, VaultError> {
        check_comment(comment)?;
        self.atomically(|c| {
            let changed =
                c.execute("UPDATE ssh_keys SET comment = ?2 WHERE fingerprint = ?1", [fingerprint, comment])?;
            note_change(c, changed).map(|()| changed > 0)
        })
    }

    /// Lets `scope` use a key; nothing happens when it does already.
    ///
    /// # Errors
    /// [`VaultError::Scope`], an integrity error for an unknown key, else the store's write failures.
    pub fn assign_ssh_key(&self, scope: &str, key: i64, allow_infra: bool) -> Result<(), VaultError> {
        check_writable_scope(scope, allow_infra)?;
        self.atomically(|c| {
            let changed = c.execute(ASSIGN, rusqlite::params![scope, key])?;
            note_change(c, changed)
        })
    }

    /// Takes a key from `scope`; the key goes away with its last scope.
    ///
    /// # Errors
    /// [`VaultError::Scope`], else the store's write failures.
    pub fn unassign_ssh_key(&self, scope: &str, key: i64, allow_infra: bool) -> Result<(), VaultError> {
        check_writable_scope(scope, allow_infra)?;
        self.atomically(|c| {
            let changed = c.execute(
                "DELETE FROM ssh_key_assignments WHERE scope = ?1 AND key_id = ?2",
                rusqlite::params![scope, key],
            )?;
            if changed > 0 {
                c.execute_batch(DROP_ORPHANS)?;
            }
            note_change(c, changed)
        })
    }

    /// Leaves `keep` as the only key of `scope`.
    ///
    /// # Errors
    /// As [`Store::assign_ssh_key`].
    pub fn replace_ssh_keys_for_scope(&self, scope: &str, keep: i64, allow_infra: bool) -> Result<(), VaultError> {
        check_writable_scope(scope, allow_infra)?;
        self.atomically(|c| {
            c.execute(ASSIGN, rusqlite::params![scope, keep])?;
            c.execute(
                "DELETE FROM ssh_key_assignments WHERE scope = ?1 AND key_id <> ?2",
                rusqlite::params![scope, keep],
            )?;
            c.execute_batch(DROP_ORPHANS)?;
            note_change(c, 1)
        })
    }

    /// Takes every key from `scope`; how many it had.
    ///
    /// # Errors
    /// [`VaultError::Scope`], else the store's write failures.
    pub fn unassign_all_ssh_keys(&self, scope: &str, allow_infra: bool) -> Result<usize, VaultError> {
        check_writable_scope(scope, allow_infra)?;
        self.atomically(|c| {
            let count = c.execute("DELETE FROM ssh_key_assignments WHERE scope = ?1", [scope])?;
            c.execute_batch(DROP_ORPHANS)?;
            note_change(c, count).map(|()| count)
        })
    }

    /// Keys of `scope`, oldest assignment first.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn list_ssh_keys_for_scope(&self, scope: &str) -> Result<Vec<KeyRow>, VaultError> {
        let sql = format!("SELECT {ROW} {IN_SCOPE}");
        self.with(|c| c.prepare_cached(&sql)?.query_map([scope], key_row)?.collect())
    }

    /// Keys of `scope` with their material, in the order of [`Store::list_ssh_keys_for_scope`].
    ///
    /// # Errors
    /// The store's read failures.
    pub fn load_ssh_keys_for_scope(&self, scope: &str) -> Result<Vec<KeyRecord>, VaultError> {
        let sql = format!("SELECT {ROW}, k.private_der, k.public_blob {IN_SCOPE}");
        self.with(|c| {
            c.prepare_cached(&sql)?
                .query_map([scope], |row| {
                    let KeyRow { id, key_type, fingerprint, comment, .. } = key_row(row)?;
                    Ok(KeyRecord {
                        id,
                        key_type,
                        fingerprint,
                        comment,
                        private_der: row.get(5).map(Zeroizing::new)?,
                        public_blob: row.get(6)?,
                    })
                })?
                .collect()
        })
    }

    /// Scopes that have a key, sorted; the product's own (`%…`) included.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn list_scopes_with_ssh_keys(&self) -> Result<Vec<String>, VaultError> {
        self.column("SELECT DISTINCT scope FROM ssh_key_assignments ORDER BY scope", &[])
    }

    /// A number that grows with every change of keys and assignments, in vaults of the generation that keeps one; 0 in
    /// others.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn ssh_keys_version(&self) -> Result<i64, VaultError> {
        self.with(|c| {
            if !schema::has_table(c, CHANGES)? {
                return Ok(0);
            }
            c.query_row("SELECT version FROM ssh_keys_version WHERE id = 0", [], |row| row.get(0))
                .optional()
                .map(Option::unwrap_or_default)
        })
    }

    /// How many keys there are.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn count_ssh_keys(&self) -> Result<i64, VaultError> {
        self.with(|c| c.query_row("SELECT count(*) FROM ssh_keys", [], |row| row.get(0)))
    }
}

/// Table of the 0.7.9 generation, whose daemon watches it. It is kept up to date where it exists, and never made.
const CHANGES: &str = "ssh_keys_version";

fn note_change(connection: &Connection, changed: usize) -> rusqlite::Result<()> {
    if changed > 0 && schema::has_table(connection, CHANGES)? {
        connection.execute("UPDATE ssh_keys_version SET version = version + 1 WHERE id = 0", [])?;
    }
    Ok(())
}

const ASSIGN: &str =
    "INSERT INTO ssh_key_assignments (scope, key_id) VALUES (?1, ?2) ON CONFLICT (scope, key_id) DO NOTHING";
const DROP_ORPHANS: &str = "DELETE FROM ssh_keys WHERE id NOT IN (SELECT key_id FROM ssh_key_assignments)";

#[cfg(test)]
mod tests {
    use super::*;
    use base::secret::Secret;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), &Secret::new("x")).unwrap();
        (dir, store)
    }

    #[test]
    fn scopes() {
        let longest = "A".repeat(64);
        for good in ["a.b-c_1", &longest, "%host"] {
            assert!(check_scope(good).is_ok(), "{good}");
        }
        let too_long = "A".repeat(65);
        for bad in [too_long.as_str(), "", "../x", ".a", "-a", "%Host", "%", "a b"] {
            assert!(check_scope(bad).is_err(), "{bad}");
        }
        let (_dir, store) = store();
        let key = store.store_ssh_key("ed25519", b"d", b"p", "", "SHA256:a").unwrap();
        assert!(store.assign_ssh_key("%host", key, false).is_err());
        store.assign_ssh_key("%host", key, true).unwrap();
    }

    #[test]
    fn a_key_goes_with_its_last_scope() {
        let (_dir, store) = store();
        let key = store.store_ssh_key("ed25519", b"d", b"p", "c", "SHA256:a").unwrap();
        assert_eq!(store.store_ssh_key("ed25519", b"other", b"p", "other", "SHA256:a").unwrap(), key);
        for scope in ["a", "b", "a"] {
            store.assign_ssh_key(scope, key, false).unwrap();
        }
        assert_eq!(store.list_scopes_with_ssh_keys().unwrap(), ["a", "b"]);
        store.unassign_ssh_key("a", key, false).unwrap();
        let kept = store.load_ssh_keys_for_scope("b").unwrap();
        assert_eq!((kept[0].private_der.as_slice(), kept[0].comment.as_str()), (b"d".as_slice(), "c"));
        store.unassign_ssh_key("b", key, false).unwrap();
        assert_eq!(store.count_ssh_keys().unwrap(), 0);
        assert!(store.assign_ssh_key("a", key, false).is_err(), "unknown key");
    }

    #[test]
    fn replacing_leaves_exactly_one() {
        let (_dir, store) = store();
        let keys: Vec<i64> =
            (0..3).map(|n| store.store_ssh_key("rsa", b"d", b"p", "", &format!("SHA256:{n}")).unwrap()).collect();
        for key in &keys {
            store.assign_ssh_key("s", *key, false).unwrap();
        }
        store.replace_ssh_keys_for_scope("s", keys[1], false).unwrap();
        let left = store.list_ssh_keys_for_scope("s").unwrap();
        assert_eq!((left.len(), left[0].id, store.count_ssh_keys().unwrap()), (1, keys[1], 1));
        assert_eq!(store.unassign_all_ssh_keys("s", false).unwrap(), 1);
    }

    #[test]
    fn the_counter_of_the_older_generation_is_kept_where_it_exists() {
        let (_dir, store) = store();
        let key = store.store_ssh_key("rsa", b"d", b"p", "", "SHA256:a").unwrap();
        assert_eq!(store.ssh_keys_version().unwrap(), 0);
        store
            .with(|c| {
                c.execute_batch(
                    "CREATE TABLE ssh_keys_version (id INTEGER PRIMARY KEY CHECK (id = 0), version INTEGER NOT NULL); \
                     INSERT INTO ssh_keys_version VALUES (0, 0)",
                )
            })
            .unwrap();
        let steps: [&dyn Fn(); 5] = [
            &|| assert!(store.store_ssh_key("rsa", b"d", b"p", "", "SHA256:b").is_ok()),
            &|| store.assign_ssh_key("s", key, false).unwrap(),
            &|| assert!(store.set_ssh_key_comment("SHA256:a", "new").unwrap()),
            &|| store.replace_ssh_keys_for_scope("s", key, false).unwrap(),
            &|| store.unassign_ssh_key("s", key, false).unwrap(),
        ];
        for (done, step) in (1..).zip(steps) {
            step();
            assert_eq!(store.ssh_keys_version().unwrap(), done);
        }
        store.unassign_ssh_key("s", key, false).unwrap();
        assert_eq!(store.ssh_keys_version().unwrap(), 5, "nothing changed");
    }

    #[test]
    fn the_first_ecdsa_key_widens_the_table_and_nothing_else() {
        let (_dir, store) = store();
        let text = |s: &Store| -> String {
            s.with(|c| c.query_row("SELECT sql FROM sqlite_master WHERE name = 'ssh_keys'", [], |row| row.get(0)))
                .unwrap()
        };
        let before = text(&store);
        let old = store.store_ssh_key("rsa", b"d", b"p", "", "SHA256:a").unwrap();
        store.assign_ssh_key("s", old, false).unwrap();
        let dropped = store.transaction(|| {
            store.store_ssh_key("ecdsa", b"d", b"p", "", "SHA256:x")?;
            Err::<(), _>(VaultError::Closed)
        });
        assert!(dropped.is_err());
        assert_eq!(text(&store), before, "a dropped transaction takes the change with it");
        let other = Store::open(store.path(), &Secret::new("x")).unwrap();
        let new = store.store_ssh_key("ecdsa", b"d", b"p", "", "SHA256:b").unwrap();
        store.assign_ssh_key("s", new, false).unwrap();
        assert_eq!(other.list_ssh_keys_for_scope("s").unwrap().len(), 2, "seen through a handle that was open before");
        other.store_ssh_key("ecdsa", b"d", b"p", "", "SHA256:c").unwrap();
        let sound: String = other.with(|c| c.query_row("PRAGMA integrity_check", [], |row| row.get(0))).unwrap();
        assert_eq!((sound.as_str(), text(&store).replace(", 'ecdsa'", "")), ("ok", before));
    }

    // improves: 21-2.3-key-type-value
    #[test]
    fn comments_and_types() {
        let (_dir, store) = store();
        store.store_ssh_key("ed25519", b"d", b"p", "", "SHA256:a").unwrap();
        let long = "é".repeat(200);
        assert!(store.set_ssh_key_comment("SHA256:a", &long).unwrap());
        assert!(!store.set_ssh_key_comment("SHA256:b", "x").unwrap());
        for bad in ["a\nb", "\u{1b}[0m", "\u{7f}", &"x".repeat(201)] {
            assert!(store.set_ssh_key_comment("SHA256:a", bad).is_err(), "{bad:?}");
        }
        assert!(matches!(store.store_ssh_key("dsa", b"", b"", "", "f"), Err(VaultError::KeyType(_))));
    }
}
