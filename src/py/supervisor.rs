//! Bindings of supervision: installing and proving the OCI hook, ending supervisors, clearing what a container left.
//!
//! Paths cross as text. A missing `state_root` means the one that the environment and the configuration name.

use std::path::{Path, PathBuf};

use ::base::path::PathError;
use ::sandbox::hook::{self, Conf, Layout};
use pyo3::prelude::*;

use crate::errors;

fn root(given: Option<PathBuf>) -> Result<PathBuf, PathError> {
    given.map_or_else(::base::path::sandbox_state_root, Ok)
}

fn layout(state_root: Option<PathBuf>, hooks_dir: Option<PathBuf>) -> Result<Layout, PathError> {
    let usual = Layout::below(&root(state_root)?);
    Ok(match hooks_dir {
        Some(hooks_dir) => Layout { hooks_dir, ..usual },
        None => usual,
    })
}

#[pyfunction]
#[pyo3(signature = (executable, state_root=None, hooks_dir=None))]
fn supervisor_install_hooks(
    py: Python<'_>,
    executable: PathBuf,
    state_root: Option<PathBuf>,
    hooks_dir: Option<PathBuf>,
) -> PyResult<()> {
    let layout = layout(state_root, hooks_dir).map_err(errors::to_py)?;
    py.detach(|| hook::install(&layout, &executable, &Conf::detect())).map_err(errors::to_py)
}

#[pyfunction]
#[pyo3(signature = (state_root=None, hooks_dir=None))]
fn supervisor_uninstall_hooks(py: Python<'_>, state_root: Option<PathBuf>, hooks_dir: Option<PathBuf>) -> PyResult<()> {
    let layout = layout(state_root, hooks_dir).map_err(errors::to_py)?;
    py.detach(|| hook::uninstall(&layout)).map_err(errors::to_py)
}

#[pyfunction]
#[pyo3(signature = (state_root=None))]
fn supervisor_check_hooks(py: Python<'_>, state_root: Option<PathBuf>) -> PyResult<()> {
    let root = root(state_root).map_err(errors::to_py)?;
    py.detach(|| hook::check(&root)).map_err(errors::to_py)
}

#[pyfunction]
#[pyo3(signature = (state_root=None))]
fn supervisor_kill_all(py: Python<'_>, state_root: Option<PathBuf>) -> PyResult<Vec<(String, Option<String>)>> {
    let root = root(state_root).map_err(errors::to_py)?;
    Ok(py.detach(|| hook::kill_all_supervisors(&root)))
}

/// Makes every running supervisor drop the vault (`lock`), or see whether it opens now.
#[pyfunction]
#[pyo3(signature = (lock, state_root=None))]
fn supervisor_tell_all(
    py: Python<'_>,
    lock: bool,
    state_root: Option<PathBuf>,
) -> PyResult<Vec<(String, Option<String>)>> {
    let root = root(state_root).map_err(errors::to_py)?;
    let word = if lock { hook::Word::Lock } else { hook::Word::Look };
    Ok(py.detach(|| hook::tell_all_supervisors(&root, word)))
}

#[pyfunction]
fn supervisor_discard(
    py: Python<'_>,
    state_root: PathBuf,
    runtime_dir: PathBuf,
    container_name: &str,
) -> Vec<(PathBuf, String)> {
    let left = py.detach(|| hook::discard(&state_root, &runtime_dir, container_name));
    left.into_iter().map(|(path, error): (PathBuf, _)| (path, error.to_string())).collect()
}

#[pyfunction]
fn supervisor_hooks_conf() -> PathBuf {
    Path::to_owned(Conf::detect().target())
}

/// Adds this room's functions and classes to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(supervisor_install_hooks, m)?)?;
    m.add_function(wrap_pyfunction!(supervisor_uninstall_hooks, m)?)?;
    m.add_function(wrap_pyfunction!(supervisor_check_hooks, m)?)?;
    m.add_function(wrap_pyfunction!(supervisor_kill_all, m)?)?;
    m.add_function(wrap_pyfunction!(supervisor_tell_all, m)?)?;
    m.add_function(wrap_pyfunction!(supervisor_discard, m)?)?;
    m.add_function(wrap_pyfunction!(supervisor_hooks_conf, m)?)
}
