//! Calls podman for a launch, and judges what it says.
//!
//! Invariants: what can be checked is checked before podman is called; the journal knows of the container before podman
//! does; a container that must be supervised and is not counts as a failed launch. Taking back is the caller's next
//! step (`undo::abandon`), in one place for every kind of failure.

use base::path::Namespace;
use podman::command::Verb;
use podman::{Podman, PodmanError, Watch};

use crate::argv::{Context, argv};
use crate::cause::Cause;
use crate::check::check;
use crate::fault::LaunchError;
use crate::journal::{self, Note};
use crate::spec::{Place, RunSpec};
use crate::{image, resources, sidecar, supervision};

/// Judges the installation for a description: one with a sidecar needs a supervisor that podman will start.
///
/// # Errors
/// [`LaunchError::Hooks`], [`LaunchError::Administrator`].
pub fn preflight(place: &Place, spec: &RunSpec) -> Result<(), LaunchError> {
    check_settings()?;
    if spec.sidecar().is_some() { supervision::preflight(place, &spec.container_name) } else { Ok(()) }
}

/// Judges the installation for a container that is supervised and started by another program.
///
/// # Errors
/// As [`preflight`].
pub fn preflight_supervised(place: &Place, container: &str) -> Result<(), LaunchError> {
    check_settings()?;
    supervision::preflight(place, container)
}

/// Refuses to go on without the administrator's settings, which may restrict containers.
fn check_settings() -> Result<(), LaunchError> {
    let fault = base::config::administrators_fault(Namespace::current());
    fault.map_or(Ok(()), |fault| Err(LaunchError::Administrator(fault)))
}

/// Runs or creates the container; its full identifier. A container that was started is proved to be supervised.
///
/// # Errors
/// [`LaunchError`]; the container may exist then.
pub fn execute(
    place: &Place,
    podman: &Podman,
    spec: &RunSpec,
    verb: Verb,
    context: &Context,
    watch: Option<Watch<'_>>,
) -> Result<String, LaunchError> {
    check(spec)?;
    let name = &spec.container_name;
    let image = image::resolve(place, podman, name, &spec.image, &spec.extra_args, watch)?;
    let rendered = argv(spec, verb, &Context { image: Some(image), ..context.clone() })?;
    journal::note(place, name, Note::Container)?;
    resources::release(place, name);
    let output = podman
        .call("launch", name, rendered.args)
        .env(rendered.env)
        .watch(watch)
        .output()
        .map_err(|source| broken_off(name, source))?;
    if !output.ok() {
        return Err(refused(place, spec, &output));
    }
    let id = output.text().lines().last().unwrap_or_default().trim().to_owned();
    if verb == Verb::Run {
        prove(place, podman, spec, &id)?;
    }
    Ok(id)
}

/// Proves the supervision of a container that a description asks for; nothing to do without a sidecar.
///
/// # Errors
/// [`LaunchError::Unsupervised`], [`LaunchError::Io`] when the sidecar cannot be read back.
pub fn prove(place: &Place, podman: &Podman, spec: &RunSpec, id: &str) -> Result<(), LaunchError> {
    let Some(path) = spec.sidecar() else { return Ok(()) };
    supervision::prove(place, podman, &sidecar::read(path)?, id)
}

pub(crate) fn broken_off(container: &str, source: PodmanError) -> LaunchError {
    match source {
        PodmanError::Missing { .. } => LaunchError::PodmanMissing,
        source => LaunchError::Podman { container: container.to_owned(), source },
    }
}

fn refused(place: &Place, spec: &RunSpec, output: &base::process::Output) -> LaunchError {
    let text = podman::call::clean_lines(&output.complaint());
    let cause = Cause::read(&text, &spec.container_name, &spec.image);
    if matches!(cause, Cause::NameInUse(_)) {
        let _ = journal::note(place, &spec.container_name, Note::NameTaken);
    }
    if matches!(cause, Cause::ImageMissing(_)) {
        image::forget(place);
    }
    let mut complaint = if text.is_empty() { format!("podman ended with status {}", output.code) } else { text };
    if cause == Cause::HookRefused
        && let Some(words) = supervision::last_words(place, "")
    {
        complaint.push_str(&format!("\nsupervisor: {words}"));
    }
    LaunchError::Refused { cause, complaint }
}

/// Reads a failure of `podman start` or `podman cp` in a sealed launch like one of `podman run`.
pub fn judged(spec: &RunSpec, complaint: &str) -> LaunchError {
    let complaint = podman::call::clean_lines(complaint);
    LaunchError::Refused { cause: Cause::read(&complaint, &spec.container_name, &spec.image), complaint }
}
