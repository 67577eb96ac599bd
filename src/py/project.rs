//! Bindings of the `project` room, second half: projects themselves. Settings and places are in `setting`.
//!
//! Whatever touches the disk releases the interpreter. Paths inside plain data are texts; a path alone is a `Path`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ::project::discover::Found;
use ::project::model::Model;
use ::project::preset::{Preset, Tiers};
use ::project::wizard::{self, Answers};
use ::project::{ProjectError, change, discover, id, identity, place};
use pyo3::prelude::*;
use serde_json::{Map, Value};

use crate::convert::{Typed, from_py, to_py};
use crate::errors;

/// Runs without the interpreter; remarks about configuration go to `sys.stderr` right after it.
fn away<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, ProjectError> + Send) -> PyResult<T> {
    let done = py.detach(work);
    super::base::report(py);
    done.map_err(errors::to_py)
}

/// True for a text that can be a project id.
#[pyfunction]
fn project_is_id(text: Typed) -> bool {
    id::is_valid(&text)
}

/// Raises `SystemExit` for a text that cannot be a project's id, or is reserved.
#[pyfunction]
fn project_check_id(text: Typed) -> PyResult<()> {
    id::check(&text).map_err(errors::to_py)
}

/// The authorship mode that a text means.
#[pyfunction]
fn project_authorship(text: Option<&str>) -> PyResult<String> {
    identity::normalize_authorship(text).map_err(errors::to_py)
}

/// Directory of a project; nothing is read.
#[pyfunction]
fn project_root(py: Python<'_>, project: Typed) -> PyResult<PathBuf> {
    away(py, || discover::root_of(&project))
}

/// The fields of a project.
#[pyfunction]
fn project_load<'py>(py: Python<'py>, project: Typed) -> PyResult<Bound<'py, PyAny>> {
    let model: Arc<Model> = away(py, || discover::load(&project))?;
    to_py(py, model.as_ref())
}

/// The fields of every project that can be loaded, and what is wrong with the others; both by id.
#[pyfunction]
fn project_all(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let found: Found = away(py, discover::all)?;
    to_py(py, &found)
}

/// Directories of all projects by id; nothing is read.
#[pyfunction]
fn project_directories(py: Python<'_>) -> PyResult<BTreeMap<String, PathBuf>> {
    away(py, discover::directories)
}

/// Presets of the project with directory `root`, by name.
#[pyfunction]
fn project_presets(py: Python<'_>, root: PathBuf, bundled: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let found: Vec<Preset> = away(py, || Ok(Tiers::of(&root, &bundled)?.list()))?;
    to_py(py, &found)
}

/// File of a preset.
#[pyfunction]
fn project_preset_path(py: Python<'_>, root: PathBuf, bundled: PathBuf, name: Typed) -> PyResult<Option<PathBuf>> {
    away(py, || Ok(Tiers::of(&root, &bundled)?.find(&name)?.map(|preset| preset.path)))
}

/// Content of a preset, and the preset.
#[pyfunction]
fn project_preset<'py>(py: Python<'py>, root: PathBuf, bundled: PathBuf, name: Typed) -> PyResult<Bound<'py, PyAny>> {
    let found: (Map<String, Value>, Preset) = away(py, || Tiers::of(&root, &bundled)?.load(&name))?;
    to_py(py, &found)
}

/// Makes a project from another; returns its directory.
#[pyfunction]
fn project_derive(py: Python<'_>, source: Typed, new: Typed) -> PyResult<PathBuf> {
    away(py, || change::derive(&source, &new))
}

/// Sets the agents of a project's image; returns its file.
#[pyfunction]
fn project_set_agents(py: Python<'_>, project: Typed, selection: Typed) -> PyResult<PathBuf> {
    away(py, || change::set_agents(&project, &selection))
}

/// Text of a `project.yml` for the answers of the wizard.
#[pyfunction]
fn project_render(answers: &Bound<'_, PyAny>) -> PyResult<String> {
    let answers: Answers = from_py(answers)?;
    wizard::render(&answers).map_err(errors::to_py)
}

/// Writes the `project.yml` of a user's project; returns its path.
#[pyfunction]
fn project_write(py: Python<'_>, project: Typed, text: &str, overwrite: bool) -> PyResult<PathBuf> {
    away(py, || wizard::write(&place::user_projects_dir()?, &project, text, overwrite))
}

/// Adds the functions to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(project_is_id, m)?)?;
    m.add_function(wrap_pyfunction!(project_check_id, m)?)?;
    m.add_function(wrap_pyfunction!(project_authorship, m)?)?;
    m.add_function(wrap_pyfunction!(project_root, m)?)?;
    m.add_function(wrap_pyfunction!(project_load, m)?)?;
    m.add_function(wrap_pyfunction!(project_all, m)?)?;
    m.add_function(wrap_pyfunction!(project_directories, m)?)?;
    m.add_function(wrap_pyfunction!(project_presets, m)?)?;
    m.add_function(wrap_pyfunction!(project_preset_path, m)?)?;
    m.add_function(wrap_pyfunction!(project_preset, m)?)?;
    m.add_function(wrap_pyfunction!(project_derive, m)?)?;
    m.add_function(wrap_pyfunction!(project_set_agents, m)?)?;
    m.add_function(wrap_pyfunction!(project_render, m)?)?;
    m.add_function(wrap_pyfunction!(project_write, m)?)
}
