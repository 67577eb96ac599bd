//! The environment variables of an agent's container.
//!
//! Invariants: rules apply in a fixed order and later ones win; only phantom tokens are ever set; a restricted run gets
//! neither `TEROK_UNRESTRICTED` nor an auto-approve variable; the addresses are those the supervisor really binds.

use std::path::PathBuf;

use indexmap::IndexMap;
use serde::Deserialize;

use crate::fault::AgentError;
use crate::model::{OpenCodeConfig, Roster, Texts, VaultRoute, variable_prefix};
use crate::wrapper::CONTAINER_WORKSPACE;

/// Version of what host and container expect of each other.
pub const PROTOCOL: &str = "1";
/// Port of the bridge inside the container, in both transports.
pub const LOOPBACK_PORT: u16 = 9419;
/// The broker's socket as it is mounted.
pub const VAULT_SOCKET: &str = "/run/terok/vault.sock";
/// The broker's socket when a bridge in the container makes it.
pub const BRIDGE_SOCKET: &str = "/tmp/terok-vault.sock";
const SIGNER_SOCKET: &str = "/run/terok/ssh-agent.sock";
const HOST_ALIAS: &str = "host.containers.internal";

/// What to assemble; absent fields have the defaults of a standalone run.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Spec {
    pub task_id: String,
    pub provider_name: String,
    pub workspace_host_path: PathBuf,
    #[serde(default)]
    pub code_repo: Option<String>,
    #[serde(default)]
    pub clone_from: Option<String>,
    #[serde(default)]
    pub branch: Option<String>,
    #[serde(default)]
    pub git_author_name: Option<String>,
    #[serde(default)]
    pub git_author_email: Option<String>,
    #[serde(default)]
    pub git_committer_name: Option<String>,
    #[serde(default)]
    pub git_committer_email: Option<String>,
    pub authorship: String,
    pub human_name: String,
    pub human_email: String,
    #[serde(default)]
    pub enabled_vault_patch_providers: Option<Vec<String>>,
    #[serde(default)]
    pub disabled_vault_patch_providers: Option<Vec<String>>,
    #[serde(default)]
    pub expose_credential_providers: Vec<String>,
    pub unrestricted: bool,
    #[serde(default)]
    pub timezone: Option<String>,
    #[serde(default)]
    pub agent_config_dir: Option<PathBuf>,
    #[serde(default)]
    pub shared_dir: Option<PathBuf>,
    pub shared_mount: String,
    pub envs_dir: PathBuf,
    /// Where the container's own copies of the shared folders are kept; without it the shared ones are mounted.
    #[serde(default)]
    pub home_dir: Option<PathBuf>,
    #[serde(default)]
    pub installed: Option<Vec<String>>,
}

/// How the container reaches its services.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Services {
    pub tcp: bool,
    pub broker_port: Option<u16>,
    pub signer_port: Option<u16>,
}

impl Services {
    /// Base URL for HTTP clients in the container.
    pub fn url(&self) -> String {
        format!("http://localhost:{LOOPBACK_PORT}")
    }

    /// Unix socket for clients that want one.
    pub fn socket(&self) -> &'static str {
        if self.tcp { BRIDGE_SOCKET } else { VAULT_SOCKET }
    }
}

/// A phantom token made for this container.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Grant {
    pub provider: String,
    pub credential_type: String,
    pub token: String,
}

/// Everything that was made for this container in the vault.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Grants {
    pub providers: Vec<Grant>,
    pub ssh_token: Option<String>,
}

/// All variables in their order.
///
/// # Errors
/// [`AgentError::AutoApprove`] when two providers want one variable with different values.
pub fn variables(spec: &Spec, roster: &Roster, grants: &Grants, services: &Services) -> Result<Texts, AgentError> {
    let mut env = Texts::new();
    let mut set = |key: &str, value: &str| {
        env.insert(key.to_owned(), value.to_owned());
    };
    set("TASK_ID", &spec.task_id);
    set("REPO_ROOT", CONTAINER_WORKSPACE);
    set("GIT_RESET_MODE", "none");
    set("TEROK_CONTAINER_PROTOCOL", PROTOCOL);
    set("CLAUDE_CONFIG_DIR", "/home/dev/.claude");
    if let Some(zone) = filled(&spec.timezone) {
        set("TZ", zone);
    }
    env.extend(opencode_variables(roster));
    env.extend(identity(spec, roster));
    for (key, value) in [("GIT_BRANCH", &spec.branch), ("CODE_REPO", &spec.code_repo), ("CLONE_FROM", &spec.clone_from)]
    {
        if let Some(value) = filled(value) {
            env.insert(key.into(), value.to_owned());
        }
    }
    env.extend(vault_variables(roster, grants, services));
    if spec.unrestricted {
        env.insert("TEROK_UNRESTRICTED".into(), "1".into());
        env.extend(auto_approve(roster)?);
    }
    if spec.shared_dir.is_some() {
        env.insert("TEROK_SHARED_DIR".into(), spec.shared_mount.clone());
    }
    Ok(env)
}

fn filled(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|t| !t.is_empty())
}

/// The launcher variables of all OpenCode backends.
pub fn opencode_variables(roster: &Roster) -> Texts {
    let backends = roster.providers.iter().filter_map(|(name, p)| Some((name, p.opencode_config.as_ref()?)));
    backends.flat_map(|(name, config)| config.to_env(name)).collect()
}

/// The variables that turn the agents' own questions off.
///
/// # Errors
/// [`AgentError::AutoApprove`] when two providers disagree.
pub fn auto_approve(roster: &Roster) -> Result<Texts, AgentError> {
    let mut merged: IndexMap<String, (String, &str)> = IndexMap::new();
    for (name, provider) in &roster.providers {
        for (key, value) in &provider.auto_approve_env {
            match merged.get(key) {
                Some((known, first)) if known != value => {
                    return Err(AgentError::AutoApprove {
                        key: key.clone(),
                        first: (*first).to_owned(),
                        second: name.clone(),
                    });
                }
                Some(_) => {}
                None => {
                    merged.insert(key.clone(), (value.clone(), name));
                }
            }
        }
    }
    Ok(merged.into_iter().map(|(key, (value, _))| (key, value)).collect())
}

fn identity(spec: &Spec, roster: &Roster) -> Texts {
    let provider = roster.providers.get(&spec.provider_name);
    let pick = |own: &Option<String>, theirs: Option<&String>, last: &str| {
        filled(own).map(str::to_owned).or_else(|| theirs.cloned()).unwrap_or_else(|| last.to_owned())
    };
    let name = pick(&spec.git_author_name, provider.map(|p| &p.git_author_name), "AI Agent");
    let email = pick(&spec.git_author_email, provider.map(|p| &p.git_author_email), "ai@localhost");
    let committer = pick(&spec.git_committer_name, Some(&name), "");
    let committer_email = pick(&spec.git_committer_email, Some(&email), "");
    [
        ("GIT_AUTHOR_NAME", name),
        ("GIT_AUTHOR_EMAIL", email),
        ("GIT_COMMITTER_NAME", committer),
        ("GIT_COMMITTER_EMAIL", committer_email),
        ("TEROK_GIT_AUTHORSHIP", spec.authorship.clone()),
        ("HUMAN_GIT_NAME", spec.human_name.clone()),
        ("HUMAN_GIT_EMAIL", spec.human_email.clone()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// Tokens and addresses for what was granted; nothing when nothing was.
pub fn vault_variables(roster: &Roster, grants: &Grants, services: &Services) -> Texts {
    let mut env = Texts::new();
    for grant in &grants.providers {
        let Some(route) = roster.vault_routes.get(&grant.provider) else { continue };
        let oauth = grant.credential_type == "oauth" && !route.oauth_phantom_env.is_empty();
        let names = if oauth { &route.oauth_phantom_env } else { &route.phantom_env };
        for (name, _) in names.iter().filter(|(_, used)| **used) {
            env.insert(name.clone(), grant.token.clone());
        }
        env.extend(addresses(route, roster, services));
    }
    if !grants.providers.is_empty() {
        env.insert("TEROK_VAULT_LOOPBACK_PORT".into(), LOOPBACK_PORT.to_string());
        if let Some(port) = services.broker_port {
            env.insert("TEROK_TOKEN_BROKER_PORT".into(), port.to_string());
        }
    }
    if let Some(token) = filled(&grants.ssh_token) {
        env.insert("TEROK_SSH_SIGNER_TOKEN".into(), token.to_owned());
        match (services.tcp, services.signer_port) {
            (false, _) => env.insert("TEROK_SSH_SIGNER_SOCKET".into(), SIGNER_SOCKET.into()),
            (true, Some(port)) => env.insert("TEROK_SSH_SIGNER_PORT".into(), port.to_string()),
            (true, None) => None,
        };
    }
    env
}

fn addresses(route: &VaultRoute, roster: &Roster, services: &Services) -> Texts {
    let mut env = Texts::new();
    if !route.socket_env.is_empty() {
        env.insert(route.socket_env.clone(), services.socket().to_owned());
    }
    if !route.base_url_env.is_empty() {
        env.insert(route.base_url_env.clone(), services.url());
    }
    let backend = roster.providers.get(&route.provider).and_then(|p| p.opencode_config.as_ref());
    if let Some(backend) = backend {
        let url = format!("{}{}", services.url(), path_below(backend, route));
        env.insert(format!("{}_BASE_URL", variable_prefix(&route.provider)), url);
    }
    // GitLab's client takes protocol and host apart, so that no single base URL variable can carry them.
    if route.provider == "glab" {
        env.insert("API_PROTOCOL".into(), "http".into());
        let host = match services.broker_port {
            Some(port) => format!("{HOST_ALIAS}:{port}"),
            None => format!("localhost:{LOOPBACK_PORT}"),
        };
        env.insert("GITLAB_API_HOST".into(), host);
    }
    env
}

/// The path of a backend's API below its route's upstream; `/v1` when the two do not share a host.
fn path_below(backend: &OpenCodeConfig, route: &VaultRoute) -> String {
    match backend.base_url.strip_prefix(route.upstream.trim_end_matches('/')) {
        Some(path) if path.starts_with('/') => path.trim_end_matches('/').to_owned(),
        _ => "/v1".into(),
    }
}
