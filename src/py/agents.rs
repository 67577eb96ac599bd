//! Bindings of the `agents` room: rosters and specifications cross as mappings with the field names of the shims.

use std::path::PathBuf;

use ::agents::AgentError;
use ::agents::command::{self, Overrides, Settings};
use ::agents::environment::{self, Grants, Services};
use ::agents::model::{OpenCodeConfig, Provider, Roster, Texts};
use ::agents::roster::{self, Strictness};
use ::agents::selection::{self, Selection};
use ::agents::{config_dir, instruction, leak, patch, routes, seed, storage, subagent, volume, wrapper};
use indexmap::IndexMap;
use pyo3::prelude::*;
use serde_json::{Map, Value};

use crate::base::report;
use crate::convert::{from_py, to_py};
use crate::errors;

type Providers = IndexMap<String, Provider>;
type Object = Map<String, Value>;
/// Leaked files as `(provider, path)`, and warnings.
type Leaks = (Vec<(String, PathBuf)>, Vec<String>);

/// Merged and projected roster, and the warnings that loading gave.
#[pyfunction]
fn agents_roster_load<'py>(
    py: Python<'py>,
    user_dir: Option<PathBuf>,
    strict: bool,
) -> PyResult<(Bound<'py, PyAny>, Vec<String>)> {
    let strictness = if strict { Strictness::Strict } else { Strictness::Lenient };
    let mut warnings = Vec::new();
    let loaded = py.detach(|| {
        let user = user_dir.map(|dir| roster::user_sources(&dir, &mut warnings)).unwrap_or_default();
        roster::load(&roster::bundled(), &user, strictness, &mut warnings)
    });
    Ok((to_py(py, &loaded.map_err(errors::to_py)?)?, warnings))
}

/// `None` for everything, else the tokens of a selection text.
#[pyfunction]
fn agents_selection_parse(raw: &str) -> Option<Vec<String>> {
    match selection::parse(raw) {
        Selection::All => None,
        Selection::Tokens(tokens) => Some(tokens),
    }
}

/// Sorted names that a selection stands for.
#[pyfunction]
fn agents_selection_resolve(tokens: Option<Vec<String>>, installs: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let selection = tokens.map_or(Selection::All, Selection::Tokens);
    selection::resolve(&selection, &from_py(installs)?).map_err(errors::to_py)
}

/// The route table of a roster as JSON text with a final newline.
#[pyfunction]
fn agents_routes_json(roster: &Bound<'_, PyAny>) -> PyResult<String> {
    let roster: Roster = from_py(roster)?;
    Ok(wire::route::to_json(&routes::table(&roster).map_err(errors::to_py)?))
}

/// Auto-approve variables of all providers.
#[pyfunction]
fn agents_auto_approve<'py>(py: Python<'py>, roster: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let texts: Texts = environment::auto_approve(&from_py::<Roster>(roster)?).map_err(errors::to_py)?;
    to_py(py, &texts)
}

/// Launcher variables of one OpenCode backend.
#[pyfunction]
fn agents_opencode_env<'py>(py: Python<'py>, name: &str, config: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    to_py(py, &from_py::<OpenCodeConfig>(config)?.to_env(name))
}

/// Shell text of a headless run.
#[pyfunction]
#[pyo3(signature = (provider, timeout, model=None, max_turns=None))]
fn agents_headless_command(
    provider: &Bound<'_, PyAny>,
    timeout: i64,
    model: Option<&str>,
    max_turns: Option<i64>,
) -> PyResult<String> {
    Ok(command::headless(&from_py(provider)?, timeout, model, max_turns))
}

/// Settings as far as a provider can take them.
#[pyfunction]
fn agents_apply_config<'py>(
    py: Python<'py>,
    provider: &Bound<'py, PyAny>,
    config: &Bound<'py, PyAny>,
    overrides: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let overrides: Overrides = from_py(overrides)?;
    let config: Object = from_py(config)?;
    let settings: Settings = command::settings(&from_py(provider)?, &config, &overrides).map_err(errors::to_py)?;
    to_py(py, &settings)
}

/// Front matter and prompt of a markdown agent.
#[pyfunction]
fn agents_parse_markdown(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let parsed = py.detach(|| subagent::parse_markdown(&path)).map_err(errors::to_py)?;
    to_py(py, &parsed)
}

/// Writes the agent's directory; its path and warnings for the user.
#[pyfunction]
fn agents_prepare_config_dir(
    py: Python<'_>,
    spec: &Bound<'_, PyAny>,
    providers: &Bound<'_, PyAny>,
) -> PyResult<(PathBuf, Vec<String>)> {
    let (spec, providers): (config_dir::Spec, Providers) = (from_py(spec)?, from_py(providers)?);
    let done = py.detach(|| config_dir::prepare(&spec, &providers)).map_err(errors::to_py)?;
    Ok((done.path, done.warnings))
}

/// The shell function of one provider.
#[pyfunction]
fn agents_wrapper_function(provider: &Bound<'_, PyAny>, has_agents: bool, has_instructions: bool) -> PyResult<String> {
    wrapper::function(&from_py(provider)?, has_agents, has_instructions).map_err(errors::to_py)
}

/// The shell helpers that the functions use.
#[pyfunction]
fn agents_wrapper_helpers() -> &'static str {
    wrapper::helpers()
}

/// The instructions that come with the package.
#[pyfunction]
fn agents_bundled_instructions() -> &'static str {
    instruction::bundled()
}

/// Instructions of a configuration for one provider.
#[pyfunction]
fn agents_resolve_instructions(
    config: &Bound<'_, PyAny>,
    provider: &str,
    project_root: Option<PathBuf>,
) -> PyResult<String> {
    Ok(instruction::resolve(&from_py(config)?, provider, project_root.as_deref()))
}

/// Whether configuration or project bring instructions of their own.
#[pyfunction]
fn agents_has_custom_instructions(config: &Bound<'_, PyAny>, project_root: Option<PathBuf>) -> PyResult<bool> {
    Ok(instruction::has_custom(&from_py(config)?, project_root.as_deref()))
}

/// Makes the shared directories ready; the volumes of the container.
#[pyfunction]
fn agents_environment_prepare<'py>(
    py: Python<'py>,
    spec: &Bound<'py, PyAny>,
    roster: &Bound<'py, PyAny>,
    services: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let (spec, roster, services): (environment::Spec, Roster, Services) =
        (from_py(spec)?, from_py(roster)?, from_py(services)?);
    let volumes = py.detach(|| volume::prepare(&spec, &roster, &services));
    report(py);
    let volumes = volumes.map_err(errors::to_py)?;
    to_py(py, &volumes)
}

/// The variables of the container.
#[pyfunction]
fn agents_environment_variables<'py>(
    py: Python<'py>,
    spec: &Bound<'py, PyAny>,
    roster: &Bound<'py, PyAny>,
    grants: &Bound<'py, PyAny>,
    services: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let (spec, grants, services): (environment::Spec, Grants, Services) =
        (from_py(spec)?, from_py(grants)?, from_py(services)?);
    to_py(py, &environment::variables(&spec, &from_py(roster)?, &grants, &services).map_err(errors::to_py)?)
}

/// Withdraws and applies shared config patches.
#[pyfunction]
fn agents_patch_apply(
    py: Python<'_>,
    roster: &Bound<'_, PyAny>,
    mounts: PathBuf,
    enabled: Vec<String>,
    disabled: Vec<String>,
    url: String,
    socket: String,
) -> PyResult<()> {
    let roster: Roster = from_py(roster)?;
    let target = patch::Target { url, socket };
    let done = py.detach(|| patch::apply(&roster, &mounts, enabled, &disabled, &target));
    report(py);
    done.map_err(errors::to_py)
}

/// The file that a provider's patch changes.
#[pyfunction]
fn agents_patch_file(roster: &Bound<'_, PyAny>, mounts: PathBuf, provider: &str) -> PyResult<Option<PathBuf>> {
    Ok(patch::file_of(&from_py(roster)?, &mounts, provider))
}

/// The command that asks for a key in a container.
#[pyfunction]
fn agents_api_key_command(
    label: &str,
    key_url: &str,
    env_var: &str,
    config_path: &str,
    printf_template: &str,
    tool_name: &str,
) -> Vec<String> {
    ::agents::api_key_command(label, key_url, env_var, config_path, printf_template, tool_name)
}

/// Leaked credentials as `(provider, path)`, and warnings; with `remove` they are deleted.
#[pyfunction]
fn agents_leaks(py: Python<'_>, roster: &Bound<'_, PyAny>, mounts: PathBuf, remove: bool) -> PyResult<Leaks> {
    let roster: Roster = from_py(roster)?;
    let mut warnings = Vec::new();
    let found = py.detach(|| match remove {
        true => leak::remove(&roster, &mounts, &mut warnings),
        false => leak::scan(&roster, &mounts, &mut warnings),
    });
    Ok((found, warnings))
}

/// Bytes of a task's workspace and agent configuration.
#[pyfunction]
fn agents_task_size(py: Python<'_>, dir: PathBuf) -> (u64, u64) {
    py.detach(|| storage::task(&dir))
}

/// Name and bytes of every directory below `root`, sorted.
#[pyfunction]
fn agents_child_sizes(py: Python<'_>, root: PathBuf) -> Vec<(String, u64)> {
    py.detach(|| {
        let names = storage::children(&root).into_iter();
        names.map(|name| (storage::tree_size(&root.join(&name)), name)).map(|(size, name)| (name, size)).collect()
    })
}

/// Names of the directories below `root`, sorted.
#[pyfunction]
fn agents_child_names(root: PathBuf) -> Vec<String> {
    storage::children(&root)
}

/// Fills a workspace from a clone cache; whether it did, and warnings.
#[pyfunction]
fn agents_seed_workspace(
    py: Python<'_>,
    workspace: PathBuf,
    cache: PathBuf,
    origin: Option<String>,
) -> (bool, Vec<String>) {
    let mut warnings = Vec::new();
    let done = py.detach(|| seed::seed(&workspace, &cache, origin.as_deref(), &mut warnings));
    (done, warnings)
}

/// Writes a 0600 file, whole or not at all; missing parents are created 0700. With `only_if_changed` a plain 0600 file
/// of the same content is left as it is.
#[pyfunction]
#[pyo3(signature = (path, text, only_if_changed=false))]
fn agents_write_private(py: Python<'_>, path: PathBuf, text: String, only_if_changed: bool) -> PyResult<()> {
    py.detach(|| match only_if_changed && routes::holds(&path, text.as_bytes()) {
        true => Ok(()),
        false => ::base::file::write_private(&path, text.as_bytes()).map_err(AgentError::file("write", path)),
    })
    .map_err(errors::to_py)
}

/// Adds this room's functions and classes to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(agents_roster_load, m)?)?;
    m.add_function(wrap_pyfunction!(agents_selection_parse, m)?)?;
    m.add_function(wrap_pyfunction!(agents_selection_resolve, m)?)?;
    m.add_function(wrap_pyfunction!(agents_routes_json, m)?)?;
    m.add_function(wrap_pyfunction!(agents_auto_approve, m)?)?;
    m.add_function(wrap_pyfunction!(agents_opencode_env, m)?)?;
    m.add_function(wrap_pyfunction!(agents_headless_command, m)?)?;
    m.add_function(wrap_pyfunction!(agents_apply_config, m)?)?;
    m.add_function(wrap_pyfunction!(agents_parse_markdown, m)?)?;
    m.add_function(wrap_pyfunction!(agents_prepare_config_dir, m)?)?;
    m.add_function(wrap_pyfunction!(agents_wrapper_function, m)?)?;
    m.add_function(wrap_pyfunction!(agents_wrapper_helpers, m)?)?;
    m.add_function(wrap_pyfunction!(agents_bundled_instructions, m)?)?;
    m.add_function(wrap_pyfunction!(agents_resolve_instructions, m)?)?;
    m.add_function(wrap_pyfunction!(agents_has_custom_instructions, m)?)?;
    m.add_function(wrap_pyfunction!(agents_environment_prepare, m)?)?;
    m.add_function(wrap_pyfunction!(agents_environment_variables, m)?)?;
    m.add_function(wrap_pyfunction!(agents_patch_apply, m)?)?;
    m.add_function(wrap_pyfunction!(agents_patch_file, m)?)?;
    m.add_function(wrap_pyfunction!(agents_api_key_command, m)?)?;
    m.add_function(wrap_pyfunction!(agents_leaks, m)?)?;
    m.add_function(wrap_pyfunction!(agents_task_size, m)?)?;
    m.add_function(wrap_pyfunction!(agents_child_sizes, m)?)?;
    m.add_function(wrap_pyfunction!(agents_child_names, m)?)?;
    m.add_function(wrap_pyfunction!(agents_seed_workspace, m)?)?;
    m.add_function(wrap_pyfunction!(agents_write_private, m)?)?;
    Ok(())
}
