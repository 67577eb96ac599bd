//! The roster: bundled entries, the user's files over them, merged, validated and projected.
//!
//! Invariants: a file that cannot be parsed never hides other entries; in strict mode an entry that breaks the format
//! is an error, in lenient mode it falls back to the bundled one with a warning; entries come in sorted name order.

use std::collections::BTreeMap;
use std::path::Path;

use base::text::sanitize_tty;
use include_dir::{Dir, include_dir};
use serde_json::Value;

use crate::fault::AgentError;
use crate::model::Roster;
use crate::schema::{ROSTER_VERSION, RawAgent};
use crate::{project, rule};

static BUNDLED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../python/terok_executor/resources/agents");

/// Largest roster file we read, in bytes.
const SIZE_LIMIT: u64 = 1024 * 1024;

/// One roster file as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Entry name: the file stem.
    pub name: String,
    /// What to call the file in messages.
    pub origin: String,
    /// Its content.
    pub text: String,
}

/// What to do with an entry that breaks the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Fail.
    Strict,
    /// Fall back to the bundled entry, or leave it out, and warn.
    Lenient,
}

/// The entries that come with the package.
pub fn bundled() -> Vec<Source> {
    let mut sources: Vec<Source> = BUNDLED
        .files()
        .filter(|file| file.path().extension().is_some_and(|e| e == "yaml"))
        .filter_map(|file| {
            let name = file.path().file_stem()?.to_str()?.to_owned();
            let text = file.contents_utf8()?.to_owned();
            Some(Source { origin: format!("bundled {name}.yaml"), name, text })
        })
        .collect();
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    sources
}

/// The user's entries, sorted by file name; a missing directory has none. Unreadable files end in `warnings`.
pub fn user_sources(dir: &Path, warnings: &mut Vec<String>) -> Vec<Source> {
    let Ok(listing) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = listing
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    paths.sort();
    let mut sources = Vec::new();
    for path in paths {
        let origin = path.display().to_string();
        let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_owned();
        match read(&path) {
            Ok(text) => sources.push(Source { name, origin, text }),
            Err(why) => warnings.push(warning(format!("skipping `{origin}`: {why}"))),
        }
    }
    sources
}

fn read(path: &Path) -> Result<String, String> {
    // The user's own directory may hold links, for example into a dotfiles checkout.
    let real = std::fs::canonicalize(path).map_err(|e| e.to_string())?;
    let bytes = base::file::read_regular(&real, SIZE_LIMIT).map_err(|e| e.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".into())
}

fn warning(text: String) -> String {
    format!("Warning [roster]: {}", sanitize_tty(&text))
}

/// Merges, validates and projects; texts for the user's stderr are appended to `warnings`.
///
/// # Errors
/// [`AgentError::RosterEntry`] in strict mode.
pub fn load(
    bundled: &[Source],
    user: &[Source],
    strictness: Strictness,
    warnings: &mut Vec<String>,
) -> Result<Roster, AgentError> {
    let mut entries: BTreeMap<String, Layers> = BTreeMap::new();
    for (sources, own) in [(bundled, true), (user, false)] {
        for source in sources {
            let Some(data) = parse(source, warnings) else { continue };
            let layers = entries.entry(source.name.clone()).or_default();
            let slot = if own { &mut layers.bundled } else { &mut layers.user };
            *slot = Some((source.origin.clone(), data));
        }
    }
    let mut roster = Roster::default();
    for (name, layers) in &entries {
        if let Some(raw) = resolve(name, layers, strictness, warnings)? {
            project::add(&mut roster, name, &raw);
        }
    }
    Ok(roster)
}

#[derive(Debug, Default)]
struct Layers {
    bundled: Option<(String, Value)>,
    user: Option<(String, Value)>,
}

fn resolve(
    name: &str,
    layers: &Layers,
    strictness: Strictness,
    warnings: &mut Vec<String>,
) -> Result<Option<RawAgent>, AgentError> {
    let (origin, merged) = match (&layers.bundled, &layers.user) {
        (Some((_, base)), Some((origin, over))) => {
            (origin, with_all_denials(base::config::deep_merge(base, over), base, over))
        }
        (Some((origin, only)), None) | (None, Some((origin, only))) => (origin, only.clone()),
        (None, None) => return Ok(None),
    };
    let error = match validate(name, origin, merged) {
        Ok(raw) => return Ok(Some(raw)),
        Err(error) => error,
    };
    if strictness == Strictness::Strict {
        return Err(error);
    }
    warnings.push(warning(format!("{error}; the file is ignored")));
    let (Some((origin, base)), Some(_)) = (&layers.bundled, &layers.user) else { return Ok(None) };
    Ok(validate(name, origin, base.clone()).ok())
}

/// A user's entry adds to the endpoints that the bundled one denies, and takes none away.
fn with_all_denials(mut merged: Value, base: &Value, over: &Value) -> Value {
    let listed = |entry: &Value| entry.pointer("/vault/deny").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut all = listed(base);
    all.extend(listed(over).into_iter().filter(|item| item != base::config::INHERIT));
    let mut kept: Vec<Value> = Vec::new();
    for item in all {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    if let Some(vault) = merged.get_mut("vault").and_then(Value::as_object_mut).filter(|_| !kept.is_empty()) {
        vault.insert("deny".into(), kept.into());
    }
    merged
}

fn validate(name: &str, origin: &str, merged: Value) -> Result<RawAgent, AgentError> {
    let refuse = |key: String, why: String| AgentError::RosterEntry {
        agent: name.to_owned(),
        origin: origin.to_owned(),
        key,
        why,
    };
    let raw: RawAgent = serde_path_to_error::deserialize(merged)
        .map_err(|error| refuse(error.path().to_string(), error.inner().to_string()))?;
    rule::check(name, &raw).map_err(|(key, why)| refuse(key, why))?;
    Ok(raw)
}

/// The mapping of one file without its version; `None` when there is nothing to use.
fn parse(source: &Source, warnings: &mut Vec<String>) -> Option<Value> {
    let value = match base::yaml::parse(&source.text) {
        Ok(value) => value,
        Err(error) => {
            warnings.push(warning(format!("skipping `{}`: YAML error: {error}", source.origin)));
            return None;
        }
    };
    let Value::Object(mut data) = value else { return None };
    let nothing = data.is_empty();
    check_version(data.shift_remove("roster_version"), &source.origin, warnings);
    if data.is_empty() && !nothing {
        warnings.push(format!("Info [roster]: `{}` is metadata-only, nothing to load", sanitize_tty(&source.origin)));
    }
    (!data.is_empty()).then_some(Value::Object(data))
}

fn check_version(stated: Option<Value>, origin: &str, warnings: &mut Vec<String>) {
    let version = match &stated {
        None => return,
        Some(Value::Number(n)) => n.as_i64(),
        Some(Value::String(s)) => s.trim().parse().ok(),
        Some(_) => None,
    };
    match version {
        None => warnings
            .push(warning(format!("roster_version in `{origin}` is not a valid integer; assuming {ROSTER_VERSION}"))),
        Some(version) if version > ROSTER_VERSION => warnings.push(warning(format!(
            "`{origin}` has roster_version={version}, this program knows {ROSTER_VERSION}; newer keys may be refused"
        ))),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, text: &str) -> Source {
        Source { name: name.into(), origin: format!("/u/{name}.yaml"), text: text.into() }
    }

    fn with_user(user: &[Source], strictness: Strictness) -> (Result<Roster, AgentError>, Vec<String>) {
        let mut warnings = Vec::new();
        (load(&bundled(), user, strictness, &mut warnings), warnings)
    }

    fn strict(name: &str, text: &str) -> Roster {
        let (roster, warnings) = with_user(&[source(name, text)], Strictness::Strict);
        assert_eq!(warnings, Vec::<String>::new());
        roster.unwrap()
    }

    #[test]
    fn bundled_entries_are_valid_and_silent() {
        let (roster, warnings) = with_user(&[], Strictness::Strict);
        let roster = roster.unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(roster.agent_names.join(" "), "blablador claude codex copilot kisski opencode openrouter pi vibe");
        assert_eq!(
            roster.all_names.join(" "),
            "blablador claude coderabbit codex copilot gh glab kisski opencode openrouter pi sonar vibe"
        );
        assert_eq!(roster.web_ingress, ["toad"]);
    }

    #[test]
    fn bundled_entries_have_the_agreed_values() {
        let fixture = include_str!("../../tests/fixtures/agents/bundled.json");
        let expected: Value = serde_json::from_str(fixture).unwrap();
        let roster = serde_json::to_value(with_user(&[], Strictness::Strict).0.unwrap()).unwrap();
        for (table, entries) in expected.as_object().unwrap() {
            if let Value::Array(rows) = entries {
                assert_eq!(&roster[table], &Value::Array(rows.clone()), "{table}");
                continue;
            }
            let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&roster[table]), names(entries), "{table}");
            for (name, fields) in entries.as_object().unwrap() {
                for (field, value) in fields.as_object().unwrap() {
                    assert_eq!(&roster[table][name][field], value, "{table}.{name}.{field}");
                }
            }
        }
    }

    #[test]
    fn overrides() {
        assert_eq!(strict("claude", "label: Mine").providers["claude"].label, "Mine");
        assert_eq!(strict("claude", "headless: {verbose_flag: ~}").providers["claude"].verbose_flag, None);
        let flags = strict("claude", "headless: {output_format_flags: [_inherit, --x]}");
        assert_eq!(flags.providers["claude"].output_format_flags.last().unwrap(), "--x");
        assert!(!strict("claude", "vault: ~").vault_routes.contains_key("claude"));
        let mine = strict("aaa", "kind: native\nroster_version: 1");
        assert_eq!(mine.agent_names[0], "aaa");
        assert_eq!(mine.providers["aaa"].git_author_email, "noreply@aaa.ai");
        assert_eq!(mine.providers["aaa"].git_author_name, "Aaa");
    }

    #[test]
    fn entries_off_the_format_name_file_agent_and_key() {
        for (text, key) in [
            ("lable: x", "lable"),
            ("headless: {model_flag: 7}", "headless.model_flag"),
            ("auto_approve: {env: {A: true}}", "auto_approve.env.A"),
            ("vault: {auth_header: 1}", "vault.auth_header"),
            ("mounts: [{host_dir: ../../x, container_path: /x}]", "mounts.host_dir"),
            ("web_ingress: 'yes'", "web_ingress"),
        ] {
            let (roster, _) = with_user(&[source("claude", text)], Strictness::Strict);
            let message = roster.unwrap_err().to_string();
            for part in ["invalid roster YAML", "claude", "/u/claude.yaml", key] {
                assert!(message.contains(part), "{part}: {message}");
            }
        }
    }

    #[test]
    fn a_lenient_load_keeps_everything_else() {
        let broken = [source("claude", "lable: x"), source("mine", "kind: 3"), source("zz", "label: Z")];
        let (roster, warnings) = with_user(&broken, Strictness::Lenient);
        let roster = roster.unwrap();
        assert_eq!(roster.providers["claude"].label, "Claude");
        assert!(!roster.providers.contains_key("mine") && roster.providers.contains_key("zz"));
        assert_eq!(warnings.len(), 2);
    }

    #[test]
    fn files_that_cannot_be_parsed_are_skipped_with_a_warning() {
        let files = [source("claude", "a: [")];
        let (roster, warnings) = with_user(&files, Strictness::Strict);
        assert_eq!(roster.unwrap().providers["claude"].label, "Claude");
        assert!(warnings[0].starts_with("Warning [roster]") && warnings[0].contains("/u/claude.yaml"), "{warnings:?}");
        let quiet = [source("claude", "- a\n- b"), source("x", "")];
        let (roster, warnings) = with_user(&quiet, Strictness::Strict);
        assert!(roster.is_ok() && warnings.is_empty());
    }

    #[test]
    fn versions() {
        for (text, part) in [
            ("roster_version: 9\nlabel: L", "roster_version=9"),
            ("roster_version: x\nlabel: L", "not a valid integer"),
            ("roster_version: 1", "metadata-only"),
        ] {
            let (roster, warnings) = with_user(&[source("claude", text)], Strictness::Strict);
            assert!(roster.is_ok() && warnings.len() == 1 && warnings[0].contains(part), "{text}: {warnings:?}");
        }
    }

    #[test]
    fn only_yaml_files_of_a_directory_count() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("b.yaml", "label: B"), ("a.yaml", "label: A"), ("c.yml", "label: C")] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        std::fs::write(dir.path().join("d.yaml"), [0xff]).unwrap();
        let mut warnings = Vec::new();
        let names: Vec<_> = user_sources(dir.path(), &mut warnings).into_iter().map(|s| s.name).collect();
        assert_eq!((names.join(" ").as_str(), warnings.len()), ("a b", 1));
        assert!(user_sources(&dir.path().join("none"), &mut warnings).is_empty());
    }
}
