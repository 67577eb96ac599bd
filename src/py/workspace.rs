//! Bindings of the `workspace` room: private git directories of containers, and the way back of their commits.

use std::path::PathBuf;

use ::workspace::{Request, WorkspaceError, bring, prepare, source, store};
use pyo3::prelude::*;

use crate::{convert, errors};

fn raise<T>(outcome: Result<T, WorkspaceError>) -> PyResult<T> {
    outcome.map_err(errors::to_py)
}

/// Refuses a directory whose git directory cannot be protected; true when it has one.
#[pyfunction]
fn workspace_check(py: Python<'_>, folder: PathBuf) -> PyResult<bool> {
    raise(py.detach(|| source::inspect(&folder)).map(|found| found.is_repository()))
}

/// Makes the private git directory of a container; its mounts as dicts. `others` are further host directories that the
/// container gets.
#[pyfunction]
fn workspace_prepare<'py>(
    py: Python<'py>,
    state_dir: PathBuf,
    container: &str,
    run: &str,
    folder: PathBuf,
    others: Vec<PathBuf>,
    branch_only: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let request = Request { state_dir: &state_dir, container, run, folder: &folder, others: &others, branch_only };
    convert::to_py(py, &raise(py.detach(|| prepare(&request)))?)
}

/// Brings the commits of an ended container back; the report, or nothing when there is nothing new.
#[pyfunction]
fn workspace_bring(py: Python<'_>, state_dir: PathBuf, container: &str) -> PyResult<Option<String>> {
    raise(py.detach(|| bring::end(&state_dir, container)))
}

/// Containers that have a workspace, and whether their commits were brought back after their end.
#[pyfunction]
fn workspace_list(py: Python<'_>, state_dir: PathBuf) -> Vec<(String, bool)> {
    py.detach(|| store::list(&state_dir))
}

/// Removes the workspace of a container, with `run` only that of this run; does nothing without one.
#[pyfunction]
#[pyo3(signature = (state_dir, container, run=None))]
fn workspace_remove(py: Python<'_>, state_dir: PathBuf, container: &str, run: Option<&str>) -> PyResult<()> {
    raise(py.detach(|| store::remove(&state_dir, container, run)))
}

/// Adds this room's functions to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(workspace_check, m)?)?;
    m.add_function(wrap_pyfunction!(workspace_prepare, m)?)?;
    m.add_function(wrap_pyfunction!(workspace_bring, m)?)?;
    m.add_function(wrap_pyfunction!(workspace_list, m)?)?;
    m.add_function(wrap_pyfunction!(workspace_remove, m)?)
}
