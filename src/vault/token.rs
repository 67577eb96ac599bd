//! Phantom tokens: what a container holds instead of a credential.
//!
//! A token is 128 random bits, bound to one scope, subject, credential set and provider. It opens nothing at the real
//! service; the broker looks it up in the file at every request, so revoking it acts at the next one.

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use crate::error::VaultError;
use crate::store::Store;

/// What every phantom token begins with.
pub const PREFIX: &str = "terok-p-";

/// Hexadecimal digits after [`PREFIX`].
const DIGITS: usize = 32;
/// Provider of tokens that open the SSH signer.
pub const SSH_PROVIDER: &str = "ssh";

/// The phantom tokens inside a text, whatever surrounds them.
pub fn find(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(PREFIX).filter_map(|(at, _)| {
        let token = text.get(at..at + PREFIX.len() + DIGITS)?;
        token[PREFIX.len()..].bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(token)
    })
}

/// What a token is bound to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TokenRow {
    /// Project, or scope of a standalone launch.
    pub scope: String,
    /// Task or container.
    pub subject: String,
    /// Credential set that is read.
    pub credential_set: String,
    /// Provider, which decides the route.
    pub provider: String,
}

/// A token together with what it is bound to; for listings, which must mask it.
#[derive(Clone, Serialize)]
pub struct ListedToken {
    /// The token itself.
    pub token: String,
    /// Its binding.
    #[serde(flatten)]
    pub row: TokenRow,
}

impl Store {
    /// Mints a token.
    ///
    /// # Errors
    /// The store's write failures.
    pub fn create_token(&self, scope: &str, subject: &str, set: &str, provider: &str) -> Result<String, VaultError> {
        self.with(|c| mint(c, scope, subject, set, provider))
    }

    /// Mints the tokens of a fresh container, one per `(credential set, provider)` and in that order, and revokes every
    /// token its subject had; both or neither.
    ///
    /// # Errors
    /// The store's write failures; the old tokens then stay.
    pub fn replace_tokens(
        &self,
        scope: &str,
        subject: &str,
        wanted: &[(&str, &str)],
    ) -> Result<Vec<String>, VaultError> {
        self.atomically(|c| {
            c.prepare_cached(REVOKE)?.execute([scope, subject])?;
            wanted.iter().map(|(set, provider)| mint(c, scope, subject, set, provider)).collect()
        })
    }

    /// What `token` is bound to, or `None` when it is unknown or revoked.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn lookup_token(&self, token: &str) -> Result<Option<TokenRow>, VaultError> {
        self.with(|c| {
            c.prepare_cached("SELECT scope, subject, credential_set, provider FROM proxy_tokens WHERE token = ?1")?
                .query_row([token], |row| binding(row, 0))
                .optional()
        })
    }

    /// Every token, by scope, subject, provider and token.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn list_tokens(&self) -> Result<Vec<ListedToken>, VaultError> {
        self.with(|c| {
            c.prepare_cached(
                "SELECT token, scope, subject, credential_set, provider FROM proxy_tokens \
                 ORDER BY scope, subject, provider, token",
            )?
            .query_map([], |row| Ok(ListedToken { token: row.get(0)?, row: binding(row, 1)? }))?
            .collect()
        })
    }

    /// Revokes every token of one subject; the number of tokens revoked.
    ///
    /// # Errors
    /// The store's write failures.
    pub fn revoke_tokens(&self, scope: &str, subject: &str) -> Result<usize, VaultError> {
        self.with(|c| c.prepare_cached(REVOKE)?.execute([scope, subject]))
    }
}

const REVOKE: &str = "DELETE FROM proxy_tokens WHERE scope = ?1 AND subject = ?2";

fn mint(c: &Connection, scope: &str, subject: &str, set: &str, provider: &str) -> rusqlite::Result<String> {
    let token = format!("{PREFIX}{}", base::ident::random_hex(16));
    c.prepare_cached(
        "INSERT INTO proxy_tokens (token, scope, subject, credential_set, provider) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute([&token, scope, subject, set, provider])?;
    Ok(token)
}

fn binding(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<TokenRow> {
    Ok(TokenRow {
        scope: row.get(first)?,
        subject: row.get(first + 1)?,
        credential_set: row.get(first + 2)?,
        provider: row.get(first + 3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::secret::Secret;

    #[test]
    fn a_token_lives_until_it_is_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), &Secret::new("x")).unwrap();
        let token = store.create_token("p", "t", "default", "gh").unwrap();
        let digits = token.strip_prefix(PREFIX).unwrap();
        assert!(digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        let other = store.create_token("p", "other", "default", "gh").unwrap();
        let row = store.lookup_token(&token).unwrap().unwrap();
        assert_eq!((row.scope.as_str(), row.subject.as_str(), row.provider.as_str()), ("p", "t", "gh"));
        assert_eq!(store.list_tokens().unwrap().len(), 2);
        assert_eq!(store.revoke_tokens("p", "t").unwrap(), 1);
        assert_eq!(store.revoke_tokens("p", "t").unwrap(), 0);
        assert_eq!(store.lookup_token(&token).unwrap(), None);
        assert!(store.lookup_token(&other).unwrap().is_some());
    }

    #[test]
    fn tokens_are_found_inside_other_text() {
        let token = format!("{PREFIX}{}", "0a".repeat(16));
        let found = |text: &str| find(text).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(found(&format!("Bearer {token}, \"{token}\"x")), [token.clone(), token.clone()]);
        assert_eq!(found(&format!("{token}ff")).len(), 1);
        for text in ["", PREFIX, "terok-p-xyz", &token[..39], &format!("{PREFIX}{}", "ä".repeat(16))] {
            assert!(found(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn revocation_is_seen_through_another_handle_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let (one, two) =
            (Store::open(&path, &Secret::new("x")).unwrap(), Store::open(&path, &Secret::new("x")).unwrap());
        let token = one.create_token("p", "t", "default", "gh").unwrap();
        assert!(two.lookup_token(&token).unwrap().is_some());
        one.revoke_tokens("p", "t").unwrap();
        assert!(two.lookup_token(&token).unwrap().is_none());
    }

    // improves: 21-2.5-relaunch-revokes
    #[test]
    fn a_fresh_container_revokes_the_tokens_its_subject_had() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), &Secret::new("x")).unwrap();
        let neighbour = store.create_token("p", "other", "default", "gh").unwrap();
        let old = store.replace_tokens("p", "t", &[("default", "gh"), ("p", "ssh")]).unwrap();
        let new = store.replace_tokens("p", "t", &[("default", "gh")]).unwrap();
        assert_eq!((old.len(), new.len(), store.list_tokens().unwrap().len()), (2, 1, 2));
        for token in &old {
            assert_eq!(store.lookup_token(token).unwrap(), None);
        }
        for token in [&neighbour, &new[0]] {
            assert!(store.lookup_token(token).unwrap().is_some());
        }
    }
}
