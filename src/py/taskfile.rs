//! Bindings of the `task` room: archive, removal, and what containers share with the host.

use std::path::PathBuf;

use ::task::{Book, archive, deliver, tree, work};
use pyo3::prelude::*;

use crate::convert::to_py;
use crate::errors;

/// The new entry, `None` when nothing is known about the task.
#[pyfunction]
fn task_archive(
    py: Python<'_>,
    meta_dir: PathBuf,
    task_id: &str,
    task_dir: PathBuf,
    archive_dir: PathBuf,
) -> PyResult<Option<PathBuf>> {
    let made = py.detach(|| archive::archive(&Book::new(meta_dir), task_id, &task_dir, &archive_dir));
    made.map_err(errors::to_py)
}

#[pyfunction]
fn task_archived<'py>(py: Python<'py>, archive_dir: PathBuf) -> PyResult<Bound<'py, PyAny>> {
    let entries = py.detach(|| archive::list(&archive_dir));
    to_py(py, &entries)
}

#[pyfunction]
fn task_archived_log(py: Python<'_>, archive_dir: PathBuf, beginning: &str) -> Option<PathBuf> {
    py.detach(|| archive::log(&archive_dir, beginning))
}

/// Removes `name` in `root` with everything below it; false when there is nothing of that name.
#[pyfunction]
fn task_remove_tree(py: Python<'_>, root: PathBuf, name: &str) -> PyResult<bool> {
    py.detach(|| tree::remove(&root, name.as_ref())).map_err(errors::to_py)
}

#[pyfunction]
fn task_write_token(py: Python<'_>, agent_config_dir: PathBuf, token: &str) -> PyResult<()> {
    py.detach(|| deliver::token(&agent_config_dir, token)).map_err(errors::to_py)
}

#[pyfunction]
fn task_write_prompt(py: Python<'_>, agent_config_dir: PathBuf, prompt: &str) -> PyResult<()> {
    py.detach(|| deliver::prompt(&agent_config_dir, prompt)).map_err(errors::to_py)
}

type Said = (Option<String>, Option<String>, Option<String>);

/// Status, message, and why they could not be read.
#[pyfunction]
fn task_read_work_status(py: Python<'_>, agent_config_dir: PathBuf) -> Said {
    let (said, trouble) = py.detach(|| work::read_status(&agent_config_dir));
    (said.status, said.message, trouble)
}

#[pyfunction]
#[pyo3(signature = (agent_config_dir, status, message=None))]
fn task_write_work_status(
    py: Python<'_>,
    agent_config_dir: PathBuf,
    status: Option<&str>,
    message: Option<&str>,
) -> PyResult<()> {
    py.detach(|| work::write_status(&agent_config_dir, status, message)).map_err(errors::to_py)
}

/// Phase and prompt.
#[pyfunction]
fn task_read_pending_phase(py: Python<'_>, agent_config_dir: PathBuf) -> Option<(String, String)> {
    py.detach(|| work::read_phase(&agent_config_dir)).map(|found| (found.phase, found.prompt))
}

#[pyfunction]
fn task_write_pending_phase(py: Python<'_>, agent_config_dir: PathBuf, phase: &str, prompt: &str) -> PyResult<()> {
    py.detach(|| work::write_phase(&agent_config_dir, phase, prompt)).map_err(errors::to_py)
}

#[pyfunction]
fn task_clear_pending_phase(py: Python<'_>, agent_config_dir: PathBuf) -> PyResult<()> {
    py.detach(|| work::clear_phase(&agent_config_dir)).map_err(errors::to_py)
}

/// Keeps the interpreter's lock: front ends ask once per row they draw, and getting the lock back from a busy thread
/// takes a hundred times longer than reading one small file.
#[pyfunction]
fn task_wants_gpu(project_file: PathBuf) -> bool {
    ::task::wants_gpu(&project_file)
}

/// Adds the functions to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(task_archive, m)?)?;
    m.add_function(wrap_pyfunction!(task_archived, m)?)?;
    m.add_function(wrap_pyfunction!(task_archived_log, m)?)?;
    m.add_function(wrap_pyfunction!(task_remove_tree, m)?)?;
    m.add_function(wrap_pyfunction!(task_write_token, m)?)?;
    m.add_function(wrap_pyfunction!(task_write_prompt, m)?)?;
    m.add_function(wrap_pyfunction!(task_read_work_status, m)?)?;
    m.add_function(wrap_pyfunction!(task_write_work_status, m)?)?;
    m.add_function(wrap_pyfunction!(task_read_pending_phase, m)?)?;
    m.add_function(wrap_pyfunction!(task_write_pending_phase, m)?)?;
    m.add_function(wrap_pyfunction!(task_clear_pending_phase, m)?)?;
    m.add_function(wrap_pyfunction!(task_wants_gpu, m)?)?;
    crate::tasklog::register(m)
}
