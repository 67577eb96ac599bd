//! Finds the phantom tokens in a container's environment and derives whose they are.
//!
//! A caller that assembled an environment elsewhere hands in nothing but variables, so the vault is the authority.
//!
//! Invariants: every token in the environment lives and belongs to one owner, or there is no binding at all; an error
//! names variables, never a token.

use serde::Serialize;

use crate::error::VaultError;
use crate::owner::Owner;
use crate::store::Store;
use crate::token::{self, SSH_PROVIDER};

/// Whose tokens an environment holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Binding {
    /// Scope of all its tokens.
    pub scope: String,
    /// Subject of all its tokens.
    pub subject: String,
    /// Credential set that its provider tokens read; `None` when they read several or there is none.
    pub credential_set: Option<String>,
}

impl Store {
    /// The binding that all tokens among the values of `variables` share; `None` when they hold no token.
    ///
    /// # Errors
    /// [`VaultError::UnboundToken`] for a token that is unknown, revoked or has no owner, [`VaultError::MixedTokens`]
    /// for tokens of two owners, and the store's read failures.
    pub fn binding<'a>(
        &self,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Option<Binding>, VaultError> {
        let mut owner: Option<(&str, String, String)> = None;
        let mut sets: Vec<String> = Vec::new();
        for (name, value) in variables {
            for token in token::find(value) {
                let unbound = || VaultError::UnboundToken { variable: name.to_owned() };
                let row = self.lookup_token(token)?.ok_or_else(unbound)?;
                if Owner::new(&row.scope, &row.subject) == Owner::Unknown {
                    return Err(unbound());
                }
                match &owner {
                    None => owner = Some((name, row.scope, row.subject)),
                    Some((_, scope, subject)) if *scope == row.scope && *subject == row.subject => {}
                    Some((first, ..)) => {
                        return Err(VaultError::MixedTokens { first: (*first).to_owned(), second: name.to_owned() });
                    }
                }
                if row.provider != SSH_PROVIDER && !sets.contains(&row.credential_set) {
                    sets.push(row.credential_set);
                }
            }
        }
        let only = (sets.len() == 1).then(|| sets.remove(0));
        Ok(owner.map(|(_, scope, subject)| Binding { scope, subject, credential_set: only }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::secret::Secret;

    // holds: unbound-token-refused
    #[test]
    fn environment_is_bound_to_one_owner_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), &Secret::new("x")).unwrap();
        let [key, other_set, ssh] = [("work", "claude"), ("home", "gh"), ("p", "ssh")]
            .map(|(set, provider)| store.create_token("p", "t", set, provider).unwrap());
        let stranger = store.create_token("p", "u", "work", "claude").unwrap();
        let open = store.create_token("", "t", "work", "claude").unwrap();
        let unknown = format!("{}{}", token::PREFIX, "0".repeat(32));
        let both = format!("{key},{unknown}");
        let inside = format!(r#"{{"apiKey": "{key}"}}"#);
        let bind = |values: &[(&str, &str)]| store.binding(values.iter().copied());
        let bound = |set: Option<&str>| {
            Some(Binding { scope: "p".into(), subject: "t".into(), credential_set: set.map(str::to_owned) })
        };
        assert_eq!(bind(&[("A", "plain"), ("B", "terok-p-")]).unwrap(), None);
        assert_eq!(bind(&[("A", &key), ("B", &ssh), ("C", &inside)]).unwrap(), bound(Some("work")));
        assert_eq!(bind(&[("A", &ssh)]).unwrap(), bound(None));
        assert_eq!(bind(&[("A", &key), ("B", &other_set)]).unwrap(), bound(None));
        for (values, variable) in [
            (&[("A", key.as_str()), ("B", unknown.as_str())][..], "B"),
            (&[("A", open.as_str())][..], "A"),
            (&[("A", both.as_str())][..], "A"),
        ] {
            let refused = bind(values).unwrap_err();
            assert!(matches!(&refused, VaultError::UnboundToken { variable: v } if v == variable), "{refused}");
            assert!(!refused.to_string().contains(token::PREFIX));
        }
        let refused = bind(&[("A", &key), ("B", &stranger)]).unwrap_err();
        assert!(matches!(&refused, VaultError::MixedTokens { first, second } if first == "A" && second == "B"));
        store.revoke_tokens("p", "t").unwrap();
        assert!(matches!(bind(&[("A", &key)]), Err(VaultError::UnboundToken { .. })));
    }
}
