//! Bindings of the `mirror` room: plain data in, plain data out; a listener hears progress, and Ctrl-C ends what runs.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Mutex;

use ::mirror::git::Reach;
use ::mirror::{Address, MirrorError, Upstream, backup, cache, report, state, upstream};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde::Deserialize;

use crate::convert::from_py;
use crate::errors;

/// The upstream as Python words it.
#[derive(Deserialize)]
struct Wanted {
    url: String,
    #[serde(default)]
    personal: bool,
    identity: Option<std::collections::BTreeMap<String, String>>,
}

impl Wanted {
    fn upstream(self) -> Result<Upstream, MirrorError> {
        let reach = match self.identity {
            Some(variables) => Reach::Identity(variables.into_iter().collect()),
            None => Reach::User { personal: self.personal },
        };
        Ok(Upstream { address: Address::parse(&self.url)?, reach, patience: upstream::Patience::default() })
    }
}

fn raise<T>(outcome: Result<T, MirrorError>) -> PyResult<T> {
    outcome.map_err(errors::to_py)
}

/// Runs something long with the interpreter released; what the listener raises, or a pending signal, ends it.
fn listened<T: Send>(
    py: Python<'_>,
    listener: Option<Py<PyAny>>,
    work: impl FnOnce(::mirror::Listener<'_>) -> Result<T, MirrorError> + Send,
) -> PyResult<Result<T, MirrorError>> {
    let raised: Mutex<Option<PyErr>> = Mutex::new(None);
    let mut hear = |line: Option<&str>| {
        let heard = Python::attach(|py| {
            py.check_signals()?;
            match (&listener, line) {
                (Some(listener), Some(line)) => listener.call1(py, (line,)).map(drop),
                _ => Ok(()),
            }
        });
        let wanted = heard.is_ok();
        if let Err(error) = heard {
            *raised.lock().unwrap_or_else(|e| e.into_inner()) = Some(error);
        }
        wanted
    };
    let outcome = py.detach(|| work(&mut hear));
    match raised.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(error) => Err(error),
        None => Ok(outcome),
    }
}

#[pyfunction]
fn mirror_is_ssh_url(url: &str) -> bool {
    ::mirror::is_ssh(url)
}

/// Makes sure that there is a mirror; `(created, path the old one was moved to)`.
#[pyfunction]
fn mirror_prepare(
    py: Python<'_>,
    path: PathBuf,
    upstream: Option<Bound<'_, PyAny>>,
    branch: Option<String>,
    force: bool,
    listener: Option<Py<PyAny>>,
) -> PyResult<(bool, Option<PathBuf>)> {
    let wanted: Option<Wanted> = upstream.as_ref().map(from_py).transpose()?;
    let upstream = raise(wanted.map(Wanted::upstream).transpose().map_err(|error| match error {
        MirrorError::Address { .. } => MirrorError::Clone(error.to_string()),
        other => other,
    }))?;
    let work = |listener: ::mirror::Listener<'_>| {
        ::mirror::prepare(&path, upstream.as_ref(), branch.as_deref(), force, listener)
    };
    raise(listened(py, listener, work)?).map(|prepared| (prepared.created, prepared.moved_aside))
}

/// Synchronises; a dict with `error` (text or `None`), `updated`, `left` (name and reason), `kept` and `freed`.
#[pyfunction]
fn mirror_synchronise<'py>(
    py: Python<'py>,
    path: PathBuf,
    upstream: &Bound<'py, PyAny>,
    branches: Option<Vec<String>>,
    listener: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let wanted: Wanted = from_py(upstream)?;
    let outcome = match wanted.upstream() {
        Ok(upstream) => {
            listened(py, listener, |listener| ::mirror::synchronise(&path, &upstream, branches.as_deref(), listener))?
        }
        Err(error) => Err(error),
    };
    let (error, report) = match outcome {
        Ok(report) => (None, report),
        Err(error) => (Some(::mirror::error_text(&error)), ::mirror::pull::Pulled::default()),
    };
    let dict = PyDict::new(py);
    dict.set_item("error", error)?;
    dict.set_item("updated", report.updated)?;
    dict.set_item("left", report.left)?;
    dict.set_item("kept", report.kept)?;
    dict.set_item("freed", report.freed)?;
    Ok(dict)
}

#[pyfunction]
fn mirror_refresh_cache(py: Python<'_>, path: PathBuf, cache: PathBuf) -> PyResult<()> {
    raise(listened(py, None, |listener| cache::refresh(&path, &cache, listener))?)
}

/// The tip of a branch in the mirror, or `None`.
#[pyfunction]
fn mirror_head(py: Python<'_>, path: PathBuf, branch: &str) -> PyResult<Option<String>> {
    raise(py.detach(|| state::head(&path, branch)))
}

/// The tip of a branch in the upstream; `None` when there is none or the upstream cannot be asked.
#[pyfunction]
fn mirror_upstream_head(py: Python<'_>, upstream: &Bound<'_, PyAny>, branch: &str) -> PyResult<Option<String>> {
    let wanted: Wanted = from_py(upstream)?;
    let Ok(upstream) = wanted.upstream() else { return Ok(None) };
    if !::mirror::refs::is_branch(branch) {
        return Ok(None);
    }
    Ok(listened(py, None, |listener| upstream.tip(branch, listener))?.ok().flatten())
}

/// How many commits `to` has that `start` has not; `None` when one of them is not in the mirror.
#[pyfunction]
fn mirror_distance(py: Python<'_>, path: PathBuf, start: &str, to: &str) -> Option<u64> {
    py.detach(|| state::distance(&path, start, to))
}

/// `(hash, date, author, subject)` of the last commit, or `None`.
#[pyfunction]
fn mirror_last_commit(
    py: Python<'_>,
    path: PathBuf,
    branch: Option<String>,
) -> Option<(String, String, String, String)> {
    let commit = py.detach(|| state::last_commit(&path, branch.as_deref()))?;
    Some((commit.hash, commit.date, commit.author, commit.subject))
}

/// The branches that containers see: name and commit; names are file system text.
#[pyfunction]
fn mirror_branches(py: Python<'_>, path: PathBuf) -> PyResult<Names> {
    raise(py.detach(|| report::branches(&path))).map(out)
}

/// Those that have a commit which is neither in `before` nor the upstream's own.
#[pyfunction]
fn mirror_pushed(py: Python<'_>, path: PathBuf, before: Names) -> PyResult<Names> {
    let before = taken(before);
    raise(py.detach(|| report::pushed(&path, &before))).map(out)
}

/// What was pushed since, and how to look at it and take it; several lines.
#[pyfunction]
fn mirror_report(py: Python<'_>, path: PathBuf, before: Names) -> String {
    let before = taken(before);
    py.detach(|| report::report(&path, &before))
}

type Names = std::collections::BTreeMap<OsString, String>;

fn taken(names: Names) -> report::Branches {
    names.into_iter().map(|(name, id)| (name.into_vec(), id)).collect()
}

fn out(branches: report::Branches) -> Names {
    branches.into_iter().map(|(name, id)| (OsString::from_vec(name), id)).collect()
}

/// Kept tips as `(name, id, date, subject)`.
#[pyfunction]
fn mirror_list_kept(
    py: Python<'_>,
    path: PathBuf,
    name: Option<String>,
) -> PyResult<Vec<(String, String, String, String)>> {
    let kept = raise(py.detach(|| backup::list(&path, name.as_deref())))?;
    Ok(kept.into_iter().map(|kept| (kept.name, kept.id, kept.date, kept.subject)).collect())
}

/// Brings a kept tip back as a branch; its full id.
#[pyfunction]
fn mirror_restore(py: Python<'_>, path: PathBuf, name: &str, id: &str, branch: &str) -> PyResult<String> {
    raise(py.detach(|| backup::restore(&path, name, id, branch)))
}

/// Makes branches what the upstream had at the last synchronisation; their tips are kept.
#[pyfunction]
fn mirror_follow(py: Python<'_>, path: PathBuf, branches: Vec<String>) -> PyResult<()> {
    raise(py.detach(|| ::mirror::follow(&path, &branches)))
}

/// Adds this room's functions and classes to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(mirror_is_ssh_url, m)?)?;
    m.add_function(wrap_pyfunction!(mirror_prepare, m)?)?;
    m.add_function(wrap_pyfunction!(mirror_synchronise, m)?)?;
    m.add_function(wrap_pyfunction!(mirror_refresh_cache, m)?)?;
    m.add_function(wrap_pyfunction!(mirror_head, m)?)?;
    m.add_function(wrap_pyfunction!(mirror_upstream_head, m)?)?;
    m.add_function(wrap_pyfunction!(mirror_distance, m)?)?;
    m.add_function(wrap_pyfunction!(mirror_last_commit, m)?)?;
    m.add_function(wrap_pyfunction!(mirror_branches, m)?)?;
    m.add_function(wrap_pyfunction!(mirror_pushed, m)?)?;
    m.add_function(wrap_pyfunction!(mirror_report, m)?)?;
    m.add_function(wrap_pyfunction!(mirror_list_kept, m)?)?;
    m.add_function(wrap_pyfunction!(mirror_restore, m)?)?;
    m.add_function(wrap_pyfunction!(mirror_follow, m)?)
}
