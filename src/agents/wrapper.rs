//! The shell functions around the agents: `terok-executor.sh`, sourced by every shell of the container.
//!
//! Invariants: one function per provider, named after its binary, after two shared helpers; silent when sourced;
//! everything taken from the roster is shell-quoted; the exit status is the agent's.

use base::text::{shell_join, shell_quote};
use indexmap::IndexMap;
use minijinja::{Environment, context};

use crate::command::PROMPT_PATH;
use crate::fault::AgentError;
use crate::model::Provider;

/// The agent-configuration directory in the container.
pub const CONFIG_MOUNT: &str = "/home/dev/.terok";
/// A prompt that the first interactive call takes up.
pub const INITIAL_PROMPT_PATH: &str = "/home/dev/.terok/initial-prompt.txt";
/// Where that prompt goes once it is taken up.
pub const INITIAL_PROMPT_CONSUMED_PATH: &str = "/home/dev/.terok/initial-prompt.consumed.txt";
/// Instructions for the agent.
pub const INSTRUCTIONS_PATH: &str = "/home/dev/.terok/instructions.md";
/// Sub-agents of Claude.
const AGENTS_PATH: &str = "/home/dev/.terok/agents.json";
/// The repository in the container.
pub const CONTAINER_WORKSPACE: &str = "/workspace";

const HELPERS: &str = include_str!("../../python/terok_executor/resources/templates/wrappers/helpers.sh");
const AGENT: &str = include_str!("../../python/terok_executor/resources/templates/wrappers/agent.sh.j2");

/// Variables that keep a CLI from updating itself or calling home from a container that is thrown away; a value that
/// is set already wins. Values must not need quoting.
fn quiet(provider: &Provider) -> &'static [(&'static str, &'static str)] {
    match provider.name.as_str() {
        "claude" => &[("DISABLE_AUTOUPDATER", "1"), ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")],
        "copilot" => &[("COPILOT_AUTO_UPDATE", "false")],
        "vibe" => &[("VIBE_ENABLE_UPDATE_CHECKS", "false"), ("VIBE_ENABLE_TELEMETRY", "false")],
        _ if provider.uses_opencode_instructions() => &[
            ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
            ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
            ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
        ],
        _ => &[],
    }
}

/// The function of one provider.
///
/// `has_agents` and `has_instructions` matter to Claude alone.
///
/// # Errors
/// [`AgentError::Wrapper`] when the template cannot be rendered.
pub fn function(provider: &Provider, has_agents: bool, has_instructions: bool) -> Result<String, AgentError> {
    let fail = |source| AgentError::Wrapper { provider: provider.name.clone(), source };
    let mut environment = Environment::new();
    environment.add_filter("q", |text: String| shell_quote(&text));
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.add_template("agent", AGENT).map_err(fail)?;
    let template = environment.get_template("agent").map_err(fail)?;
    let session_file = match (&provider.session_file, provider.supports_session_hook) {
        (Some(file), _) => Some(file.clone()),
        (None, true) => Some(format!("{}-session.txt", provider.name)),
        (None, false) => None,
    };
    let session_path = session_file.map(|file| format!("{CONFIG_MOUNT}/{file}"));
    let resumes = provider.supports_session_resume && provider.resume_flag.is_some() && session_path.is_some();
    let values = context! {
        name => provider.name,
        binary => provider.binary,
        refuse => provider.refuse_subcommands.join("|"),
        approve_flags => shell_join(&provider.auto_approve_flags),
        plugin_dir => plugin_dir(provider),
        resumes,
        resume_flag => provider.resume_flag,
        session_path,
        is_claude => provider.name == "claude",
        is_codex => provider.name == "codex",
        is_vibe => provider.name == "vibe",
        has_agents,
        has_instructions,
        initial_word => initial_word(provider),
        author_name => provider.git_author_name,
        author_email => provider.git_author_email,
        quiet => quiet(provider),
        instructions => INSTRUCTIONS_PATH,
        agents_json => AGENTS_PATH,
        initial_prompt => INITIAL_PROMPT_PATH,
        consumed_prompt => INITIAL_PROMPT_CONSUMED_PATH,
        prompt => PROMPT_PATH,
        workspace => CONTAINER_WORKSPACE,
    };
    template.render(values).map_err(fail)
}

/// Where OpenCode looks for plugins, below the home directory.
fn plugin_dir(provider: &Provider) -> Option<String> {
    provider.session_file.as_ref()?;
    match &provider.opencode_config {
        Some(backend) => Some(format!("{}/opencode/plugins", backend.config_dir)),
        None if provider.name == "opencode" => Some(".config/opencode/plugins".into()),
        None => None,
    }
}

fn initial_word(provider: &Provider) -> Option<&'static str> {
    match provider.name.as_str() {
        _ if provider.uses_opencode_instructions() => Some("run"),
        "copilot" => Some("-p"),
        _ => None,
    }
}

/// The helpers and all functions in roster order: the content of `terok-executor.sh`.
///
/// # Errors
/// As [`function`].
pub fn all(
    providers: &IndexMap<String, Provider>,
    has_agents: bool,
    has_instructions: bool,
) -> Result<String, AgentError> {
    let mut text = HELPERS.to_owned();
    for provider in providers.values() {
        text.push_str(&function(provider, has_agents, has_instructions)?);
    }
    text.push('\n');
    Ok(text)
}

/// The helpers alone, for callers that bring the functions themselves.
pub fn helpers() -> &'static str {
    HELPERS
}
