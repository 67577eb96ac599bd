//! What the rest of the system sees of the roster: plain values, the same fields and order as their Python twins.
//!
//! Invariants: values come validated out of [`crate::roster`]; they cross the language border as mappings both ways.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Texts by name, in a fixed order.
pub type Texts = IndexMap<String, String>;

/// An OpenAI-compatible backend reached through OpenCode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct OpenCodeConfig {
    pub display_name: String,
    pub base_url: String,
    pub preferred_model: String,
    pub fallback_model: String,
    pub env_var_prefix: String,
    pub config_dir: String,
    pub auth_key_url: String,
}

impl OpenCodeConfig {
    /// The six variables that the in-container launcher reads for the backend `name`.
    pub fn to_env(&self, name: &str) -> Texts {
        let prefix = variable_prefix(name);
        [
            ("BASE_URL", &self.base_url),
            ("PREFERRED_MODEL", &self.preferred_model),
            ("FALLBACK_MODEL", &self.fallback_model),
            ("DISPLAY_NAME", &self.display_name),
            ("ENV_VAR_PREFIX", &self.env_var_prefix),
            ("CONFIG_DIR", &self.config_dir),
        ]
        .into_iter()
        .map(|(key, value)| (format!("{prefix}_{key}"), value.clone()))
        .collect()
    }
}

/// `TEROK_OC_<NAME>`; whatever cannot be part of a variable name becomes `_`.
pub fn variable_prefix(name: &str) -> String {
    let upper: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("TEROK_OC_{upper}")
}

/// An agent that can be asked to work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Provider {
    pub name: String,
    pub label: String,
    pub binary: String,
    pub git_author_name: String,
    pub git_author_email: String,
    pub headless_subcommand: Option<String>,
    pub prompt_flag: String,
    pub auto_approve_env: Texts,
    pub auto_approve_flags: Vec<String>,
    pub output_format_flags: Vec<String>,
    pub model_flag: Option<String>,
    pub max_turns_flag: Option<String>,
    pub verbose_flag: Option<String>,
    pub supports_session_resume: bool,
    pub resume_flag: Option<String>,
    pub continue_flag: Option<String>,
    pub session_file: Option<String>,
    pub supports_agents_json: bool,
    pub supports_session_hook: bool,
    pub supports_add_dir: bool,
    pub log_format: String,
    #[serde(default)]
    pub opencode_config: Option<OpenCodeConfig>,
    #[serde(default)]
    pub refuse_subcommands: Vec<String>,
}

impl Provider {
    /// True when instructions reach the agent through OpenCode's own configuration.
    pub fn uses_opencode_instructions(&self) -> bool {
        self.opencode_config.is_some() || self.name == "opencode"
    }
}

/// How a user authenticates with an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct AuthProvider {
    pub name: String,
    pub label: String,
    pub host_dir_name: String,
    pub container_mount: String,
    pub command: Vec<String>,
    pub banner_hint: String,
    pub extra_run_args: Vec<String>,
    pub modes: Vec<String>,
    pub api_key_hint: String,
    pub post_capture_state: IndexMap<String, Map<String, Value>>,
}

/// How requests of an entry reach their upstream, and what the container is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct VaultRoute {
    pub provider: String,
    pub route_prefix: String,
    pub upstream: String,
    #[serde(default)]
    pub path_upstreams: Texts,
    #[serde(default)]
    pub oauth_extra_headers: Texts,
    pub auth_header: String,
    pub auth_prefix: String,
    pub credential_type: String,
    pub credential_file: String,
    #[serde(default)]
    pub phantom_env: IndexMap<String, bool>,
    #[serde(default)]
    pub oauth_phantom_env: IndexMap<String, bool>,
    pub base_url_env: String,
    pub socket_env: String,
    #[serde(default)]
    pub shared_config_patch: Option<Map<String, Value>>,
    #[serde(default)]
    pub oauth_refresh: Option<Texts>,
    #[serde(default)]
    pub shared_domain: bool,
    #[serde(default)]
    pub deny: Vec<String>,
}

/// A directory shared by all containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct MountDef {
    pub host_dir: String,
    pub container_path: String,
    pub label: String,
    #[serde(default)]
    pub credential_file: String,
    #[serde(default)]
    pub provider: String,
    #[serde(default)]
    pub private: Vec<String>,
    #[serde(default)]
    pub flows_back: home::Rules,
}

/// How an entry gets into the image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct InstallSpec {
    pub depends_on: Vec<String>,
    pub run_as_root: String,
    pub run_as_dev: String,
}

/// An entry's line in the in-container help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct HelpSpec {
    pub label: String,
    pub section: String,
}

/// A tool container that gets the real credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SidecarSpec {
    pub tool_name: String,
    pub env_map: Texts,
}

/// Name, label and kind of an entry, for listings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Entry {
    pub label: String,
    pub kind: String,
}

/// All entries, projected; every table is in sorted name order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Roster {
    pub providers: IndexMap<String, Provider>,
    pub auth_providers: IndexMap<String, AuthProvider>,
    pub vault_routes: IndexMap<String, VaultRoute>,
    pub sidecar_specs: IndexMap<String, SidecarSpec>,
    pub installs: IndexMap<String, InstallSpec>,
    pub helps: IndexMap<String, HelpSpec>,
    pub mounts: Vec<MountDef>,
    pub agent_names: Vec<String>,
    pub all_names: Vec<String>,
    pub web_ingress: Vec<String>,
    pub entries: IndexMap<String, Entry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backend_names_become_variable_names() {
        assert_eq!(variable_prefix("my-backend.2"), "TEROK_OC_MY_BACKEND_2");
    }
}
