//! Bindings of the `base` room: paths, configuration, files, text.
//!
//! Paths cross as text, configuration as dicts. `root` overrides whether we count as root on the host, which the shims
//! decide so that callers can replace that decision. Notices of the room go to `sys.stderr` right after the call.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Mutex;

use ::base::file::Dir;
use ::base::path::Namespace;
use ::base::{config, edit, env, folder, ident, notice, path, setting, text, timezone, user, yaml};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde_json::{Map, Value};

use crate::convert;
use crate::errors;

fn namespace(root: Option<bool>) -> Namespace {
    root.map_or_else(Namespace::current, |root| Namespace { root })
}

/// Prints what the room wanted to say; a closed or missing stream is no reason to fail.
pub(crate) fn report(py: Python<'_>) {
    let remarks = notice::take();
    if remarks.is_empty() {
        return;
    }
    let stream = py.import("sys").and_then(|sys| sys.getattr("stderr"));
    for remark in remarks {
        if let Ok(stream) = &stream {
            let line = match notice::split(&remark) {
                (Some(part), text) => format!("Warning [{part}]: {text}\n"),
                (None, text) => format!("Warning: {text}\n"),
            };
            let _ = stream.call_method1("write", (line,));
        }
    }
}

#[pyfunction]
#[pyo3(signature = (subdir="", env_var=None, root=None))]
fn base_state_dir(py: Python<'_>, subdir: &str, env_var: Option<&str>, root: Option<bool>) -> PyResult<PathBuf> {
    let found = namespace(root).state_dir(subdir, env_var);
    report(py);
    found.map_err(errors::to_py)
}

#[pyfunction]
#[pyo3(signature = (subdir="", env_var=None, root=None))]
fn base_config_dir(subdir: &str, env_var: Option<&str>, root: Option<bool>) -> PyResult<PathBuf> {
    namespace(root).config_dir(subdir, env_var).map_err(errors::to_py)
}

#[pyfunction]
#[pyo3(signature = (subdir="", env_var=None, root=None))]
fn base_runtime_dir(subdir: &str, env_var: Option<&str>, root: Option<bool>) -> PyResult<PathBuf> {
    namespace(root).runtime_dir(subdir, env_var).map_err(errors::to_py)
}

#[pyfunction]
#[pyo3(signature = (root=None))]
fn base_vault_dir(py: Python<'_>, root: Option<bool>) -> PyResult<PathBuf> {
    let found = namespace(root).vault_root();
    report(py);
    found.map_err(errors::to_py)
}

#[pyfunction]
fn base_port_registry_dir(py: Python<'_>) -> PathBuf {
    let found = path::sandbox_port_registry_dir();
    report(py);
    found
}

#[pyfunction]
fn base_is_root() -> bool {
    user::is_really_root()
}

#[pyfunction]
fn base_host_uid() -> u32 {
    user::host_uid()
}

#[pyfunction]
#[pyo3(signature = (root=None))]
fn base_config_files(root: Option<bool>) -> Vec<(&'static str, PathBuf)> {
    config::files_in(namespace(root))
}

#[pyfunction]
fn base_config_writable_file() -> PyResult<PathBuf> {
    config::writable_file().map_err(errors::to_py)
}

#[pyfunction]
#[pyo3(signature = (name, root=None))]
fn base_config_section<'py>(py: Python<'py>, name: &str, root: Option<bool>) -> PyResult<Bound<'py, PyAny>> {
    let section = config::section_in(namespace(root), name);
    report(py);
    convert::to_py(py, &section)
}

#[pyfunction]
#[pyo3(signature = (key, root=None))]
fn base_config_top_level<'py>(py: Python<'py>, key: &str, root: Option<bool>) -> PyResult<Bound<'py, PyAny>> {
    let value = config::stack(namespace(root)).resolve_member(key);
    report(py);
    convert::to_py(py, &value)
}

/// Makes the default directories those of root, or of somebody else, whoever we are; `None` asks the system again.
#[pyfunction]
#[pyo3(signature = (root=None))]
fn base_pretend_root(root: Option<bool>) {
    Namespace::pretend(root);
}

#[pyfunction]
fn base_config_forget() {
    config::forget();
}

#[pyfunction]
fn base_config_update(py: Python<'_>, path: PathBuf, section: &str, updates: &Bound<'_, PyAny>) -> PyResult<()> {
    let updates: Map<String, Value> = convert::from_py(updates)?;
    py.detach(|| edit::update_section(&path, section, &updates)).map_err(errors::to_py)
}

#[pyfunction]
#[pyo3(signature = (root=None))]
fn base_config_passphrase_file(py: Python<'_>, root: Option<bool>) -> Option<PathBuf> {
    let found = config::plaintext_passphrase_file(namespace(root));
    report(py);
    found
}

#[pyfunction]
fn base_config_load_yaml(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let scope = config::load_yaml_scope("", &path).map_err(errors::to_py)?;
    convert::to_py(py, scope.data.as_ref())
}

#[pyfunction]
fn base_config_load_json(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let scope = config::load_json_scope("", &path).map_err(errors::to_py)?;
    convert::to_py(py, scope.data.as_ref())
}

#[pyfunction]
fn base_setting_section<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let section = setting::section(name);
    report(py);
    convert::to_py(py, &section)
}

#[pyfunction]
fn base_setting_defaults<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    convert::to_py(py, &setting::defaults(name))
}

#[pyfunction]
fn base_setting_names() -> Vec<&'static str> {
    setting::names().collect()
}

#[pyfunction]
fn base_setting_experimental(py: Python<'_>) -> bool {
    let on = setting::experimental();
    report(py);
    on
}

#[pyfunction]
fn base_setting_port_range(py: Python<'_>) -> (u16, u16) {
    let range = setting::port_range();
    report(py);
    range
}

#[pyfunction]
fn base_yaml_parse<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    convert::to_py(py, &yaml::parse(text).map_err(errors::to_py)?)
}

#[pyfunction]
fn base_yaml_dump(value: &Bound<'_, PyAny>) -> PyResult<String> {
    let value: Value = convert::from_py(value)?;
    yaml::dump(&value).map_err(errors::to_py)
}

/// Raises `ValueError` for a name that podman would refuse or that is not safe in a path.
#[pyfunction]
fn base_check_container_name(name: &str) -> PyResult<()> {
    ident::check_container_name(name).map_err(crate::errors::to_py)
}

#[pyfunction]
fn base_sanitize_tty(text: &str) -> String {
    text::sanitize_tty(text)
}

/// A command for a message; words are bytes.
#[pyfunction]
fn base_command_line(words: Vec<Vec<u8>>) -> String {
    text::command_line(words.into_iter().map(OsString::from_vec))
}

#[pyfunction]
fn base_ensure_writable(path: PathBuf, label: &str) -> PyResult<()> {
    folder::ensure_writable(&path, label).map_err(errors::to_py)
}

#[pyfunction]
fn base_write_sensitive(path: PathBuf, content: &[u8]) -> PyResult<bool> {
    folder::write_sensitive(&path, content).map_err(errors::to_py)
}

/// Reads one regular file below `root` without following a link; `OSError` when it is larger than `limit` bytes.
#[pyfunction]
fn base_read_below<'py>(py: Python<'py>, root: PathBuf, path: PathBuf, limit: u64) -> PyResult<Bound<'py, PyBytes>> {
    let content = py.detach(|| Dir::open(&root)?.read(&path, limit))?;
    Ok(PyBytes::new(py, &content))
}

#[pyfunction]
fn base_detect_timezone() -> Option<String> {
    timezone::detect()
}

/// Name, form and purpose of every environment variable, for the documentation.
#[pyfunction]
fn base_env_table() -> Vec<(&'static str, String, &'static str)> {
    let row = |var: &env::Var| (var.name, format!("{:?}", var.form).to_lowercase(), var.purpose);
    env::VARS.iter().map(row).collect()
}

/// Cleans a stream of hostile bytes piece by piece; colours stay.
#[pyclass(frozen, module = "terok_native._lib")]
struct CleanerRef(Mutex<text::Cleaner>);

impl CleanerRef {
    fn with<T>(&self, act: impl FnOnce(&mut text::Cleaner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[pymethods]
impl CleanerRef {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(text::Cleaner::coloured()))
    }

    /// What can be shown of the stream now.
    fn feed(&self, piece: &[u8]) -> String {
        self.with(|cleaner| cleaner.feed(piece))
    }

    /// What was withheld, at the end of the stream.
    fn finish(&self) -> String {
        self.with(text::Cleaner::finish)
    }
}

/// Cuts a stream of hostile bytes into lines of bounded length.
#[pyclass(frozen, module = "terok_native._lib")]
struct LinesRef(Mutex<text::Lines>);

impl LinesRef {
    fn with<T>(&self, act: impl FnOnce(&mut text::Lines) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[pymethods]
impl LinesRef {
    #[new]
    fn new() -> Self {
        Self(Mutex::default())
    }

    /// The lines that are complete now, without their ends.
    fn feed(&self, piece: &[u8]) -> Vec<String> {
        self.with(|lines| lines.feed(piece))
    }

    /// A last line that has no end.
    fn finish(&self) -> Option<String> {
        self.with(text::Lines::finish)
    }
}

/// Several lines, cleaned for a terminal.
#[pyfunction]
fn base_clean_block(text: &[u8]) -> String {
    text::clean_block(&String::from_utf8_lossy(text))
}

/// Adds this room's functions and classes to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(base_state_dir, m)?)?;
    m.add_function(wrap_pyfunction!(base_config_dir, m)?)?;
    m.add_function(wrap_pyfunction!(base_runtime_dir, m)?)?;
    m.add_function(wrap_pyfunction!(base_vault_dir, m)?)?;
    m.add_function(wrap_pyfunction!(base_port_registry_dir, m)?)?;
    m.add_function(wrap_pyfunction!(base_is_root, m)?)?;
    m.add_function(wrap_pyfunction!(base_host_uid, m)?)?;
    m.add_function(wrap_pyfunction!(base_config_files, m)?)?;
    m.add_function(wrap_pyfunction!(base_config_writable_file, m)?)?;
    m.add_function(wrap_pyfunction!(base_config_section, m)?)?;
    m.add_function(wrap_pyfunction!(base_config_top_level, m)?)?;
    m.add_function(wrap_pyfunction!(base_pretend_root, m)?)?;
    m.add_function(wrap_pyfunction!(base_config_forget, m)?)?;
    m.add_function(wrap_pyfunction!(base_config_update, m)?)?;
    m.add_function(wrap_pyfunction!(base_config_passphrase_file, m)?)?;
    m.add_function(wrap_pyfunction!(base_config_load_yaml, m)?)?;
    m.add_function(wrap_pyfunction!(base_config_load_json, m)?)?;
    m.add_function(wrap_pyfunction!(base_setting_section, m)?)?;
    m.add_function(wrap_pyfunction!(base_setting_defaults, m)?)?;
    m.add_function(wrap_pyfunction!(base_setting_names, m)?)?;
    m.add_function(wrap_pyfunction!(base_setting_experimental, m)?)?;
    m.add_function(wrap_pyfunction!(base_setting_port_range, m)?)?;
    m.add_function(wrap_pyfunction!(base_yaml_parse, m)?)?;
    m.add_function(wrap_pyfunction!(base_yaml_dump, m)?)?;
    m.add_function(wrap_pyfunction!(base_check_container_name, m)?)?;
    m.add_function(wrap_pyfunction!(base_sanitize_tty, m)?)?;
    m.add_function(wrap_pyfunction!(base_command_line, m)?)?;
    m.add_function(wrap_pyfunction!(base_clean_block, m)?)?;
    m.add_class::<CleanerRef>()?;
    m.add_class::<LinesRef>()?;
    m.add_function(wrap_pyfunction!(base_ensure_writable, m)?)?;
    m.add_function(wrap_pyfunction!(base_write_sensitive, m)?)?;
    m.add_function(wrap_pyfunction!(base_read_below, m)?)?;
    m.add_function(wrap_pyfunction!(base_detect_timezone, m)?)?;
    m.add_function(wrap_pyfunction!(base_env_table, m)?)
}
