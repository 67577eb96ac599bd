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
/// Labels of a marker in a container that an older launcher did not name.
const STATIC: &str = "__static__";
const DEFAULT_SET: &str = "default";

/// The owner of a container's tokens, from its sidecar.
pub fn owner_of(sidecar: &Sidecar) -> Owner {
    let (scope, subject) = sidecar.token_owner();
    Owner { scope: scope.to_owned(), subject: subject.to_owned() }
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
        if !self.allows(provider) || !alive(owner, vault)? {
            return Ok(None);
        }
        let label = |text: &str| if owner.is_open() { STATIC } else { text }.to_owned();
        Ok(Some(TokenRow {
            scope: label(&owner.scope),
            subject: label(&owner.subject),
            credential_set: self.credential_set.clone(),
            provider: (*provider).to_owned(),
        }))
    }

    /// The credentials that markers may use right now, as `(credential set, provider)`.
    ///
    /// # Errors
    /// The vault's read failures.
    pub fn credentials(&self, owner: &Owner, vault: &Store) -> Result<Vec<(String, String)>, VaultError> {
        if !alive(owner, vault)? {
            return Ok(Vec::new());
        }
        let names = PROVIDERS.iter().map(|(_, name)| *name).filter(|name| self.allows(name));
        Ok(names.map(|name| (self.credential_set.clone(), name.to_owned())).collect())
    }
}

/// Of a container without labels nothing can be revoked, so nothing is asked.
fn alive(owner: &Owner, vault: &Store) -> Result<bool, VaultError> {
    Ok(owner.is_open() || vault.has_live_token(owner)?)
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
        assert_eq!(owner_of(&sidecar), Owner { scope: "p".into(), subject: "t".into() });
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
        let owner = Owner { scope: "p".into(), subject: "t".into() };
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

    #[test]
    fn an_unnamed_container_is_served_as_before() {
        let (_dir, store) = vault();
        let found = Markers::default().labels(PHANTOM_CREDENTIALS_MARKER, &Owner::default(), &store).unwrap().unwrap();
        assert_eq!((found.scope.as_str(), found.credential_set.as_str()), (STATIC, "default"));
    }
}
