//! Which entries go into an image: the comma grammar, and what it resolves to.
//!
//! `name` includes, `-name` excludes, `all` includes everything; dependencies are added before exclusions count.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use crate::fault::AgentError;
use crate::model::InstallSpec;

/// The word for everything.
pub const ALL: &str = "all";

/// A parsed selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every installable entry.
    All,
    /// Tokens as written, lower case.
    Tokens(Vec<String>),
}

/// Splits a text; says nothing about whether the names exist.
pub fn parse(raw: &str) -> Selection {
    let lower = raw.trim().to_lowercase();
    let tokens: Vec<String> = lower.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect();
    if tokens.is_empty() || lower == ALL {
        return Selection::All;
    }
    Selection::Tokens(tokens)
}

/// The entries to install, sorted.
///
/// # Errors
/// [`AgentError::Selection`] for unknown names, [`AgentError::Dependency`] for a dependency that cannot be installed.
pub fn resolve(selection: &Selection, installs: &IndexMap<String, InstallSpec>) -> Result<Vec<String>, AgentError> {
    let tokens: &[String] = match selection {
        Selection::All => &[],
        Selection::Tokens(tokens) => tokens,
    };
    let excluded: BTreeSet<&str> = tokens.iter().filter_map(|t| t.strip_prefix('-')).collect();
    let included: BTreeSet<&str> = tokens.iter().map(String::as_str).filter(|t| !t.starts_with('-')).collect();
    let named = included.iter().chain(&excluded).filter(|t| **t != ALL);
    let unknown: BTreeSet<&str> = named.filter(|t| !installs.contains_key(**t)).copied().collect();
    if !unknown.is_empty() {
        return Err(AgentError::Selection {
            unknown: join(unknown),
            known: join(installs.keys().map(String::as_str).collect()),
        });
    }
    let everything = included.is_empty() || included.contains(ALL);
    let seeds = if everything { installs.keys().map(String::as_str).collect() } else { included };
    let mut chosen = closure(seeds, installs)?;
    chosen.retain(|name| !excluded.contains(name.as_str()) && !excluded.contains(ALL));
    Ok(chosen.into_iter().collect())
}

fn join(names: BTreeSet<&str>) -> String {
    names.into_iter().map(base::text::sanitize_tty).collect::<Vec<_>>().join(", ")
}

fn closure(seeds: BTreeSet<&str>, installs: &IndexMap<String, InstallSpec>) -> Result<BTreeSet<String>, AgentError> {
    let mut chosen = BTreeSet::new();
    let mut open: Vec<String> = seeds.into_iter().map(str::to_owned).collect();
    while let Some(name) = open.pop() {
        for dependency in installs.get(&name).map(|i| i.depends_on.as_slice()).unwrap_or_default() {
            if !installs.contains_key(dependency) {
                return Err(AgentError::Dependency { agent: name, dependency: dependency.clone() });
            }
            if !chosen.contains(dependency) {
                open.push(dependency.clone());
            }
        }
        chosen.insert(name);
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installs() -> IndexMap<String, InstallSpec> {
        let entry = |name: &str, deps: &[&str]| {
            let depends_on = deps.iter().map(|d| (*d).to_owned()).collect();
            (name.to_owned(), InstallSpec { depends_on, ..InstallSpec::default() })
        };
        IndexMap::from([
            entry("blablador", &["opencode"]),
            entry("caddy", &[]),
            entry("claude", &[]),
            entry("codex", &[]),
            entry("opencode", &[]),
            entry("toad", &["caddy"]),
            entry("vibe", &[]),
        ])
    }

    #[test]
    fn examples() {
        for (raw, expected) in [
            ("claude,Codex", "claude codex"),
            ("-vibe", "blablador caddy claude codex opencode toad"),
            ("all,-vibe", "blablador caddy claude codex opencode toad"),
            ("blablador", "blablador opencode"),
            ("blablador,-opencode", "blablador"),
            ("toad", "caddy toad"),
            ("toad,-caddy", "toad"),
            (",,", "blablador caddy claude codex opencode toad vibe"),
            (" ALL ", "blablador caddy claude codex opencode toad vibe"),
        ] {
            assert_eq!(resolve(&parse(raw), &installs()).unwrap().join(" "), expected, "{raw}");
        }
        assert_eq!(parse(",,"), Selection::All);
        assert_eq!(resolve(&Selection::Tokens(vec![]), &installs()).unwrap().len(), 7);
    }

    #[test]
    fn unknown_names_and_dependencies() {
        for raw in ["nope", "-nope", "coderabbit"] {
            let text = resolve(&parse(raw), &installs()).unwrap_err().to_string();
            assert!(text.starts_with("Unknown roster entries: ") && text.contains("vibe"), "{text}");
        }
        let mut broken = installs();
        broken["vibe"].depends_on.push("ghost".into());
        assert!(matches!(resolve(&parse("vibe"), &broken), Err(AgentError::Dependency { .. })));
    }
}
