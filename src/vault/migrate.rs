//! The steps from older layouts to the current one.
//!
//! Every step looks at the tables, not at the version number alone, and runs inside the one transaction that the caller
//! holds. A key that cannot be converted stays as it is, with a line in the log: a vault must not stay shut because of
//! one key that nobody can use.

use rusqlite::Connection;
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::key::{PrivateKey, fingerprint_of};
use crate::schema::has_column;

/// Keys were OpenSSH text with a hexadecimal fingerprint; they become PKCS#8 with OpenSSH's kind of fingerprint.
pub(crate) fn to_version_1(connection: &Connection) -> rusqlite::Result<()> {
    if !has_column(connection, "ssh_keys", "private_pem")? || has_column(connection, "ssh_keys", "private_der")? {
        return Ok(());
    }
    let rows: Vec<(i64, Zeroizing<Vec<u8>>)> = connection
        .prepare("SELECT id, private_pem FROM ssh_keys")?
        .query_map([], |row| Ok((row.get(0)?, Zeroizing::new(row.get_ref(1)?.as_bytes()?.to_vec()))))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, text) in rows {
        match convert(&text) {
            Ok((der, fingerprint)) => {
                connection.execute(
                    "UPDATE ssh_keys SET private_pem = ?2, fingerprint = ?3 WHERE id = ?1",
                    rusqlite::params![id, *der, fingerprint],
                )?;
            }
            Err(error) => tracing::error!(id, "an SSH key could not be converted and stays unusable: {error}"),
        }
    }
    connection.execute_batch("ALTER TABLE ssh_keys RENAME COLUMN private_pem TO private_der")
}

fn convert(text: &[u8]) -> Result<(Zeroizing<Vec<u8>>, String), VaultError> {
    let key = PrivateKey::from_file_bytes(text, None)?;
    Ok((key.to_pkcs8()?, fingerprint_of(&key.public_blob()?)))
}

/// Tokens were bound to a task; they are bound to a subject.
pub(crate) fn to_version_2(connection: &Connection) -> rusqlite::Result<()> {
    if !has_column(connection, "proxy_tokens", "task")? || has_column(connection, "proxy_tokens", "subject")? {
        return Ok(());
    }
    connection.execute_batch("ALTER TABLE proxy_tokens RENAME COLUMN task TO subject")
}
