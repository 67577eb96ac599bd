//! Decides whose token it is: the one rule by which every service of a container tells its own tokens from others'.
//!
//! The HTTP broker and the SSH signer share this rule, so that they cannot come to differ. A container's owner is read
//! from its sidecar (`wire::sidecar::Sidecar::token_owner`).
//!
//! Invariants:
//! - an owner that is not known admits no token;
//! - a container's owner has both labels, and a token must carry exactly these;
//! - only a program that embeds a service on a vault of its own can admit every token, and it says so.

use crate::error::VaultError;
use crate::store::Store;
use crate::token::TokenRow;

/// Whose tokens count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Owner {
    /// No token counts: nothing says whose they would be.
    #[default]
    Unknown,
    /// The tokens of one container.
    Container {
        /// Required scope; never empty.
        scope: String,
        /// Required subject; never empty.
        subject: String,
    },
    /// Every live token of the vault.
    Everyone,
}

impl Owner {
    /// The owner with these labels; unknown when either is empty, because an open label would admit strangers' tokens.
    pub fn new(scope: impl Into<String>, subject: impl Into<String>) -> Self {
        let (scope, subject) = (scope.into(), subject.into());
        if scope.is_empty() || subject.is_empty() { Self::Unknown } else { Self::Container { scope, subject } }
    }

    /// True when a token with these labels belongs here.
    pub fn admits(&self, labels: &TokenRow) -> bool {
        match self {
            Self::Unknown => false,
            Self::Container { scope, subject } => *scope == labels.scope && *subject == labels.subject,
            Self::Everyone => true,
        }
    }

    /// What `token` is bound to when it lives and belongs here; unknown, revoked and foreign ones look the same.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn token(&self, store: &Store, token: &str) -> Result<Option<TokenRow>, VaultError> {
        Ok(store.lookup_token(token)?.filter(|labels| self.admits(labels)))
    }
}

impl Store {
    /// True while the owner has at least one token that was not revoked.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn has_live_token(&self, owner: &Owner) -> Result<bool, VaultError> {
        let (condition, labels) = matching(owner);
        self.with(|c| {
            c.prepare_cached(&format!("SELECT EXISTS (SELECT 1 FROM proxy_tokens WHERE {condition})"))?
                .query_row(rusqlite::params_from_iter(labels), |row| row.get(0))
        })
    }

    /// The `(credential set, provider)` pairs that the owner's tokens name, each once, sorted.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn credentials_in_use(&self, owner: &Owner) -> Result<Vec<(String, String)>, VaultError> {
        let (condition, labels) = matching(owner);
        self.with(|c| {
            c.prepare_cached(&format!(
                "SELECT DISTINCT credential_set, provider FROM proxy_tokens WHERE {condition} \
                 ORDER BY credential_set, provider"
            ))?
            .query_map(rusqlite::params_from_iter(labels), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })
    }
}

/// The SQL condition for the owner's tokens, and its parameters.
fn matching(owner: &Owner) -> (&'static str, Vec<&str>) {
    match owner {
        Owner::Unknown => ("FALSE", Vec::new()),
        Owner::Container { scope, subject } => ("scope = ?1 AND subject = ?2", vec![scope, subject]),
        Owner::Everyone => ("TRUE", Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::secret::Secret;

    // improves: 21-5.12-markers-scoped
    // holds: token-of-one-container
    #[test]
    fn token_is_admitted_by_its_own_container_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), &Secret::new("x")).unwrap();
        let token = store.create_token("p", "t", "default", "gh").unwrap();
        for (owner, ours) in [
            (Owner::new("p", "t"), true),
            (Owner::new("p", "u"), false),
            (Owner::new("q", "t"), false),
            (Owner::Everyone, true),
        ] {
            assert_eq!(owner.token(&store, &token).unwrap().is_some(), ours, "{owner:?}");
            assert_eq!(store.has_live_token(&owner).unwrap(), ours, "{owner:?}");
        }
        store.revoke_tokens("p", "t").unwrap();
        assert!(!store.has_live_token(&Owner::new("p", "t")).unwrap());
        assert_eq!(Owner::new("p", "t").token(&store, &token).unwrap(), None);
    }

    // holds: no-owner-no-access
    #[test]
    fn owner_without_both_labels_admits_no_token() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), &Secret::new("x")).unwrap();
        let tokens = [("p", "t"), ("", "t"), ("p", ""), ("", "")]
            .map(|(scope, subject)| store.create_token(scope, subject, "default", "gh").unwrap());
        for owner in [Owner::default(), Owner::new("", ""), Owner::new("", "t"), Owner::new("p", "")] {
            assert_eq!(owner, Owner::Unknown);
            for token in &tokens {
                assert_eq!(owner.token(&store, token).unwrap(), None);
            }
            assert!(!store.has_live_token(&owner).unwrap());
            assert_eq!(store.credentials_in_use(&owner).unwrap(), []);
        }
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
        assert_eq!(pairs(&Owner::new("p", "t")), [("default".into(), "claude".into()), ("work".into(), "gh".into())]);
        assert_eq!(pairs(&Owner::Everyone).len(), 3);
        assert_eq!(pairs(&Owner::new("p", "v")), []);
    }
}
