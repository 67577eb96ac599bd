//! The public markers: constants that stand for a shared login, and what makes one count.
//!
//! Anybody can read a marker, so by itself it is worth nothing. It counts only through the socket of a container that
//! was launched with the shared login of that provider, only for an OAuth login in the container's own credential set,
//! and only while the container still has a token of its own: revoking a task's tokens revokes its markers too. (A
//! launch mints a token for every stored provider, the shared ones included.) Its requests are audited under the
//! container's own labels.

use vault::{Owner, Store, TokenRow, VaultError};
use wire::sidecar::Sidecar;

/// Stands for the shared Claude login.
pub const PHANTOM_CREDENTIALS_MARKER: &str = "terok-proxy-phantom-token:vault-handles-real-auth";
/// Stands for the shared Codex login.
pub const CODEX_SHARED_OAUTH_MARKER: &str = "terok-proxy-codex-oauth-marker:vault-handles-real-auth";

const PROVIDERS: [(&str, &str); 2] = [(PHANTOM_CREDENTIALS_MARKER, "claude"), (CODEX_SHARED_OAUTH_MARKER, "codex")];
/// Labels of a marker where every token is admitted.
const STATIC: &str = "__static__";
const DEFAULT_SET: &str = "default";

/// The owner of a container's tokens, from its sidecar.
pub fn owner_of(sidecar: &Sidecar) -> Owner {
    sidecar.token_owner().map_or(Owner::Unknown, |(scope, subject)| Owner::new(scope, subject))
}

/// Which markers are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Markers {
    /// Providers whose shared login this container has; `None` (written by older launchers) allows all.
    pub allowed: Option<Vec<String>>,
    /// Credential set the markers stand for.
    pub credential_set: String,
}

impl Default for Markers {
    fn default() -> Self {
        Self { allowed: None, credential_set: DEFAULT_SET.to_owned() }
    }
}

impl Markers {
    /// What a sidecar allows.
    pub fn of(sidecar: &Sidecar) -> Self {
        let set = if sidecar.credential_set.is_empty() { DEFAULT_SET } else { &sidecar.credential_set };
        Self { allowed: sidecar.shared_logins.clone(), credential_set: set.to_owned() }
    }

    fn allows(&self, provider: &str) -> bool {
        self.allowed.as_ref().is_none_or(|names| names.iter().any(|name| name == provider))
    }

    /// The labels of a marker, when it is one and counts.
    ///
    /// # Errors
    /// The vault's read failures.
    pub fn labels(&self, token: &str, owner: &Owner, vault: &Store) -> Result<Option<TokenRow>, VaultError> {
        let Some((_, provider)) = PROVIDERS.iter().find(|(marker, _)| *marker == token) else {
            return Ok(None);
        };
        if !self.allows(provider) || !is_live(owner, vault)? {
            return Ok(None);
        }
        let (scope, subject) = match owner {
            Owner::Container { scope, subject } => (scope.as_str(), subject.as_str()),
            Owner::Unknown | Owner::Everyone => (STATIC, STATIC),
        };
        Ok(Some(TokenRow {
            scope: scope.to_owned(),
            subject: subject.to_owned(),
            credential_set: self.credential_set.clone(),
            provider: (*provider).to_owned(),
        }))
    }

    /// The credentials that markers may use right now, as `(credential set, provider)`.
    ///
    /// # Errors
    /// The vault's read failures.
    pub fn credentials(&self, owner: &Owner, vault: &Store) -> Result<Vec<(String, String)>, VaultError> {
        if !is_live(owner, vault)? {
            return Ok(Vec::new());
        }
        let names = PROVIDERS.iter().map(|(_, name)| *name).filter(|name| self.allows(name));
        Ok(names.map(|name| (self.credential_set.clone(), name.to_owned())).collect())
    }
}

/// A service that admits every token has no container whose tokens could be revoked.
fn is_live(owner: &Owner, vault: &Store) -> Result<bool, VaultError> {
    Ok(*owner == Owner::Everyone || vault.has_live_token(owner)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), &base::secret::Secret::new("x")).unwrap();
        (dir, store)
    }

    #[test]
    fn a_sidecar_says_what_counts() {
        let mut sidecar = Sidecar { project_id: "p".into(), task_id: "t".into(), ..Sidecar::default() };
        assert_eq!(owner_of(&sidecar), Owner::new("p", "t"));
        assert_eq!(Markers::of(&sidecar), Markers::default());
        sidecar.credential_set = "work".into();
        sidecar.shared_logins = Some(vec!["codex".into()]);
        let markers = Markers::of(&sidecar);
        assert_eq!((markers.credential_set.as_str(), markers.allowed), ("work", sidecar.shared_logins));
    }

    // improves: 21-5.12-markers-scoped
    #[test]
    fn markers_need_the_allowance_and_a_live_token() {
        let (_dir, store) = vault();
        let owner = Owner::new("p", "t");
        let some = Markers { allowed: Some(vec!["codex".into()]), credential_set: "team".into() };
        let labels = |token: &str| some.labels(token, &owner, &store).unwrap();
        assert_eq!(labels(CODEX_SHARED_OAUTH_MARKER), None);
        store.create_token("p", "t", "team", "gh").unwrap();
        let codex = labels(CODEX_SHARED_OAUTH_MARKER).unwrap();
        assert_eq!((codex.scope.as_str(), codex.subject.as_str()), ("p", "t"));
        assert_eq!((codex.credential_set.as_str(), codex.provider.as_str()), ("team", "codex"));
        assert_eq!(labels(PHANTOM_CREDENTIALS_MARKER), None);
        assert_eq!(labels("terok-p-0"), None);
        assert_eq!(some.credentials(&owner, &store).unwrap(), [("team".into(), "codex".into())]);
        store.revoke_tokens("p", "t").unwrap();
        assert_eq!(labels(CODEX_SHARED_OAUTH_MARKER), None);
        assert_eq!(some.credentials(&owner, &store).unwrap(), []);
    }

    // holds: no-owner-no-access
    #[test]
    fn marker_without_an_owner_stands_for_nothing() {
        let (_dir, store) = vault();
        store.create_token("p", "t", "default", "claude").unwrap();
        let labels = |owner: Owner| Markers::default().labels(PHANTOM_CREDENTIALS_MARKER, &owner, &store).unwrap();
        assert_eq!(labels(owner_of(&Sidecar::default())), None);
        assert_eq!(Markers::default().credentials(&Owner::Unknown, &store).unwrap(), []);
        let found = labels(Owner::Everyone).unwrap();
        assert_eq!((found.scope.as_str(), found.credential_set.as_str()), (STATIC, "default"));
    }
}
