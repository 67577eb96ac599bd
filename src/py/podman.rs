//! Bindings of the `podman` room: containers and images as podman tells of them.
//!
//! Every call releases the GIL. Calls that may last ask for pending signals, so that Ctrl-C ends them.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use ::podman::container::Removal;
use ::podman::image::ImageRow;
use ::podman::logs::{LogChoice, logs_args};
use ::podman::{Podman, PodmanError, Watch};
use pyo3::prelude::*;
use serde::Serialize;

use crate::{convert, errors};

/// Runs a call that may last; a Python signal handler's exception ends it and is raised.
pub(crate) fn watched<T: Send, E: ::base::fault::Fault + Send>(
    py: Python<'_>,
    call: impl FnOnce(Watch<'_>) -> Result<T, E> + Send,
) -> PyResult<T> {
    let raised: Mutex<Option<PyErr>> = Mutex::new(None);
    let watch = || {
        Python::attach(|py| match py.check_signals() {
            Ok(()) => false,
            Err(error) => {
                *raised.lock().expect("no holder panics") = Some(error);
                true
            }
        })
    };
    let result = py.detach(|| call(&watch));
    match (raised.into_inner().expect("no holder panics"), result) {
        (Some(error), _) => Err(error),
        (None, result) => result.map_err(errors::to_py),
    }
}

/// The podman that launches and builds, for this account's installation.
pub(crate) fn launching(py: Python<'_>) -> PyResult<Podman> {
    let root = |path: Result<PathBuf, ::base::path::PathError>| path.map_err(errors::to_py);
    let place = ::sandbox::Place {
        state_dir: root(::base::path::sandbox_state_root())?,
        runtime_dir: root(::base::path::sandbox_runtime_root())?,
        tcp: false,
        allow_root: false,
    };
    let made = py.detach(|| ::sandbox::launcher::launcher(&place, &Podman::new()));
    made.map(|(podman, _)| podman).map_err(errors::to_py)
}

fn seconds(limit: Option<f64>) -> Option<Duration> {
    limit.map(|s| Duration::try_from_secs_f64(s).unwrap_or_default())
}

/// A finished process, as Python sees it.
#[derive(Serialize)]
struct Finished {
    exit_code: i32,
    stdout: String,
    stderr: String,
}

impl From<::base::process::Output> for Finished {
    fn from(output: ::base::process::Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { exit_code: output.code, stdout: output.text(), stderr }
    }
}

#[pyfunction]
fn podman_state(py: Python<'_>, name: &str) -> Option<String> {
    py.detach(|| Podman::new().state(name))
}

#[pyfunction]
fn podman_running(py: Python<'_>, name: &str) -> bool {
    py.detach(|| Podman::new().running(name))
}

#[pyfunction]
fn podman_container_image(py: Python<'_>, name: &str) -> Option<String> {
    py.detach(|| Podman::new().container_image(name))
}

#[pyfunction]
fn podman_container_id(py: Python<'_>, name: &str) -> Option<String> {
    py.detach(|| Podman::new().container_id(name))
}

#[pyfunction]
fn podman_rw_size(py: Python<'_>, name: &str) -> Option<u64> {
    py.detach(|| Podman::new().rw_size(name))
}

/// The last known run of a container: `id`, `state`, `exit_code`, `oom_killed`; `None` without such a container.
#[pyfunction]
fn podman_inspect<'py>(py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    let found = py.detach(|| Podman::new().inspect(name)).map_err(errors::to_py)?;
    let Some(found) = found else { return Ok(None) };
    let told = serde_json::json!({
        "id": found.id, "state": found.state.status.to_lowercase(), "exit_code": found.state.exit_code,
        "oom_killed": found.state.oom_killed, "created": found.created_unix(),
        "annotations": found.config.annotations.unwrap_or_default(),
    });
    convert::to_py(py, &told).map(Some)
}

#[pyfunction]
fn podman_start(py: Python<'_>, name: &str) -> PyResult<()> {
    py.detach(|| Podman::new().start(name)).map_err(errors::to_py)
}

#[pyfunction]
fn podman_unpause(py: Python<'_>, name: &str) -> PyResult<()> {
    py.detach(|| Podman::new().unpause(name)).map_err(errors::to_py)
}

#[pyfunction]
fn podman_pause(py: Python<'_>, name: &str) -> PyResult<()> {
    py.detach(|| Podman::new().pause(name)).map_err(errors::to_py)
}

#[pyfunction]
fn podman_stop(py: Python<'_>, name: &str, timeout: u32) -> PyResult<()> {
    py.detach(|| Podman::new().stop(name, timeout)).map_err(errors::to_py)
}

#[pyfunction]
#[pyo3(signature = (name, timeout=None))]
fn podman_wait(py: Python<'_>, name: &str, timeout: Option<f64>) -> PyResult<i32> {
    watched(py, |watch| Podman::new().wait(name, seconds(timeout), Some(watch)))
}

#[pyfunction]
fn podman_copy_in<'py>(py: Python<'py>, name: &str, source: PathBuf, target: &str) -> PyResult<Bound<'py, PyAny>> {
    let output = watched(py, |watch| Podman::new().copy_in(name, &source, target).watch(Some(watch)).output())?;
    convert::to_py(py, &Finished::from(output))
}

#[pyfunction]
fn podman_copy_in_args(name: &str, source: PathBuf, target: &str) -> Vec<String> {
    ::podman::container::copy_in_args(name, &source, target)
}

#[pyfunction]
#[pyo3(signature = (name, command, timeout=None))]
fn podman_exec<'py>(
    py: Python<'py>,
    name: &str,
    command: Vec<String>,
    timeout: Option<f64>,
) -> PyResult<Bound<'py, PyAny>> {
    let output = watched(py, |watch| Podman::new().exec(name, &command, seconds(timeout), Some(watch)))?;
    convert::to_py(py, &Finished::from(output))
}

#[pyfunction]
fn podman_force_remove<'py>(py: Python<'py>, names: Vec<String>) -> PyResult<Bound<'py, PyAny>> {
    let removals: Vec<Removal> = py.detach(|| Podman::new().force_remove(&names));
    convert::to_py(py, &removals)
}

#[pyfunction]
fn podman_names(py: Python<'_>, prefix: &str) -> Vec<String> {
    py.detach(|| Podman::new().names_with_prefix(prefix))
}

#[pyfunction]
fn podman_states(py: Python<'_>, prefix: &str) -> Vec<(String, String)> {
    py.detach(|| Podman::new().states_with_prefix(prefix))
}

/// `{name: state}` of every container; raises when podman cannot tell.
#[pyfunction]
fn podman_all_states(py: Python<'_>) -> PyResult<std::collections::BTreeMap<String, String>> {
    let states = py.detach(|| Podman::new().states()).map_err(errors::to_py)?;
    Ok(states.into_iter().collect())
}

/// `{name: state}` of all containers that carry a label (`key=value`); raises when podman cannot tell.
#[pyfunction]
fn podman_states_by_label(py: Python<'_>, label: &str) -> PyResult<std::collections::BTreeMap<String, String>> {
    let states = py.detach(|| {
        let podman = Podman::new();
        match ::base::path::sandbox_runtime_root() {
            Ok(directory) => podman.known_states(label, &directory),
            Err(_) => podman.states_with_label(label),
        }
    });
    let states = states.map_err(errors::to_py)?;
    Ok(states.into_iter().collect())
}

#[pyfunction]
fn podman_rw_sizes(py: Python<'_>, prefix: &str) -> Vec<(String, u64)> {
    py.detach(|| Podman::new().rw_sizes_with_prefix(prefix))
}

#[pyfunction]
fn podman_image_id(py: Python<'_>, reference: &str) -> Option<String> {
    py.detach(|| Podman::new().image_id(reference))
}

#[pyfunction]
fn podman_image_exists(py: Python<'_>, reference: &str) -> bool {
    py.detach(|| Podman::new().image_exists(reference))
}

#[pyfunction]
fn podman_image_labels<'py>(py: Python<'py>, reference: &str) -> PyResult<Bound<'py, PyAny>> {
    let labels = py.detach(|| Podman::new().image_labels(reference));
    convert::to_py(py, &labels)
}

#[pyfunction]
fn podman_image_history(py: Python<'_>, reference: &str) -> Vec<String> {
    py.detach(|| Podman::new().image_history(reference))
}

#[pyfunction]
fn podman_image_remove(py: Python<'_>, reference: &str) -> bool {
    py.detach(|| Podman::new().image_remove(reference))
}

#[pyfunction]
fn podman_images<'py>(py: Python<'py>, dangling_only: bool) -> PyResult<Bound<'py, PyAny>> {
    let rows: Vec<ImageRow> = py.detach(|| Podman::new().images(dangling_only));
    convert::to_py(py, &rows)
}

/// Arguments of `podman logs` after the program name.
#[pyfunction]
#[pyo3(signature = (name, *, follow=false, tail=None, timestamps=false, since=None))]
fn podman_logs_args(
    name: &str,
    follow: bool,
    tail: Option<u64>,
    timestamps: bool,
    since: Option<String>,
) -> Vec<String> {
    logs_args(name, &LogChoice { follow, timestamps, tail, since })
}

#[pyfunction]
#[pyo3(signature = (name, *, tail=None, timestamps=false, since=None))]
fn podman_logs(
    py: Python<'_>,
    name: &str,
    tail: Option<u64>,
    timestamps: bool,
    since: Option<String>,
) -> PyResult<String> {
    let choice = LogChoice { follow: false, timestamps, tail, since };
    watched(py, |watch| Podman::new().logs(name, &choice, Some(watch)))
}

#[pyfunction]
#[pyo3(signature = (name, dest, *, timestamps=true, timeout=60.0))]
fn podman_capture_logs(py: Python<'_>, name: &str, dest: PathBuf, timestamps: bool, timeout: Option<f64>) -> bool {
    py.detach(|| Podman::new().capture_logs(name, &dest, timestamps, seconds(timeout)))
}

#[pyfunction]
fn podman_gpu_available(py: Python<'_>) -> bool {
    py.detach(|| Podman::new().gpu_available())
}

/// What podman can do: `version`, `network`, `rootless`, `uid_rows`, `cdi_specs`; remembered in `directory`.
#[pyfunction]
fn podman_info<'py>(py: Python<'py>, directory: PathBuf) -> PyResult<Bound<'py, PyAny>> {
    let info = py
        .detach(|| {
            let info = Podman::new().cached_info(&directory)?;
            if info.version_pair() < ::podman::info::OLDEST {
                return Err(PodmanError::TooOld { found: info.version });
            }
            Ok(info)
        })
        .map_err(errors::to_py)?;
    convert::to_py(py, &info)
}

/// Adds this room's functions and classes to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(podman_state, m)?,
        wrap_pyfunction!(podman_running, m)?,
        wrap_pyfunction!(podman_container_image, m)?,
        wrap_pyfunction!(podman_container_id, m)?,
        wrap_pyfunction!(podman_rw_size, m)?,
        wrap_pyfunction!(podman_inspect, m)?,
        wrap_pyfunction!(podman_start, m)?,
        wrap_pyfunction!(podman_unpause, m)?,
        wrap_pyfunction!(podman_pause, m)?,
        wrap_pyfunction!(podman_stop, m)?,
        wrap_pyfunction!(podman_wait, m)?,
        wrap_pyfunction!(podman_copy_in, m)?,
        wrap_pyfunction!(podman_copy_in_args, m)?,
        wrap_pyfunction!(podman_exec, m)?,
        wrap_pyfunction!(podman_force_remove, m)?,
        wrap_pyfunction!(podman_names, m)?,
        wrap_pyfunction!(podman_states, m)?,
        wrap_pyfunction!(podman_states_by_label, m)?,
        wrap_pyfunction!(podman_all_states, m)?,
        wrap_pyfunction!(podman_rw_sizes, m)?,
        wrap_pyfunction!(podman_image_id, m)?,
        wrap_pyfunction!(podman_image_exists, m)?,
        wrap_pyfunction!(podman_image_labels, m)?,
        wrap_pyfunction!(podman_image_history, m)?,
        wrap_pyfunction!(podman_image_remove, m)?,
        wrap_pyfunction!(podman_images, m)?,
        wrap_pyfunction!(podman_logs_args, m)?,
        wrap_pyfunction!(podman_logs, m)?,
        wrap_pyfunction!(podman_capture_logs, m)?,
        wrap_pyfunction!(podman_gpu_available, m)?,
        wrap_pyfunction!(podman_info, m)?,
    ] {
        m.add_function(function)?;
    }
    Ok(())
}
