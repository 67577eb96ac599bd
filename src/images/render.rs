//! Dockerfile texts.
//!
//! Invariants: an undefined template variable is an error; every value that enters a text was validated by the caller
//! or is validated here; the same inputs give the same text.

use std::sync::OnceLock;

use minijinja::{Environment, UndefinedBehavior, context};
use regex_lite::Regex;
use serde::Serialize;

use crate::base_image::{self, Family};
use crate::selection::{Catalog, Entry};
use crate::{AGENTS_LABEL, INSTALLED_ENV_PATH, ImageError, VERSIONS_LABEL};

const L0: &str = include_str!("../../python/terok_executor/resources/templates/l0.Dockerfile.j2");
const L1: &str = include_str!("../../python/terok_executor/resources/templates/l1.cli.Dockerfile.j2");
const SIDECAR: &str = include_str!("../../python/terok_executor/resources/templates/l1.sidecar.Dockerfile.j2");

#[derive(Serialize)]
struct Snippet {
    name: String,
    text: String,
}

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_trim_blocks(true);
    engine.set_lstrip_blocks(true);
    engine.set_keep_trailing_newline(true);
    engine
}

pub(crate) fn render(what: &str, template: &str, values: minijinja::Value) -> Result<String, ImageError> {
    let fault = |source| ImageError::Render { what: what.to_owned(), source };
    engine().render_named_str(what, template, values).map_err(fault)
}

/// The shared layer. `host_ca`: the context has the certificates this machine trusts beyond the usual ones.
///
/// # Errors
/// [`ImageError::BadBase`], [`ImageError::Render`].
pub fn l0(base: &str, family: Family, host_ca: bool) -> Result<String, ImageError> {
    let base = base_image::normalise(base);
    base_image::validate(base)?;
    let values = context! {
        base_image => base, family => family.name(), host_ca => host_ca, ca_bundle => family.ca_bundle(),
    };
    render("L0", L0, values)
}

/// The agent layer with these entries, which must be resolved and sorted.
///
/// # Errors
/// [`ImageError::BadBase`], [`ImageError::Render`].
pub fn l1(
    l0_tag: &str,
    family: Family,
    catalog: &Catalog,
    agents: &[String],
    cache_bust: &str,
) -> Result<String, ImageError> {
    base_image::validate(l0_tag)?;
    let root = snippets(catalog, agents, family, |e| &e.run_as_root)?;
    let dev = snippets(catalog, agents, family, |e| &e.run_as_dev)?;
    let recorded = root.iter().chain(&dev).map(|s| s.text.as_str());
    let versions = versions(std::iter::once(L1).chain(recorded));
    let values = context! {
        l0_tag => l0_tag,
        family => family.name(),
        bashrc => family.bashrc(),
        cache_bust => number(cache_bust),
        root_snippets => root,
        dev_snippets => dev,
        agents_csv => agents.join(","),
        agents_label => AGENTS_LABEL,
        versions_label => VERSIONS_LABEL,
        installed_env => INSTALLED_ENV_PATH,
        versions => label(&versions),
    };
    render("L1", L1, values)
}

/// The tool layer; the context has the program as `tool/<name>`.
///
/// # Errors
/// [`ImageError::BadBase`], [`ImageError::BadTool`], [`ImageError::Render`].
pub fn sidecar(l0_tag: &str, family: Family, tool: &str, cache_bust: &str) -> Result<String, ImageError> {
    base_image::validate(l0_tag)?;
    if base::ident::check_container_name(tool).is_err() {
        return Err(ImageError::BadTool(base::text::sanitize_tty(tool)));
    }
    let values = context! {
        l0_tag => l0_tag, family => family.name(), tool_name => tool, cache_bust => number(cache_bust),
    };
    render("sidecar", SIDECAR, values)
}

/// A cache-bust value as it may stand in an instruction.
fn number(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn snippets(
    catalog: &Catalog,
    agents: &[String],
    family: Family,
    part: impl Fn(&Entry) -> &String,
) -> Result<Vec<Snippet>, ImageError> {
    let mut out = Vec::new();
    for name in agents {
        let Some(source) = catalog.get(name).map(&part).filter(|s| !s.trim().is_empty()) else {
            continue;
        };
        let text = render(name, source, context! { family => family.name() })?;
        out.push(Snippet { name: name.clone(), text: text.trim_end().to_owned() });
    }
    Ok(out)
}

/// Names and defaults of the versions that Dockerfile texts declare (`ARG <NAME>_VERSION=<default>`), in order.
pub fn versions<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<(String, String)> {
    static DECLARED: OnceLock<Regex> = OnceLock::new();
    let declared = DECLARED
        .get_or_init(|| Regex::new(r"(?m)^\s*ARG ([A-Z0-9_]+)_VERSION=(\S+)\s*$").expect("the pattern is constant"));
    let mut out: Vec<(String, String)> = Vec::new();
    for text in texts {
        for found in declared.captures_iter(text) {
            let name = found[1].to_lowercase().replace('_', "-");
            if !out.iter().any(|(known, _)| *known == name) {
                out.push((name, found[2].to_owned()));
            }
        }
    }
    out
}

/// The build argument behind a version's name.
pub fn version_arg(name: &str) -> String {
    name.to_uppercase().replace('-', "_") + "_VERSION"
}

/// What the build records: the values in effect, so that a changed one is recorded too.
fn label(versions: &[(String, String)]) -> String {
    let parts: Vec<String> = versions.iter().map(|(name, _)| format!("{name}=${{{}}}", version_arg(name))).collect();
    parts.join(",")
}

/// What an entry says about the Python it needs (`# requires-python: 3.12` in a fragment).
pub fn needed_python(entry: &Entry) -> Option<(u32, u32)> {
    static NEEDED: OnceLock<Regex> = OnceLock::new();
    let needed = NEEDED
        .get_or_init(|| Regex::new(r"(?m)^\s*# requires-python: (\d+)\.(\d+)\s*$").expect("the pattern is constant"));
    let found = needed.captures(&entry.run_as_root).or_else(|| needed.captures(&entry.run_as_dev))?;
    Some((found[1].parse().ok()?, found[2].parse().ok()?))
}
