//! Which tokens count in this container: its own, and the public markers where shared logins are allowed.
//!
//! A marker is a constant anybody can read; it is worth something only through the socket of a container that was
//! launched with the shared login of that provider.

use wire::sidecar::Sidecar;

use vault::TokenRow;

/// Stands for the shared Claude login.
pub const PHANTOM_CREDENTIALS_MARKER: &str = "terok-proxy-phantom-token:vault-handles-real-auth";
/// Stands for the shared Codex login.
pub const CODEX_SHARED_OAUTH_MARKER: &str = "terok-proxy-codex-oauth-marker:vault-handles-real-auth";

const STATIC: &str = "__static__";
const DEFAULT_SET: &str = "default";

/// What a token's labels must be; an empty text leaves the label open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Required scope.
    pub scope: String,
    /// Required subject.
    pub subject: String,
}

impl Identity {
    /// The identity of the container a sidecar describes: project and task, or for a standalone launch with a scope that
    /// scope and the container's name. A sidecar that says neither leaves both open, because its tokens were minted
    /// under a run id that it does not carry.
    pub fn of(sidecar: &Sidecar) -> Self {
        if sidecar.project_id.is_empty() && sidecar.task_id.is_empty() {
            if sidecar.scope_id.is_empty() {
                return Self::default();
            }
            return Self { scope: sidecar.scope_id.clone(), subject: sidecar.container_name.clone() };
        }
        Self { scope: sidecar.project_id.clone(), subject: sidecar.task_id.clone() }
    }

    /// True when a token with these labels belongs here.
    pub fn admits(&self, labels: &TokenRow) -> bool {
        let fits = |required: &str, label: &str| required.is_empty() || required == label;
        fits(&self.scope, &labels.scope) && fits(&self.subject, &labels.subject)
    }
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
    /// The labels of a marker, when it is one and allowed.
    pub fn labels(&self, token: &str) -> Option<TokenRow> {
        let provider = match token {
            PHANTOM_CREDENTIALS_MARKER => "claude",
            CODEX_SHARED_OAUTH_MARKER => "codex",
            _ => return None,
        };
        if let Some(allowed) = &self.allowed
            && !allowed.iter().any(|name| name == provider)
        {
            return None;
        }
        Some(TokenRow {
            scope: STATIC.to_owned(),
            subject: STATIC.to_owned(),
            credential_set: self.credential_set.clone(),
            provider: provider.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scope: &str, subject: &str) -> TokenRow {
        TokenRow { scope: scope.into(), subject: subject.into(), ..TokenRow::default() }
    }

    #[test]
    fn whose_tokens_are_admitted() {
        let sidecar = |scope_id: &str, project: &str, task: &str| Sidecar {
            container_name: "c".into(),
            scope_id: scope_id.into(),
            project_id: project.into(),
            task_id: task.into(),
            ..Sidecar::default()
        };
        let task = Identity::of(&sidecar("s", "p", "t"));
        assert!(task.admits(&labels("p", "t")));
        assert!(!task.admits(&labels("p", "other")) && !task.admits(&labels("other", "t")));
        let half = Identity::of(&sidecar("", "", "t"));
        assert!(half.admits(&labels("standalone", "t")) && !half.admits(&labels("standalone", "u")));
        let standalone = Identity::of(&sidecar("s", "", ""));
        assert!(standalone.admits(&labels("s", "c")) && !standalone.admits(&labels("s", "d")));
        assert!(Identity::of(&sidecar("", "", "")).admits(&labels("x", "y")));
    }

    #[test]
    fn markers_need_the_allowance() {
        let all = Markers::default();
        let found = all.labels(PHANTOM_CREDENTIALS_MARKER).unwrap();
        assert_eq!(
            (found.scope.as_str(), found.credential_set.as_str(), found.provider.as_str()),
            ("__static__", "default", "claude")
        );
        let some = Markers { allowed: Some(vec!["codex".into()]), credential_set: "team".into() };
        assert_eq!(some.labels(PHANTOM_CREDENTIALS_MARKER), None);
        let codex = some.labels(CODEX_SHARED_OAUTH_MARKER).unwrap();
        assert_eq!((codex.credential_set.as_str(), codex.provider.as_str()), ("team", "codex"));
        assert_eq!(all.labels("terok-p-0"), None);
    }
}
