//! The tables, as every generation of the product knows them, and the step from version 1 to 2.
//!
//! A file with a newer version number is used as it is; one older than version 1 is refused, not guessed at.

use std::path::Path;

use rusqlite::Connection;

use crate::error::VaultError;

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

/// Brings an opened, keyed connection to the current layout; cheap when it is current already.
pub(crate) fn prepare(connection: &Connection, path: &Path) -> Result<(), VaultError> {
    let fail = |source| VaultError::from_sqlite(path, source);
    if is_current(connection).map_err(fail)? {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE").map_err(fail)?;
    let outcome = migrate(connection, path);
    let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
    connection.execute_batch(end).map_err(fail)?;
    outcome
}

fn is_current(connection: &Connection) -> rusqlite::Result<bool> {
    let tables: i64 = connection.query_row(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN \
         ('credentials', 'ssh_keys', 'ssh_key_assignments', 'proxy_tokens')",
        [],
        |row| row.get(0),
    )?;
    Ok(tables == 4 && version(connection)? >= VERSION)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Runs inside the transaction, so that two openers cannot migrate at the same time.
fn migrate(connection: &Connection, path: &Path) -> Result<(), VaultError> {
    let fail = |source| VaultError::from_sqlite(path, source);
    if has_column(connection, "ssh_keys", "private_pem").map_err(fail)? {
        return Err(VaultError::TooOld(path.to_path_buf()));
    }
    connection.execute_batch(TABLES).map_err(fail)?;
    if has_column(connection, "proxy_tokens", "task").map_err(fail)? {
        connection.execute_batch("ALTER TABLE proxy_tokens RENAME COLUMN task TO subject").map_err(fail)?;
    }
    let found = version(connection).map_err(fail)?;
    if found > VERSION {
        tracing::warn!(found, known = VERSION, "the vault was written by a newer version; its layout is left as it is");
        return Ok(());
    }
    connection.execute_batch(&format!("PRAGMA user_version = {VERSION}")).map_err(fail)
}

fn has_column(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    connection
        .query_row("SELECT count(*) > 0 FROM pragma_table_info(?1) WHERE name = ?2", [table, column], |row| row.get(0))
}
