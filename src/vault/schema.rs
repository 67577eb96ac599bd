//! The tables, as every generation of the product knows them.
//!
//! Invariants: creating and migrating is one immediate transaction that looks again after it has the lock, so that any
//! number of openers may race; a file with a newer version number is used as it is; the key table learns about ECDSA
//! only when the first such key is stored, so that a vault without one stays what it always was.

use std::path::Path;

use rusqlite::Connection;

use crate::error::VaultError;
use crate::migrate;

/// Version number that this code writes.
pub const VERSION: i64 = 2;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS credentials (
    credential_set TEXT NOT NULL, provider TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (credential_set, provider)
);
CREATE TABLE IF NOT EXISTS ssh_keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key_type TEXT NOT NULL CHECK (key_type IN ('ed25519', 'rsa')),
    private_der BLOB NOT NULL, public_blob BLOB NOT NULL,
    comment TEXT NOT NULL DEFAULT '', fingerprint TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL DEFAULT (datetime('now')) -- UTC
);
CREATE TABLE IF NOT EXISTS ssh_key_assignments (
    scope TEXT NOT NULL, key_id INTEGER NOT NULL
        REFERENCES ssh_keys(id) ON DELETE CASCADE,
    assigned_at TEXT NOT NULL DEFAULT (datetime('now')), PRIMARY KEY (scope, key_id)
);
CREATE TABLE IF NOT EXISTS proxy_tokens (
    token TEXT PRIMARY KEY,
    scope TEXT NOT NULL, subject TEXT NOT NULL, credential_set TEXT NOT NULL, provider TEXT NOT NULL
);";

const KINDS: &str = "key_type IN ('ed25519', 'rsa', 'ecdsa')";

/// Brings an opened, keyed connection to the current layout; cheap when it is current already.
pub(crate) fn prepare(connection: &Connection, path: &Path) -> Result<(), VaultError> {
    let fail = |source| VaultError::from_sqlite(path, source);
    if is_current(connection).map_err(fail)? {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE").map_err(fail)?;
    let outcome = bring_up(connection).and_then(|()| connection.execute_batch("COMMIT"));
    if outcome.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").map_err(fail)?;
    }
    outcome.map_err(fail)
}

fn is_current(connection: &Connection) -> rusqlite::Result<bool> {
    let tables: i64 = connection.query_row(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN \
         ('credentials', 'ssh_keys', 'ssh_key_assignments', 'proxy_tokens')",
        [],
        |row| row.get(0),
    )?;
    let found = version(connection)?;
    if found > VERSION {
        tracing::warn!(found, known = VERSION, "the vault was written by a newer version; its layout is left as it is");
    }
    Ok(tables == 4 && found >= VERSION)
}

pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Runs inside the transaction; whoever lost the race finds nothing left to do.
fn bring_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    if version(connection)? >= VERSION {
        return Ok(());
    }
    migrate::to_version_1(connection)?;
    migrate::to_version_2(connection)?;
    connection.execute_batch(&format!("PRAGMA user_version = {VERSION}"))
}

pub(crate) fn has_column(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    connection
        .query_row("SELECT count(*) > 0 FROM pragma_table_info(?1) WHERE name = ?2", [table, column], |row| row.get(0))
}

pub(crate) fn has_table(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT count(*) > 0 FROM sqlite_master WHERE type = 'table' AND name = ?1")?
        .query_row([table], |row| row.get(0))
}

/// Lets the key table take ECDSA keys. Runs inside a transaction; SQLite cannot alter a check in another way that would
/// not drop the table, and with it the assignments that refer to it.
pub(crate) fn admit_ecdsa(connection: &Connection) -> rusqlite::Result<()> {
    let text: String =
        connection.query_row("SELECT sql FROM sqlite_master WHERE name = 'ssh_keys'", [], |row| row.get(0))?;
    let Some(wider) = with_kinds(&text) else { return Ok(()) };
    let cookie: i64 = connection.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
    connection.execute_batch("PRAGMA writable_schema = ON")?;
    let outcome = connection
        .execute("UPDATE sqlite_master SET sql = ?1 WHERE type = 'table' AND name = 'ssh_keys'", [&wider])
        .and_then(|_| connection.execute_batch(&format!("PRAGMA schema_version = {}", cookie + 1)));
    connection.execute_batch("PRAGMA writable_schema = OFF")?;
    outcome
}

/// The table's text with the wider check; `None` when it has none, or admits ECDSA already.
fn with_kinds(text: &str) -> Option<String> {
    let check = text.to_ascii_lowercase().find("check")?;
    let open = check + text[check..].find('(')?;
    let mut depth = 0;
    let length = text[open..].find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    })?;
    let inside = &text[open + 1..open + length];
    let about_kind = inside.contains("key_type") && !inside.contains("'ecdsa'");
    about_kind.then(|| format!("{}({KINDS}{}", &text[..open], &text[open + length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_check_of_the_kind_changes() {
        let before =
            "CREATE TABLE ssh_keys (id INTEGER,\n key_type TEXT CHECK(key_type  IN ('ed25519','rsa')), x TEXT)";
        let after = with_kinds(before).unwrap();
        assert_eq!(after, format!("CREATE TABLE ssh_keys (id INTEGER,\n key_type TEXT CHECK({KINDS}), x TEXT)"));
        assert_eq!(with_kinds(&after), None);
        assert_eq!(with_kinds("CREATE TABLE ssh_keys (key_type TEXT)"), None);
    }
}
