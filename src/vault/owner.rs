//! Whose token is it: the one rule by which every service of a container tells its own tokens from others'.
//!
//! The HTTP broker and the SSH signer ask here, so that they cannot come to differ. An owner is read from the sidecar
//! (`wire::sidecar::Sidecar::token_owner`); an empty label leaves that label open, and an owner with neither label is
//! one that an older launcher did not name.

use crate::error::VaultError;
use crate::store::Store;
use crate::token::TokenRow;

/// The labels that a container's tokens carry; an empty text leaves the label open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// Required scope.
    pub scope: String,
    /// Required subject.
    pub subject: String,
}

impl Owner {
    /// True when nothing is known about this container's tokens, so that all of them count.
    pub fn is_open(&self) -> bool {
        self.scope.is_empty() && self.subject.is_empty()
    }

    /// True when a token with these labels belongs here.
    pub fn admits(&self, labels: &TokenRow) -> bool {
        let fits = |required: &str, label: &str| required.is_empty() || required == label;
        fits(&self.scope, &labels.scope) && fits(&self.subject, &labels.subject)
    }

    /// What `token` is bound to when it lives and belongs here; unknown, revoked and foreign ones look the same.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn token(&self, store: &Store, token: &str) -> Result<Option<TokenRow>, VaultError> {
        Ok(store.lookup_token(token)?.filter(|labels| self.admits(labels)))
    }
}

const MATCHES: &str = "(?1 = '' OR scope = ?1) AND (?2 = '' OR subject = ?2)";

impl Store {
    /// True while the owner has at least one token that was not revoked.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn has_live_token(&self, owner: &Owner) -> Result<bool, VaultError> {
        self.with(|c| {
            c.prepare_cached(&format!("SELECT EXISTS (SELECT 1 FROM proxy_tokens WHERE {MATCHES})"))?
                .query_row([&owner.scope, &owner.subject], |row| row.get(0))
        })
    }

    /// The `(credential set, provider)` pairs that the owner's tokens name, each once, sorted.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn credentials_in_use(&self, owner: &Owner) -> Result<Vec<(String, String)>, VaultError> {
        self.with(|c| {
            c.prepare_cached(&format!(
                "SELECT DISTINCT credential_set, provider FROM proxy_tokens WHERE {MATCHES} \
                 ORDER BY credential_set, provider"
            ))?
            .query_map([&owner.scope, &owner.subject], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::secret::Secret;

    fn owner(scope: &str, subject: &str) -> Owner {
        Owner { scope: scope.into(), subject: subject.into() }
    }

    // improves: 21-5.12-markers-scoped
    #[test]
    fn a_token_belongs_to_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), &Secret::new("x")).unwrap();
        let token = store.create_token("p", "t", "default", "gh").unwrap();
        for (scope, subject, ours) in
            [("p", "t", true), ("", "t", true), ("", "", true), ("p", "u", false), ("q", "t", false), ("", "u", false)]
        {
            let owner = owner(scope, subject);
            assert_eq!(owner.token(&store, &token).unwrap().is_some(), ours, "{owner:?}");
            assert_eq!(store.has_live_token(&owner).unwrap(), ours, "{owner:?}");
        }
        assert!(owner("", "").is_open() && !owner("", "t").is_open());
        store.revoke_tokens("p", "t").unwrap();
        assert!(!store.has_live_token(&owner("p", "t")).unwrap());
        assert_eq!(owner("p", "t").token(&store, &token).unwrap(), None);
    }

    #[test]
    fn credentials_in_use_are_named_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), &Secret::new("x")).unwrap();
        for (subject, set, provider) in
            [("t", "work", "gh"), ("t", "work", "gh"), ("t", "default", "claude"), ("u", "x", "y")]
        {
            store.create_token("p", subject, set, provider).unwrap();
        }
        let pairs = |owner: &Owner| store.credentials_in_use(owner).unwrap();
        assert_eq!(pairs(&owner("p", "t")), [("default".into(), "claude".into()), ("work".into(), "gh".into())]);
        assert_eq!(pairs(&owner("", "")).len(), 3);
        assert_eq!(pairs(&owner("p", "v")), []);
    }
}
