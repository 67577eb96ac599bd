//! The roster file format, version 1: strict types, no unknown keys, no coercion between scalars.
//!
//! Shapes only; what the values must look like is in [`crate::rule`].

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Version of the format we write and understand.
pub const ROSTER_VERSION: i64 = 1;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An agent with its own command.
    #[default]
    Native,
    /// An OpenAI-compatible backend run through OpenCode.
    Opencode,
    /// An agent that talks to several backends.
    Bridge,
    /// A tool without a chat of its own.
    Tool,
    /// Something agents need at run time.
    Runtime,
}

impl Kind {
    /// True for everything that can be asked to work on a prompt.
    pub fn is_agent(self) -> bool {
        !matches!(self, Self::Tool | Self::Runtime)
    }

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Opencode => "opencode",
            Self::Bridge => "bridge",
            Self::Tool => "tool",
            Self::Runtime => "runtime",
        }
    }
}

/// One roster file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct RawAgent {
    pub kind: Kind,
    pub label: Option<String>,
    pub binary: Option<String>,
    pub git_identity: Option<GitIdentity>,
    pub headless: Option<Headless>,
    pub auto_approve: Option<AutoApprove>,
    pub session: Option<Session>,
    pub capabilities: Option<Capabilities>,
    pub wrapper: Option<Wrapper>,
    pub opencode: Option<OpenCode>,
    pub auth: Option<Auth>,
    pub vault: Option<VaultRouteEntry>,
    pub sidecar: Option<Sidecar>,
    pub install: Option<Install>,
    pub help: Option<Help>,
    pub mounts: Vec<Mount>,
    pub web_ingress: bool,
}

/// Author of the agent's commits.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct GitIdentity {
    pub name: Option<String>,
    pub email: Option<String>,
}

/// How the agent is run without a person.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Headless {
    pub subcommand: Option<String>,
    pub prompt_flag: String,
    pub model_flag: Option<String>,
    pub max_turns_flag: Option<String>,
    pub verbose_flag: Option<String>,
    pub output_format_flags: Vec<String>,
}

impl Default for Headless {
    fn default() -> Self {
        Self {
            subcommand: None,
            prompt_flag: "-p".into(),
            model_flag: None,
            max_turns_flag: None,
            verbose_flag: None,
            output_format_flags: Vec::new(),
        }
    }
}

/// What turns the agent's own questions off.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct AutoApprove {
    pub env: IndexMap<String, String>,
    pub flags: Vec<String>,
}

/// How a conversation is taken up again.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Session {
    pub supports_resume: bool,
    pub supports_hook: bool,
    pub resume_flag: Option<String>,
    pub continue_flag: Option<String>,
    pub session_file: Option<String>,
}

/// Format of the agent's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum LogFormat {
    /// Free text.
    #[default]
    #[serde(rename = "plain")]
    Plain,
    /// Claude's line-delimited JSON.
    #[serde(rename = "claude-stream-json")]
    ClaudeStreamJson,
}

/// Abilities only some agents have.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Capabilities {
    pub agents_json: bool,
    pub add_dir: bool,
    pub log_format: LogFormat,
}

/// Limits of the shell function around the agent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Wrapper {
    pub refuse_subcommands: Vec<String>,
}

/// An OpenAI-compatible backend.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct OpenCode {
    pub display_name: String,
    pub base_url: String,
    pub preferred_model: String,
    pub fallback_model: String,
    pub env_var_prefix: String,
    pub config_dir: String,
    pub auth_key_url: String,
    #[serde(default)]
    pub api_key_hint: Option<String>,
}

/// A key that is typed into a container's prompt.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct AuthKey {
    #[serde(default)]
    pub label: Option<String>,
    pub key_url: String,
    pub env_var: String,
    pub config_path: String,
    pub printf_template: String,
    #[serde(default)]
    pub tool_name: Option<String>,
}

/// A way to authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// Browser login in a container.
    Oauth,
    /// A key the user pastes.
    ApiKey,
}

/// How the user authenticates.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Auth {
    pub host_dir: String,
    pub container_mount: String,
    #[serde(default)]
    pub private: Vec<String>,
    #[serde(default)]
    pub flows_back: home::Rules,
    #[serde(default)]
    pub command: Option<Vec<String>>,
    #[serde(default)]
    pub auth_key: Option<AuthKey>,
    #[serde(default)]
    pub banner_hint: String,
    #[serde(default)]
    pub extra_run_args: Vec<String>,
    #[serde(default = "key_only")]
    pub modes: Vec<AuthMode>,
    #[serde(default)]
    pub api_key_hint: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub post_capture_state: IndexMap<String, Map<String, Value>>,
}

fn key_only() -> Vec<AuthMode> {
    vec![AuthMode::ApiKey]
}

fn null_is_empty<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// What kind of credential a route carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialType {
    /// A static key.
    #[default]
    ApiKey,
    /// Access and refresh token.
    Oauth,
    /// An access token alone.
    OauthToken,
    /// A personal access token.
    Pat,
}

impl CredentialType {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Oauth => "oauth",
            Self::OauthToken => "oauth_token",
            Self::Pat => "pat",
        }
    }
}

/// Where to refresh an OAuth credential.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct OauthRefresh {
    pub token_url: String,
    pub client_id: String,
    #[serde(default)]
    pub scope: Option<String>,
}

/// How requests of this entry reach their upstream.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct VaultRouteEntry {
    pub route_prefix: String,
    pub upstream: String,
    #[serde(default)]
    pub path_upstreams: IndexMap<String, String>,
    #[serde(default)]
    pub oauth_extra_headers: IndexMap<String, String>,
    #[serde(default = "authorization")]
    pub auth_header: String,
    #[serde(default = "bearer")]
    pub auth_prefix: String,
    #[serde(default)]
    pub credential_type: CredentialType,
    #[serde(default)]
    pub credential_file: String,
    #[serde(default)]
    pub phantom_env: IndexMap<String, bool>,
    #[serde(default)]
    pub oauth_phantom_env: IndexMap<String, bool>,
    #[serde(default)]
    pub base_url_env: String,
    #[serde(default)]
    pub socket_env: String,
    #[serde(default)]
    pub shared_config_patch: Option<Map<String, Value>>,
    #[serde(default)]
    pub oauth_refresh: Option<OauthRefresh>,
    #[serde(default)]
    pub shared_domain: bool,
    #[serde(default)]
    pub deny: Vec<String>,
}

fn authorization() -> String {
    "Authorization".into()
}

fn bearer() -> String {
    "Bearer ".into()
}

/// A tool container that gets the real credential.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Sidecar {
    pub tool_name: Option<String>,
    pub env_map: IndexMap<String, String>,
}

/// How the entry gets into the image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Install {
    #[serde(deserialize_with = "one_or_many")]
    pub depends_on: Vec<String>,
    pub run_as_root: String,
    pub run_as_dev: String,
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    match Value::deserialize(from)? {
        Value::String(one) => Ok(vec![one]),
        other => serde_json::from_value(other).map_err(serde::de::Error::custom),
    }
}

/// Which list of the in-container help shows the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HelpSection {
    /// Agents.
    #[default]
    Agent,
    /// Tools for developers.
    DevTool,
}

/// The entry's line in the in-container help.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Help {
    pub label: String,
    pub section: HelpSection,
}

/// A directory of the host shared by all containers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Mount {
    pub host_dir: String,
    pub container_path: String,
    #[serde(default)]
    pub private: Vec<String>,
    #[serde(default)]
    pub flows_back: home::Rules,
    #[serde(default)]
    pub label: Option<String>,
}
