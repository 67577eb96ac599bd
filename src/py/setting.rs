//! Bindings of the `project` room, first half: settings, schemas, places, the log.
//!
//! Reading settings is a look at the time stamps of two or three files unless one changed, so it happens at every call;
//! remarks about them go to `sys.stderr` right after it.

use std::path::PathBuf;

use ::base::path::PathError;
use ::project::schema::{self, Document};
use ::project::setting::{self, Settings};
use ::project::{log, place};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use serde_json::Value;
use std::sync::Arc;

use crate::convert::{from_py, to_py};
use crate::errors;

fn settings(py: Python<'_>) -> Arc<Settings> {
    let found = py.detach(setting::load);
    super::base::report(py);
    found
}

/// The checked value of `section.key` or of a key at the top, with its default.
#[pyfunction]
fn project_setting<'py>(py: Python<'py>, key: &str) -> PyResult<Bound<'py, PyAny>> {
    to_py(py, settings(py).value(key))
}

/// All checked settings, or the merged files unchecked.
#[pyfunction]
fn project_settings(py: Python<'_>, raw: bool) -> PyResult<Bound<'_, PyAny>> {
    let found = settings(py);
    match raw {
        true => to_py(py, found.raw()),
        false => to_py(py, found.valid()),
    }
}

/// One line per thing that is wrong with the configuration.
#[pyfunction]
fn project_settings_problems(py: Python<'_>) -> Vec<String> {
    settings(py).problems()
}

/// Raises `SystemExit` while something is wrong with the configuration.
#[pyfunction]
fn project_settings_require(py: Python<'_>) -> PyResult<()> {
    let checked = py.detach(setting::require_valid);
    super::base::report(py);
    checked.map_err(errors::to_py)
}

/// Forgets settings, the files they came from, and what was said about them.
#[pyfunction]
fn project_settings_forget() {
    setting::forget();
}

/// Names the directory of the Python installation, below which there may be a `config.yml`.
#[pyfunction]
fn project_settings_prefix(dir: PathBuf) {
    ::base::config::set_prefix(dir);
}

/// Every `config.yml` that may exist, lowest priority first.
#[pyfunction]
fn project_settings_files() -> Vec<PathBuf> {
    place::global_config_files()
}

/// A directory or file by the name of its function in the room.
#[pyfunction]
fn project_place(py: Python<'_>, name: &str) -> PyResult<PathBuf> {
    let find: fn() -> Result<PathBuf, PathError> = match name {
        "archive" => place::archive_dir,
        "build" => place::build_dir,
        "config_root" => place::config_root,
        "core_state" => place::core_state_dir,
        "gate_repos" => place::gate_repos_dir,
        "global_config" => place::global_config_file,
        "projects" => place::projects_dir,
        "runtime" => place::runtime_dir,
        "runtime_root" => place::runtime_root,
        "sandbox_live" => place::sandbox_live_dir,
        "sandbox_live_mounts" => place::sandbox_live_mounts_dir,
        "state_root" => place::state_root,
        "user_presets" => place::user_presets_dir,
        "user_projects" => place::user_projects_dir,
        "vault" => place::vault_dir,
        _ => return Err(PyKeyError::new_err(name.to_owned())),
    };
    let found = py.detach(find);
    super::base::report(py);
    found.map_err(errors::to_py)
}

fn document(name: &str) -> PyResult<Document> {
    match name {
        "global" => Ok(Document::Global),
        "project" => Ok(Document::Project),
        _ => Err(PyKeyError::new_err(name.to_owned())),
    }
}

/// The table of a document, from which its pydantic classes are made.
#[pyfunction]
fn project_schema<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    to_py(py, &schema::describe(document(name)?))
}

/// The checked document with its defaults, and what is wrong with it as `path`, `message` and `kind`.
#[pyfunction]
fn project_validate<'py>(
    py: Python<'py>,
    name: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let value: Value = from_py(value)?;
    let (checked, errors) = schema::salvage(document(name)?, &value);
    Ok((to_py(py, &checked)?, to_py(py, &errors)?))
}

/// What a value becomes behind a key of the given shape; `ValueError` with the reason.
#[pyfunction]
fn project_coerce<'py>(
    py: Python<'py>,
    key: &str,
    shape: &str,
    choices: Vec<String>,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let value: Value = from_py(value)?;
    let choices: Vec<&str> = choices.iter().map(String::as_str).collect();
    let converted = schema::convert(key, shape, &choices, &value);
    to_py(py, &converted.map_err(PyValueError::new_err)?)
}

/// Appends a line to a log; never fails.
#[pyfunction]
fn project_log(py: Python<'_>, path: PathBuf, stamp: &str, level: &str, message: &str) {
    let _ = py.detach(|| log::append(&path, stamp, level, message));
}

/// A file of a task's agent endpoint; `ValueError` for an identifier that is no plain name.
#[pyfunction]
fn project_acp_file(project: &str, task: &str, kind: &str) -> PyResult<PathBuf> {
    place::acp_file(project, task, kind).map_err(errors::to_py)
}

/// Adds the functions to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let prefix: PathBuf = m.py().import("sys")?.getattr("prefix")?.extract()?;
    ::base::config::set_prefix(prefix);
    m.add_function(wrap_pyfunction!(project_setting, m)?)?;
    m.add_function(wrap_pyfunction!(project_settings, m)?)?;
    m.add_function(wrap_pyfunction!(project_settings_problems, m)?)?;
    m.add_function(wrap_pyfunction!(project_settings_require, m)?)?;
    m.add_function(wrap_pyfunction!(project_settings_forget, m)?)?;
    m.add_function(wrap_pyfunction!(project_settings_prefix, m)?)?;
    m.add_function(wrap_pyfunction!(project_settings_files, m)?)?;
    m.add_function(wrap_pyfunction!(project_place, m)?)?;
    m.add_function(wrap_pyfunction!(project_schema, m)?)?;
    m.add_function(wrap_pyfunction!(project_validate, m)?)?;
    m.add_function(wrap_pyfunction!(project_coerce, m)?)?;
    m.add_function(wrap_pyfunction!(project_acp_file, m)?)?;
    m.add_function(wrap_pyfunction!(project_log, m)?)
}
