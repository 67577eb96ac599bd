//! What is typed into the container for one agent: the headless command, and the settings that reach it.
//!
//! Invariants: every text from a caller or a file is shell-quoted; the prompt travels by file.

use base::text::{shell_join, shell_quote};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fault::AgentError;
use crate::model::Provider;

/// Where the prompt lies in the container.
pub const PROMPT_PATH: &str = "/home/dev/.terok/prompt.txt";
/// Longest run without an explicit limit, in seconds.
pub const DEFAULT_TIMEOUT: i64 = 1800;

/// The shell text of a headless run: prepare the workspace, then the agent with its prompt.
pub fn headless(provider: &Provider, timeout: i64, model: Option<&str>, max_turns: Option<i64>) -> String {
    let prompt = format!("\"$(cat {PROMPT_PATH})\"");
    let model = model.filter(|m| !m.is_empty()).zip(provider.model_flag.as_deref());
    let turns = max_turns.filter(|n| *n != 0).zip(provider.max_turns_flag.as_deref());
    let mut words = vec![shell_quote(&provider.binary), "--terok-timeout".into(), timeout.to_string()];
    let settings = |words: &mut Vec<String>| {
        words.extend(model.iter().flat_map(|(value, flag)| [shell_quote(flag), shell_quote(value)]));
        words.extend(turns.iter().flat_map(|(value, flag)| [shell_quote(flag), value.to_string()]));
    };
    if provider.name == "claude" {
        words.extend(["-p".into(), prompt]);
        settings(&mut words);
        words.extend(["--output-format", "stream-json", "--verbose"].map(String::from));
    } else {
        words.extend(provider.headless_subcommand.iter().map(|s| shell_quote(s)));
        settings(&mut words);
        if !provider.output_format_flags.is_empty() {
            words.push(shell_join(&provider.output_format_flags));
        }
        words.extend(provider.verbose_flag.iter().map(|s| shell_quote(s)));
        words.extend(Some(&provider.prompt_flag).filter(|f| !f.is_empty()).map(|f| shell_quote(f)));
        words.push(prompt);
    }
    format!("init-ssh-and-repo.sh && {}", words.join(" "))
}

/// Settings given on the command line; they win over the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Overrides {
    pub model: Option<String>,
    pub max_turns: Option<i64>,
    pub timeout: Option<i64>,
    pub instructions: Option<String>,
}

/// Settings as far as this agent can take them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Settings {
    pub model: Option<String>,
    pub max_turns: Option<i64>,
    pub timeout: i64,
    pub prompt_extra: String,
    pub warnings: Vec<String>,
}

/// A configuration value for one provider: a mapping is looked up by provider, then by `_default`.
pub fn provider_value<'a>(key: &str, config: &'a Map<String, Value>, provider: &str) -> Option<&'a Value> {
    match config.get(key)? {
        Value::Null => None,
        Value::Object(by_provider) => {
            [provider, "_default"].iter().find_map(|name| by_provider.get(*name).filter(|value| !value.is_null()))
        }
        other => Some(other),
    }
}

/// Fits configuration and overrides to what the agent understands.
///
/// # Errors
/// [`AgentError::Setting`] for a number that is none, or a turn limit below 1.
pub fn settings(
    provider: &Provider,
    config: &Map<String, Value>,
    overrides: &Overrides,
) -> Result<Settings, AgentError> {
    let value = |key| provider_value(key, config, &provider.name);
    let mut warnings = Vec::new();
    let mut parts = Vec::new();
    let instructions = overrides.instructions.as_deref().filter(|text| !text.is_empty());
    // Claude, Codex and Vibe read the instructions file through their wrapper, the OpenCode family through its configuration.
    let reads_file =
        matches!(provider.name.as_str(), "claude" | "codex" | "vibe") || provider.uses_opencode_instructions();
    parts.extend(instructions.filter(|_| !reads_file).map(str::to_owned));

    let mut model = overrides.model.clone().filter(|m| !m.is_empty()).or_else(|| value("model").map(plain_text));
    if provider.model_flag.is_none()
        && let Some(unused) = model.take().filter(|m| !m.is_empty())
    {
        warnings.push(format!("{} takes no model on its command line; '{unused}' is not used", provider.label));
    }
    let mut max_turns = match overrides.max_turns {
        Some(turns) => Some(turns),
        None => value("max_turns").map(|v| integer(provider, "max_turns", v)).transpose()?,
    };
    if let Some(turns) = max_turns.filter(|n| *n < 1) {
        return Err(setting(provider, "max_turns", turns.to_string(), "a number of at least 1"));
    }
    if provider.max_turns_flag.is_none()
        && let Some(turns) = max_turns.take()
    {
        warnings.push(format!("{} has no turn limit; {turns} goes into the prompt as advice", provider.label));
        parts.push(format!("Finish this in at most {turns} steps."));
    }
    let timeout = match overrides.timeout {
        Some(timeout) => timeout,
        None => value("timeout").map(|v| integer(provider, "timeout", v)).transpose()?.unwrap_or(DEFAULT_TIMEOUT),
    };
    if config.get("subagents").is_some_and(truthy) && !provider.supports_agents_json {
        warnings.push(format!("{} has no sub-agents; the configured ones are not used", provider.label));
    }
    Ok(Settings { model, max_turns, timeout, prompt_extra: parts.join("\n"), warnings })
}

fn setting(provider: &Provider, key: &'static str, value: String, expected: &'static str) -> AgentError {
    AgentError::Setting { provider: provider.name.clone(), key, value, expected }
}

fn integer(provider: &Provider, key: &'static str, value: &Value) -> Result<i64, AgentError> {
    let number = match value {
        Value::Number(n) => n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)),
        Value::String(s) => s.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| setting(provider, key, format!("`{value}`"), "a whole number"))
}

/// The text Python's `str` would give for a scalar.
pub fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        other => other.to_string(),
    }
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Bool(true) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::{Strictness, bundled, load};
    use serde_json::json;

    fn provider(name: &str) -> Provider {
        load(&bundled(), &[], Strictness::Strict, &mut Vec::new()).unwrap().providers[name].clone()
    }

    fn fit(name: &str, config: Value, overrides: &Overrides) -> Result<Settings, AgentError> {
        settings(&provider(name), config.as_object().unwrap(), overrides)
    }

    #[test]
    fn headless_commands() {
        let fixture = include_str!("../../tests/fixtures/agents/headless.json");
        for row in serde_json::from_str::<Vec<Value>>(fixture).unwrap() {
            let text = headless(
                &provider(row["provider"].as_str().unwrap()),
                row["timeout"].as_i64().unwrap(),
                row["model"].as_str(),
                row["max_turns"].as_i64(),
            );
            assert_eq!(text, row["command"].as_str().unwrap(), "{row}");
        }
    }

    #[test]
    fn values_by_provider() {
        let config = json!({"a": {"x": 1, "_default": 2}, "n": {"x": null}, "z": 0, "l": [1], "f": false, "nil": null});
        let get = |key, provider| provider_value(key, config.as_object().unwrap(), provider).cloned();
        assert_eq!(get("a", "x"), Some(json!(1)));
        assert_eq!(get("a", "y"), Some(json!(2)));
        assert_eq!(get("n", "x"), None);
        assert_eq!(
            (get("z", "x"), get("l", "x"), get("f", "x")),
            (Some(json!(0)), Some(json!([1])), Some(json!(false)))
        );
        assert_eq!((get("nil", "x"), get("absent", "x")), (None, None));
    }

    #[test]
    fn settings_follow_the_abilities() {
        let codex = fit("codex", json!({"max_turns": 30, "model": "m"}), &Overrides::default()).unwrap();
        assert_eq!((codex.max_turns, codex.model.as_deref(), codex.timeout), (None, Some("m"), 1800));
        assert!(codex.prompt_extra.contains("30 steps") && codex.warnings[0].contains("Codex"));
        let kisski = fit("kisski", json!({"model": "m", "subagents": [1]}), &Overrides::default()).unwrap();
        assert!(kisski.model.is_none() && kisski.warnings.len() == 2 && kisski.warnings[0].contains("'m'"));
        let zero = Overrides { timeout: Some(0), instructions: Some("I".into()), ..Overrides::default() };
        let copilot = fit("copilot", json!({"timeout": 5, "max_turns": {"_default": 2}}), &zero).unwrap();
        assert_eq!((copilot.timeout, copilot.prompt_extra.as_str()), (0, "I\nFinish this in at most 2 steps."));
        for reads_file in ["claude", "codex", "vibe", "opencode", "kisski"] {
            assert_eq!(fit(reads_file, json!({}), &zero).unwrap().prompt_extra, "", "{reads_file}");
        }
    }

    #[test]
    fn unusable_settings_name_agent_and_key() {
        for config in [json!({"max_turns": "many"}), json!({"max_turns": 0}), json!({"timeout": "1h"})] {
            let text = fit("claude", config.clone(), &Overrides::default()).unwrap_err().to_string();
            assert!(
                text.contains("claude") && text.contains(config.as_object().unwrap().keys().next().unwrap()),
                "{text}"
            );
        }
    }
}
