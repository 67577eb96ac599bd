//! Bindings of the `task` room: plain data in, plain data out; whatever touches the disk releases the interpreter.

use std::path::PathBuf;

use ::task::{Book, Meta, check_name, id, name};
use pyo3::prelude::*;

use crate::convert::{Typed, from_py, to_py};
use crate::errors;

#[pyfunction]
fn task_is_id(text: Typed) -> bool {
    id::is_id(&text)
}

#[pyfunction]
fn task_normalise_id(raw: Typed) -> String {
    id::normalise(&raw)
}

#[pyfunction]
fn task_resolve_id(py: Python<'_>, meta_dir: PathBuf, project_id: Typed, prefix: Typed) -> PyResult<String> {
    py.detach(|| id::resolve(&meta_dir, &project_id, &prefix)).map_err(errors::to_py)
}

/// Raises `SystemExit` for a name that is no plain path component; `what` is `project` or `task`.
#[pyfunction]
fn task_check_name(what: &str, name: Typed) -> PyResult<()> {
    let what = if what == "project" { "project identifier" } else { "task identifier" };
    check_name(what, &name).map_err(errors::to_py)
}

#[pyfunction]
fn task_sanitise_name(raw: Typed) -> Option<String> {
    name::sanitise(&raw)
}

#[pyfunction]
fn task_name_objection(name: &str) -> Option<&'static str> {
    name::objection(name)
}

#[pyfunction]
fn task_default_categories(project_id: Typed) -> Vec<&'static str> {
    name::default_categories(&project_id)
}

#[pyfunction]
fn task_generate_name(categories: Vec<String>) -> PyResult<String> {
    name::generate(&categories).map_err(errors::to_py)
}

#[pyfunction]
fn task_dossier_path(meta_dir: PathBuf, task_id: Typed) -> PyResult<PathBuf> {
    Book::new(meta_dir).dossier_path(&task_id).map_err(errors::to_py)
}

#[pyfunction]
fn task_meta_path(meta_dir: PathBuf, task_id: Typed) -> PyResult<PathBuf> {
    Book::new(meta_dir).meta_path(&task_id).map_err(errors::to_py)
}

#[pyfunction]
fn task_ids(py: Python<'_>, meta_dir: PathBuf) -> PyResult<Vec<String>> {
    py.detach(|| Book::new(meta_dir).ids()).map_err(errors::to_py)
}

#[pyfunction]
fn task_exists(py: Python<'_>, meta_dir: PathBuf, task_id: Typed) -> PyResult<bool> {
    py.detach(|| Book::new(meta_dir).exists(&task_id)).map_err(errors::to_py)
}

#[pyfunction]
fn task_read<'py>(py: Python<'py>, meta_dir: PathBuf, task_id: Typed) -> PyResult<Option<Bound<'py, PyAny>>> {
    let meta = py.detach(|| Book::new(meta_dir).read(&task_id)).map_err(errors::to_py)?;
    meta.map(|meta| to_py(py, &meta)).transpose()
}

#[pyfunction]
fn task_write(py: Python<'_>, handle: PathBuf, meta: &Bound<'_, PyAny>) -> PyResult<()> {
    let meta: Meta = from_py(meta)?;
    let write = || ::task::of_handle(&handle).and_then(|(book, task)| book.write(&task, &meta));
    py.detach(write).map_err(errors::to_py)
}

#[pyfunction]
fn task_update(
    py: Python<'_>,
    meta_dir: PathBuf,
    task_id: Typed,
    changes: &Bound<'_, PyAny>,
    removed: Vec<String>,
) -> PyResult<bool> {
    let changes: Meta = from_py(changes)?;
    py.detach(|| Book::new(meta_dir).update(&task_id, &changes, &removed)).map_err(errors::to_py)
}

#[pyfunction]
fn task_rename(py: Python<'_>, meta_dir: PathBuf, project_id: &str, task_id: Typed, name: &str) -> PyResult<bool> {
    py.detach(|| Book::new(meta_dir).rename(project_id, &task_id, name)).map_err(errors::to_py)
}

#[pyfunction]
fn task_mark_deleting(py: Python<'_>, meta_dir: PathBuf, task_id: Typed) -> PyResult<bool> {
    py.detach(|| Book::new(meta_dir).mark_deleting(&task_id)).map_err(errors::to_py)
}

#[pyfunction]
fn task_forget(py: Python<'_>, meta_dir: PathBuf, task_id: Typed) -> PyResult<()> {
    py.detach(|| Book::new(meta_dir).forget(&task_id)).map_err(errors::to_py)
}

/// Identifier and directory of the new task.
#[pyfunction]
fn task_create(
    py: Python<'_>,
    meta_dir: PathBuf,
    tasks_root: PathBuf,
    project_id: &str,
    name: &str,
) -> PyResult<(String, PathBuf)> {
    let made = py.detach(|| ::task::create(&Book::new(meta_dir), &tasks_root, project_id, name));
    made.map(|made| (made.id, made.dir)).map_err(errors::to_py)
}

#[pyfunction]
fn task_prepare(py: Python<'_>, task_dir: PathBuf) -> PyResult<()> {
    py.detach(|| ::task::prepare(&task_dir)).map_err(errors::to_py)
}

/// The members of each task, and what is wrong with the files of others.
#[pyfunction]
fn task_list<'py>(
    py: Python<'py>,
    meta_dir: PathBuf,
    project_id: &str,
    tasks_root: Option<PathBuf>,
) -> PyResult<(Bound<'py, PyAny>, Vec<String>)> {
    let listing = py.detach(|| ::task::list(&Book::new(meta_dir), project_id, tasks_root.as_deref()));
    Ok((to_py(py, &listing.rows)?, listing.trouble))
}

#[pyfunction]
fn task_one<'py>(
    py: Python<'py>,
    meta_dir: PathBuf,
    project_id: &str,
    task_id: Typed,
    tasks_root: Option<PathBuf>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let row = py.detach(|| ::task::one(&Book::new(meta_dir), project_id, &task_id, tasks_root.as_deref()));
    row.map_err(errors::to_py)?.map(|row| to_py(py, &row)).transpose()
}

#[pyfunction]
fn task_record_hook(py: Python<'_>, handle: PathBuf, hook: &str) -> PyResult<bool> {
    py.detach(|| ::task::hook::record(&handle, hook)).map_err(errors::to_py)
}

/// Adds the functions to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(task_is_id, m)?)?;
    m.add_function(wrap_pyfunction!(task_normalise_id, m)?)?;
    m.add_function(wrap_pyfunction!(task_resolve_id, m)?)?;
    m.add_function(wrap_pyfunction!(task_check_name, m)?)?;
    m.add_function(wrap_pyfunction!(task_sanitise_name, m)?)?;
    m.add_function(wrap_pyfunction!(task_name_objection, m)?)?;
    m.add_function(wrap_pyfunction!(task_default_categories, m)?)?;
    m.add_function(wrap_pyfunction!(task_generate_name, m)?)?;
    m.add_function(wrap_pyfunction!(task_dossier_path, m)?)?;
    m.add_function(wrap_pyfunction!(task_meta_path, m)?)?;
    m.add_function(wrap_pyfunction!(task_ids, m)?)?;
    m.add_function(wrap_pyfunction!(task_exists, m)?)?;
    m.add_function(wrap_pyfunction!(task_read, m)?)?;
    m.add_function(wrap_pyfunction!(task_write, m)?)?;
    m.add_function(wrap_pyfunction!(task_update, m)?)?;
    m.add_function(wrap_pyfunction!(task_rename, m)?)?;
    m.add_function(wrap_pyfunction!(task_mark_deleting, m)?)?;
    m.add_function(wrap_pyfunction!(task_forget, m)?)?;
    m.add_function(wrap_pyfunction!(task_create, m)?)?;
    m.add_function(wrap_pyfunction!(task_prepare, m)?)?;
    m.add_function(wrap_pyfunction!(task_list, m)?)?;
    m.add_function(wrap_pyfunction!(task_one, m)?)?;
    m.add_function(wrap_pyfunction!(task_record_hook, m)?)?;
    crate::taskfile::register(m)
}
