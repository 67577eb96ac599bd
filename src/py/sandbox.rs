//! Bindings of the `sandbox` room: resources, sidecar, launch, and taking a launch back.
//!
//! A `place` is a dict with `state_dir`, `runtime_dir` and `tcp`; a `spec` is a run description as a dict. Values of
//! sensitive variables never come back to Python: the argument list is rendered again when podman is called.

use std::path::PathBuf;

use ::podman::Podman;
use ::podman::command::Verb;
use ::podman::explicit::Explicit;
use ::podman::launchconf::Setting;
use ::sandbox::argv::Context;
use ::sandbox::journal::{self, Note, Token};
use ::sandbox::launcher::{self, launcher};
use ::sandbox::seccomp::Profile;
use ::sandbox::spec::{Place, RunSpec};
use ::sandbox::usermap::UserMap;
use ::sandbox::{LaunchError, execute, hostdir, network, redact, resources, sealed, sidecar, stray, supervision, undo};
use pyo3::prelude::*;
use wire::sidecar::Sidecar;

use crate::podman::watched;
use crate::{convert, errors};

fn verb(word: &str) -> PyResult<Verb> {
    match word {
        "run" => Ok(Verb::Run),
        "create" => Ok(Verb::Create),
        other => Err(pyo3::exceptions::PyValueError::new_err(format!("no launch verb `{other}`"))),
    }
}

fn context(place: &Place, spec: &RunSpec, network: Vec<String>) -> Result<Context, LaunchError> {
    let seccomp = Profile::of(spec).map(|profile| profile.option(place)).transpose()?;
    let users = UserMap::detect(place.allow_root)?;
    Ok(Context { users, network, image: None, seccomp, explicit: Explicit::detect() })
}

/// A Python callable `(scope, subject)` as the room's revoker; its exception becomes the reason that is kept.
fn revoker(revoke: &Py<PyAny>) -> impl FnMut(&Token) -> Result<(), String> {
    move |token: &Token| {
        Python::attach(|py| {
            let result = revoke.call1(py, (token.scope.as_str(), token.subject.as_str()));
            result.map(drop).map_err(|error| error.value(py).to_string())
        })
    }
}

/// Opens the journal of a launch before its first side effect.
#[pyfunction]
fn sandbox_begin(py: Python<'_>, place: &Bound<'_, PyAny>, container: &str) -> PyResult<()> {
    let place: Place = convert::from_py(place)?;
    py.detach(|| journal::begin(&place, &Podman::new(), container)).map(drop).map_err(errors::to_py)
}

/// Writes down what a launch is about to make; false without an open journal.
#[pyfunction]
fn sandbox_note(place: &Bound<'_, PyAny>, container: &str, note: &Bound<'_, PyAny>) -> PyResult<bool> {
    let (place, note): (Place, Note) = (convert::from_py(place)?, convert::from_py(note)?);
    journal::note(&place, container, note).map_err(errors::to_py)
}

/// Closes the journal of a complete launch.
#[pyfunction]
fn sandbox_finish(place: &Bound<'_, PyAny>, container: &str) -> PyResult<()> {
    let place: Place = convert::from_py(place)?;
    journal::finish(&place, container).map_err(errors::to_py)
}

/// A step of `undo` that takes one container's traces back.
type TakeBack = fn(&Place, &Podman, &str, undo::Revoke<'_>) -> Result<Option<undo::Undone>, LaunchError>;

fn taken_back<'py>(
    place: &Bound<'py, PyAny>,
    container: &str,
    revoke: &Py<PyAny>,
    step: TakeBack,
) -> PyResult<Bound<'py, PyAny>> {
    let py = place.py();
    let place: Place = convert::from_py(place)?;
    let undone = py.detach(|| step(&place, &Podman::new(), container, &mut revoker(revoke)));
    convert::to_py(py, &undone.map_err(errors::to_py)?)
}

/// Takes this process's open launch back.
#[pyfunction]
fn sandbox_abandon<'py>(place: &Bound<'py, PyAny>, container: &str, revoke: Py<PyAny>) -> PyResult<Bound<'py, PyAny>> {
    taken_back(place, container, &revoke, undo::abandon)
}

/// Removes what a container that is gone left behind.
#[pyfunction]
fn sandbox_forget<'py>(place: &Bound<'py, PyAny>, container: &str, revoke: Py<PyAny>) -> PyResult<Bound<'py, PyAny>> {
    taken_back(place, container, &revoke, undo::forget)
}

/// Takes back every launch whose process is gone, and now and then what containers left that are no more.
#[pyfunction]
fn sandbox_recover<'py>(py: Python<'py>, place: &Bound<'py, PyAny>, revoke: Py<PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let place: Place = convert::from_py(place)?;
    let undone = py.detach(|| {
        let (podman, mut revoke) = (Podman::new(), revoker(&revoke));
        let mut undone = undo::recover(&place, &podman, &mut revoke);
        undone.extend(stray::sweep(&place, &podman, &mut revoke));
        undone
    });
    convert::to_py(py, &undone)
}

/// The resources of one container.
#[pyfunction]
fn sandbox_allocate<'py>(py: Python<'py>, place: &Bound<'py, PyAny>, container: &str) -> PyResult<Bound<'py, PyAny>> {
    let place: Place = convert::from_py(place)?;
    let made = py.detach(|| resources::allocate(&place, container)).map_err(errors::to_py)?;
    convert::to_py(py, &made)
}

/// Writes a sidecar from a dict of its members; its path.
#[pyfunction]
fn sandbox_write_sidecar(place: &Bound<'_, PyAny>, members: &Bound<'_, PyAny>) -> PyResult<String> {
    let place: Place = convert::from_py(place)?;
    let members: serde_json::Value = convert::from_py(members)?;
    let mut parsed = Sidecar::parse(members.to_string().as_bytes()).map_err(errors::to_py)?;
    // The hook runs without our environment; what decides where things lie travels in the sidecar.
    let own =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    parsed.environment = wire::sidecar::ambient(own);
    let path = sidecar::write(&place, &parsed).map_err(errors::to_py)?;
    Ok(path.to_string_lossy().into_owned())
}

/// Network and capability options of a launch without a firewall; `loopback` opens the host's loopback.
#[pyfunction]
fn sandbox_network_args(py: Python<'_>, place: &Bound<'_, PyAny>, loopback: bool) -> PyResult<Vec<String>> {
    let place: Place = convert::from_py(place)?;
    let wanted = match (loopback, place.tcp) {
        (true, _) => network::Loopback::Open,
        (false, true) => network::Loopback::Services,
        (false, false) => network::Loopback::Closed,
    };
    let rootless = ::base::user::effective_uid() != 0;
    Ok(py.detach(|| network::unfiltered_args(wanted, rootless, || Podman::new().cached_info(&place.runtime_dir).ok())))
}

/// The options of every launch, for callers that call podman themselves.
#[pyfunction]
fn sandbox_explicit_args() -> Vec<String> {
    Explicit::detect().args()
}

/// The user-namespace options of a launch for callers that call podman themselves, and whether writable mounts must be
/// given to the container's user.
#[pyfunction]
fn sandbox_user_args(place: &Bound<'_, PyAny>) -> PyResult<(Vec<String>, bool)> {
    let place: Place = convert::from_py(place)?;
    let users = UserMap::detect(place.allow_root).map_err(errors::to_py)?;
    Ok((users.args(), users.reowns()))
}

/// The seccomp option of a launch for callers that call podman themselves.
#[pyfunction]
fn sandbox_seccomp_args(place: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let place: Place = convert::from_py(place)?;
    let option = Profile::Standard.option(&place).map_err(errors::to_py)?;
    Ok(vec!["--security-opt".to_owned(), option])
}

/// What launches call podman with: `conf` (its only configuration file), `globals` (options in front of the verb),
/// `warnings` and the site's `settings`.
#[pyfunction]
fn sandbox_launcher<'py>(py: Python<'py>, place: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let place: Place = convert::from_py(place)?;
    let (_, settings) = py.detach(|| launcher(&place, &Podman::new())).map_err(errors::to_py)?;
    let told = serde_json::json!({
        "conf": launcher::conf_path(&place),
        "globals": launcher::globals(&settings),
        "warnings": launcher::warnings(&settings),
        "settings": settings,
    });
    convert::to_py(py, &told)
}

/// A judged launch: what is shown of it, and the call of podman.
#[pyclass(frozen, module = "terok_native._lib")]
pub struct LaunchRef {
    place: Place,
    spec: RunSpec,
    verb: Verb,
    context: Context,
    podman: Podman,
    settings: Vec<Setting>,
}

#[pymethods]
impl LaunchRef {
    /// Podman's arguments; the values of sensitive variables are not among them.
    #[getter]
    fn args(&self) -> PyResult<Vec<String>> {
        Ok(::sandbox::argv::argv(&self.spec, self.verb, &self.context).map_err(errors::to_py)?.args)
    }

    /// The command line for the user.
    #[getter]
    fn shown(&self) -> PyResult<String> {
        let mut words = vec!["podman".to_owned()];
        words.extend(redact::redact_env_args(&self.args()?));
        Ok(::base::text::command_line(&words))
    }

    /// Settings of the site that weaken the container, a sentence each.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        launcher::warnings(&self.settings)
    }

    /// Refuses an installation that cannot supervise the container.
    fn preflight(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| execute::preflight(&self.place, &self.spec)).map_err(errors::to_py)
    }

    /// Calls podman; the container's full identifier.
    fn execute(&self, py: Python<'_>) -> PyResult<String> {
        let Self { place, spec, verb, context, podman, .. } = self;
        watched(py, |watch| execute::execute(place, podman, spec, *verb, context, Some(watch)))
    }
}

/// Judges a description once, for everything that a launch does with it.
#[pyfunction]
fn sandbox_prepare(
    py: Python<'_>,
    place: &Bound<'_, PyAny>,
    spec: &Bound<'_, PyAny>,
    word: &str,
    network: Vec<String>,
) -> PyResult<LaunchRef> {
    let (place, spec, verb): (Place, RunSpec, Verb) = (convert::from_py(place)?, convert::from_py(spec)?, verb(word)?);
    let prepared = py.detach(|| {
        let spec = hostdir::check_spec(&place, spec)?;
        let context = context(&place, &spec, network)?;
        let (podman, settings) = launcher(&place, &Podman::new())?;
        Ok::<_, LaunchError>(LaunchRef { place, spec, verb, context, podman, settings })
    });
    prepared.map_err(errors::to_py)
}

/// Refuses an unacceptable description.
#[pyfunction]
fn sandbox_check(place: &Bound<'_, PyAny>, spec: &Bound<'_, PyAny>) -> PyResult<()> {
    let (place, spec): (Place, RunSpec) = (convert::from_py(place)?, convert::from_py(spec)?);
    ::sandbox::check::check(&spec).map_err(errors::to_py)?;
    hostdir::check_spec(&place, spec).map(drop).map_err(errors::to_py)
}

/// Refuses host paths that containers must not see; `allowed` are the caller's overrides.
#[pyfunction]
fn sandbox_check_host_paths(place: &Bound<'_, PyAny>, paths: Vec<PathBuf>, allowed: Vec<PathBuf>) -> PyResult<()> {
    let place: Place = convert::from_py(place)?;
    hostdir::check_paths(&place, &paths, &allowed).map_err(errors::to_py)
}

/// Checks that podman would start the supervisor of this container.
#[pyfunction]
fn sandbox_check_hooks(place: &Bound<'_, PyAny>, container: &str) -> PyResult<()> {
    let place: Place = convert::from_py(place)?;
    execute::preflight_supervised(&place, container).map_err(errors::to_py)
}

/// Writes a container's secrets into its runtime directory; the shell text that exports and removes them inside.
#[pyfunction]
fn sandbox_hand_over(runtime_dir: PathBuf, secrets: &Bound<'_, PyAny>) -> PyResult<String> {
    let secrets = convert::from_py(secrets)?;
    ::sandbox::handover::hand_over(&runtime_dir, &secrets).map_err(errors::to_py)
}

/// Proves that the supervisor of a running container answers; the sidecar is found by the container's name.
#[pyfunction]
fn sandbox_prove_supervised(py: Python<'_>, place: &Bound<'_, PyAny>, container: &str) -> PyResult<()> {
    let place: Place = convert::from_py(place)?;
    ::base::ident::check_container_name(container).map_err(|e| errors::to_py(LaunchError::from(e)))?;
    py.detach(|| {
        let podman = Podman::new();
        let told = sidecar::read(&place.sidecar(container))?;
        let id = podman.container_id(container).unwrap_or_default();
        supervision::prove(&place, &podman, &told, &id)
    })
    .map_err(errors::to_py)
}

/// Raises podman's refusal of a step of a sealed launch as the same error that `podman run` would give.
#[pyfunction]
fn sandbox_refuse(spec: &Bound<'_, PyAny>, complaint: &str) -> PyResult<()> {
    let spec: RunSpec = convert::from_py(spec)?;
    Err(errors::to_py(execute::judged(&spec, complaint)))
}

/// What a sealed launch copies: dicts with `source`, `target`, `directory`.
#[pyfunction]
fn sandbox_sealed_copies<'py>(py: Python<'py>, spec: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let spec: RunSpec = convert::from_py(spec)?;
    convert::to_py(py, &sealed::copies(&spec))
}

/// Makes the directories that these copies need inside the created container.
#[pyfunction]
fn sandbox_sealed_directories(py: Python<'_>, spec: &Bound<'_, PyAny>) -> PyResult<()> {
    let spec: RunSpec = convert::from_py(spec)?;
    py.detach(|| sealed::make_directories(&Podman::new(), &spec, &sealed::copies(&spec))).map_err(errors::to_py)
}

/// An argument list without the values of sensitive variables.
#[pyfunction]
fn sandbox_redact(args: Vec<String>) -> Vec<String> {
    redact::redact_env_args(&args)
}

/// Refuses a name that is not a container name.
#[pyfunction]
fn sandbox_check_name(name: &str) -> PyResult<()> {
    ::base::ident::check_container_name(name).map_err(|e| errors::to_py(LaunchError::from(e)))
}

/// Judges the words of a `podman run` line; the position of the image.
#[pyfunction]
fn sandbox_check_run_line(place: &Bound<'_, PyAny>, args: Vec<String>) -> PyResult<usize> {
    let place: Place = convert::from_py(place)?;
    let image = ::sandbox::extra::check_run_line(&args).map_err(errors::to_py)?;
    hostdir::check_options(&place, &args[..image]).map_err(errors::to_py)?;
    Ok(image)
}

/// The words of a `podman run` line with the image's checked identifier in place of its name.
#[pyfunction]
fn sandbox_pin_run_line(py: Python<'_>, place: &Bound<'_, PyAny>, words: Vec<String>) -> PyResult<Vec<String>> {
    let place: Place = convert::from_py(place)?;
    py.detach(|| {
        let (podman, _) = launcher(&place, &Podman::new())?;
        ::sandbox::image::pinned_run_line(&place, &podman, &words)
    })
    .map_err(errors::to_py)
}

/// Adds this room's functions and classes to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(sandbox_begin, m)?,
        wrap_pyfunction!(sandbox_note, m)?,
        wrap_pyfunction!(sandbox_finish, m)?,
        wrap_pyfunction!(sandbox_abandon, m)?,
        wrap_pyfunction!(sandbox_recover, m)?,
        wrap_pyfunction!(sandbox_forget, m)?,
        wrap_pyfunction!(sandbox_allocate, m)?,
        wrap_pyfunction!(sandbox_write_sidecar, m)?,
        wrap_pyfunction!(sandbox_network_args, m)?,
        wrap_pyfunction!(sandbox_explicit_args, m)?,
        wrap_pyfunction!(sandbox_user_args, m)?,
        wrap_pyfunction!(sandbox_seccomp_args, m)?,
        wrap_pyfunction!(sandbox_launcher, m)?,
        wrap_pyfunction!(sandbox_prepare, m)?,
        wrap_pyfunction!(sandbox_check, m)?,
        wrap_pyfunction!(sandbox_check_host_paths, m)?,
        wrap_pyfunction!(sandbox_check_hooks, m)?,
        wrap_pyfunction!(sandbox_hand_over, m)?,
        wrap_pyfunction!(sandbox_prove_supervised, m)?,
        wrap_pyfunction!(sandbox_refuse, m)?,
        wrap_pyfunction!(sandbox_sealed_copies, m)?,
        wrap_pyfunction!(sandbox_sealed_directories, m)?,
        wrap_pyfunction!(sandbox_redact, m)?,
        wrap_pyfunction!(sandbox_check_name, m)?,
        wrap_pyfunction!(sandbox_check_run_line, m)?,
        wrap_pyfunction!(sandbox_pin_run_line, m)?,
    ] {
        m.add_function(function)?;
    }
    m.add_class::<LaunchRef>()
}
