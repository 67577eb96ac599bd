//! The agent's private directory of one task: instructions, prompt, sub-agents, shell functions.
//!
//! Invariants: the directory is 0700 and reached by descriptor; entries are replaced, never written through, so that a
//! link which a container left cannot lead outside; files that others keep there are not touched.

use std::path::{Path, PathBuf};

use base::file::Dir;
use indexmap::IndexMap;
use rustix::fs::Mode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::fault::AgentError;
use crate::model::Provider;
use crate::{shared, subagent, wrapper};

/// Name of the directory below the task's.
pub const DIRECTORY: &str = "agent-config";
const NEUTRAL: &str = "Keep to the conventions and patterns that this project already has.\n";
const SCHEMA: &str = "https://opencode.ai/config.json";
const SESSION_HOOK: &str =
    r#"python3 -c "import json,sys; print(json.load(sys.stdin)['session_id'])" > /home/dev/.terok/claude-session.txt"#;

/// What to prepare.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Spec {
    pub tasks_root: PathBuf,
    pub task_id: String,
    #[serde(default)]
    pub subagents: Vec<Map<String, Value>>,
    #[serde(default)]
    pub selected_agents: Option<Vec<String>>,
    #[serde(default)]
    pub prompt: Option<String>,
    pub provider: String,
    #[serde(default)]
    pub instructions: Option<String>,
    #[serde(default)]
    pub default_agent: Option<String>,
    #[serde(default)]
    pub mounts_base: Option<PathBuf>,
}

/// The prepared directory, and texts for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Prepared {
    pub path: PathBuf,
    pub warnings: Vec<String>,
}

/// The provider of a name; empty names fall through to the default, then to Claude.
///
/// # Errors
/// [`AgentError::UnknownProvider`] listing the known names.
pub fn lookup<'a>(
    providers: &'a IndexMap<String, Provider>,
    name: Option<&str>,
    default: Option<&str>,
) -> Result<&'a Provider, AgentError> {
    let key = [name, default].into_iter().flatten().find(|n| !n.is_empty()).unwrap_or("claude");
    providers.get(key).ok_or_else(|| {
        let mut known: Vec<&str> = providers.keys().map(String::as_str).collect();
        known.sort_unstable();
        AgentError::UnknownProvider { name: key.to_owned(), known: known.join(", ") }
    })
}

/// Writes the directory and the shared settings that go with it.
///
/// # Errors
/// Before anything is written: an unknown provider, a missing `mounts_base`, an unsafe task name. Then those of the files.
pub fn prepare(spec: &Spec, providers: &IndexMap<String, Provider>) -> Result<Prepared, AgentError> {
    let provider = lookup(providers, Some(&spec.provider), spec.default_agent.as_deref())?;
    let mounts = spec.mounts_base.as_deref().ok_or(AgentError::NoMountsBase)?;
    base::ident::check_segment("task id", &spec.task_id)?;
    let selected = spec.selected_agents.as_deref().unwrap_or_default();
    let agents = match provider.supports_agents_json {
        true => subagent::collect(&spec.subagents, selected)?,
        false => Map::new(),
    };
    let wanted = !spec.subagents.is_empty() || !selected.is_empty();
    let mut warnings = Vec::new();
    if wanted && !provider.supports_agents_json {
        warnings.push(format!("{} does not support sub-agents; the configured ones are left out", provider.label));
    }
    let own = spec.instructions.as_deref().filter(|text| !text.is_empty());
    let functions = wrapper::all(providers, !agents.is_empty(), own.is_some())?;

    let (dir, path) = open(spec)?;
    let agents_text = (!agents.is_empty()).then(|| Value::Object(agents).to_string());
    put(&dir, &path, "agents.json", agents_text.as_deref())?;
    put(&dir, &path, "instructions.md", Some(own.unwrap_or(NEUTRAL)))?;
    share_settings(mounts, provider, providers)?;
    put(&dir, &path, "terok-executor.sh", Some(&functions))?;
    put(&dir, &path, "prompt.txt", spec.prompt.as_deref())?;
    Ok(Prepared { path, warnings })
}

fn open(spec: &Spec) -> Result<(Dir, PathBuf), AgentError> {
    let path = spec.tasks_root.join(&spec.task_id).join(DIRECTORY);
    base::file::create_private_dir(&spec.tasks_root)
        .map_err(AgentError::file("create the directory", &spec.tasks_root))?;
    let root = Dir::open(&spec.tasks_root).map_err(AgentError::file("open", &spec.tasks_root))?;
    let task = root.ensure_below(&spec.task_id, 0o700);
    let dir = task.and_then(|task| task.ensure_below(DIRECTORY, 0o700)).map_err(AgentError::file("create", &path))?;
    rustix::fs::fchmod(dir.as_fd(), Mode::from_raw_mode(0o700))
        .map_err(std::io::Error::from)
        .and_then(|()| home::owner::hand_over(dir.as_fd()))
        .map_err(AgentError::file("make private", &path))?;
    Ok((dir, path))
}

/// Writes a file, or removes what an earlier call left.
fn put(dir: &Dir, path: &Path, name: &str, text: Option<&str>) -> Result<(), AgentError> {
    let full = path.join(name);
    match text {
        Some(text) => shared::write(dir, name, text.as_bytes(), base::file::PUBLIC, &full),
        None => dir.remove_file(name).map(|_| ()).map_err(AgentError::file("remove", full)),
    }
}

fn share_settings(
    mounts: &Path,
    provider: &Provider,
    providers: &IndexMap<String, Provider>,
) -> Result<(), AgentError> {
    shared::update_json(mounts, &["_opencode-config"], "opencode.json", add_instructions)?;
    for backend in providers.values().filter(|p| p.opencode_config.is_some()) {
        let folder = format!("_{}-config", backend.name);
        shared::update_json(mounts, &[&folder, "opencode"], "opencode.json", add_instructions)?;
    }
    if provider.supports_session_hook {
        shared::update_json(mounts, &["_claude-config"], "settings.json", add_session_hook)?;
    }
    Ok(())
}

fn add_instructions(config: &mut Map<String, Value>) {
    let ours = Value::String(wrapper::INSTRUCTIONS_PATH.into());
    config.entry("$schema").or_insert_with(|| SCHEMA.into());
    let mut list = match config.get_mut("instructions").map(Value::take) {
        Some(Value::Array(items)) => items,
        Some(Value::String(text)) if !text.is_empty() => vec![Value::String(text)],
        _ => Vec::new(),
    };
    if !list.contains(&ours) {
        list.push(ours);
    }
    config.insert("instructions".into(), Value::Array(list));
}

fn add_session_hook(settings: &mut Map<String, Value>) {
    let hooks = settings.entry("hooks").or_insert_with(|| json!({}));
    if !hooks.is_object() {
        *hooks = json!({});
    }
    let starts =
        hooks.as_object_mut().expect("made an object above").entry("SessionStart").or_insert_with(|| json!([]));
    if !starts.is_array() {
        *starts = json!([]);
    }
    let items = starts.as_array_mut().expect("made a list above");
    let present = items.iter().any(|item| {
        let nested = item.get("hooks").and_then(Value::as_array).into_iter().flatten();
        nested.into_iter().any(|hook| hook.get("command").and_then(Value::as_str) == Some(SESSION_HOOK))
    });
    if !present {
        items.push(json!({"hooks": [{"type": "command", "command": SESSION_HOOK}]}));
    }
}
