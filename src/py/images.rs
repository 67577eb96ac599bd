//! Bindings of the `images` room.
//!
//! Builds release the interpreter; their output goes to the stream the caller hands in, or straight to the process's own
//! standard output when that is where the stream leads. Ctrl-C ends a build.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Mutex;

use ::images as room;
use ::podman::Podman;
use pyo3::prelude::*;
use room::base_image::{self, Family};
use room::{Catalog, ImageError, Output, Selection};

use crate::convert::{from_py, to_py};
use crate::errors;

fn raise<T>(result: Result<T, ImageError>) -> PyResult<T> {
    result.map_err(errors::to_py)
}

/// A Python text stream as a writer.
struct Stream(Py<PyAny>);

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let sent = Python::attach(|py| self.0.call_method1(py, "write", (text.as_ref(),)).map(drop));
        sent.map(|()| bytes.len()).map_err(|error| io::Error::other(error.to_string()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Python::attach(|py| self.0.call_method0(py, "flush").map(drop))
            .map_err(|error| io::Error::other(error.to_string()))
    }
}

/// True when writing to the stream is writing to this process's standard output.
fn is_own_stdout(stream: &Bound<'_, PyAny>) -> bool {
    stream.call_method0("fileno").and_then(|n| n.extract::<i32>()).is_ok_and(|n| n == 1)
}

/// True on the thread that Python gives signals to.
fn hears_signals(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    Ok(threading.call_method0("main_thread")?.is(&threading.call_method0("current_thread")?))
}

/// Runs a build with the interpreter released; a pending signal ends it and is raised. On a thread that hears none the
/// build stays with the terminal's other processes, whose Ctrl-C then ends it.
fn with_output<T: Send>(
    stream: &Bound<'_, PyAny>,
    work: impl FnOnce(&Podman, &mut Output<'_>) -> Result<T, ImageError> + Send,
) -> PyResult<T> {
    let (inherit, hears) = (is_own_stdout(stream), hears_signals(stream.py())?);
    let mut writer = Stream(stream.clone().unbind());
    let podman = crate::podman::launching(stream.py())?;
    let signal: Mutex<Option<PyErr>> = Mutex::new(None);
    let watch = || match Python::attach(|py| py.check_signals()) {
        Ok(()) => false,
        Err(error) => {
            *signal.lock().unwrap_or_else(|e| e.into_inner()) = Some(error);
            true
        }
    };
    let result = stream.py().detach(|| {
        let watch: Option<::podman::Watch<'_>> = hears.then_some(&watch);
        let mut output = Output { writer: &mut writer, inherit, watch };
        work(&podman, &mut output)
    });
    match signal.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(error) => Err(error),
        None => raise(result),
    }
}

/// Tag of a layer (`l0`, `l1` or `l1-sidecar`) on a base; the second one with its entries or as the default alias.
#[pyfunction]
fn images_tag(layer: &str, base: &str, agents: Option<Vec<String>>) -> String {
    match layer {
        "l0" => room::tag::l0(base),
        "l1" => room::tag::l1(base, agents.as_deref()),
        _ => room::tag::l1_sidecar(base),
    }
}

/// Package family of a base.
#[pyfunction]
#[pyo3(signature = (base, given=None))]
fn images_family(base: &str, given: Option<&str>) -> PyResult<&'static str> {
    raise(base_image::family(base, given).map(Family::name))
}

/// Entries an image lists in its label.
#[pyfunction]
fn images_agents(py: Python<'_>, image: &str) -> Vec<String> {
    py.detach(|| room::image_agents(&Podman::new(), image).into_iter().collect())
}

/// Versions an image lists in its label, as pairs.
#[pyfunction]
fn images_versions(py: Python<'_>, image: &str) -> Vec<(String, String)> {
    let labels = py.detach(|| Podman::new().image_labels(image));
    let list = labels.get(room::VERSIONS_LABEL).cloned().unwrap_or_default();
    list.split(',').filter_map(|pair| pair.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// True when an image is in the local store.
#[pyfunction]
fn images_exists(py: Python<'_>, image: &str) -> PyResult<bool> {
    let asked = py.detach(|| {
        let podman = Podman::new();
        room::pipeline::require(&podman).map(|()| podman.image_exists(image))
    });
    raise(asked)
}

/// Dockerfile of the shared layer.
#[pyfunction]
#[pyo3(signature = (base, family=None))]
fn images_render_l0(base: &str, family: Option<&str>) -> PyResult<String> {
    raise(base_image::family(base, family).and_then(|family| room::render::l0(base, family, false)))
}

/// Dockerfile of the agent layer.
#[pyfunction]
fn images_render_l1(
    l0_tag: &str,
    family: &str,
    catalog: &Bound<'_, PyAny>,
    agents: &Bound<'_, PyAny>,
    cache_bust: &str,
) -> PyResult<String> {
    let (catalog, agents): (Catalog, Selection) = (from_py(catalog)?, from_py(agents)?);
    raise(Family::named(family).and_then(|family| {
        let agents = room::selection::resolve(&catalog, &agents)?;
        room::render::l1(l0_tag, family, &catalog, &agents, cache_bust)
    }))
}

/// Dockerfile of the tool layer.
#[pyfunction]
fn images_render_sidecar(l0_tag: &str, family: &str, tool: &str, cache_bust: &str) -> PyResult<String> {
    raise(Family::named(family).and_then(|family| room::render::sidecar(l0_tag, family, tool, cache_bust)))
}

/// Hashes of both layers' recipes.
#[pyfunction]
fn images_hashes(
    base: &str,
    family: Option<&str>,
    catalog: &Bound<'_, PyAny>,
    agents: &Bound<'_, PyAny>,
) -> PyResult<(String, String)> {
    let (catalog, agents): (Catalog, Selection) = (from_py(catalog)?, from_py(agents)?);
    raise(base_image::family(base, family).and_then(|family| {
        let agents = room::selection::resolve(&catalog, &agents)?;
        room::hash::current(base, family, &catalog, &agents)
    }))
}

/// Lays one of the compiled-in folders out as `dest`.
#[pyfunction]
fn images_stage(folder: &str, dest: PathBuf) -> PyResult<()> {
    raise(room::stage::folder(folder, &dest))
}

/// Lays the help lines of these entries out as `dest`.
#[pyfunction]
fn images_stage_help(dest: PathBuf, catalog: &Bound<'_, PyAny>, agents: &Bound<'_, PyAny>) -> PyResult<()> {
    let (catalog, agents): (Catalog, Selection) = (from_py(catalog)?, from_py(agents)?);
    raise(
        room::selection::resolve(&catalog, &agents)
            .and_then(|agents| room::stage::help_fragments(&dest, &catalog, &agents)),
    )
}

/// Builds both layers; the names of the images.
#[pyfunction]
fn images_build_base<'py>(
    request: &Bound<'py, PyAny>,
    catalog: &Bound<'py, PyAny>,
    stream: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let (request, catalog): (room::BaseRequest, Catalog) = (from_py(request)?, from_py(catalog)?);
    let images = with_output(stream, |podman, output| room::build_base(podman, &request, &catalog, output))?;
    to_py(stream.py(), &images)
}

/// Builds the tool layer; its name.
#[pyfunction]
fn images_build_sidecar(request: &Bound<'_, PyAny>, stream: &Bound<'_, PyAny>) -> PyResult<String> {
    let request: room::sidecar::Request = from_py(request)?;
    with_output(stream, |podman, output| room::sidecar::build(podman, &request, output))
}

/// Runs one build.
#[pyfunction]
fn images_build(request: &Bound<'_, PyAny>, stream: &Bound<'_, PyAny>) -> PyResult<()> {
    let request: room::argv::Build = from_py(request)?;
    with_output(stream, |podman, output| room::runner::build(podman, &request, output))
}

/// Makes the base image that needs no registry; its name.
#[pyfunction]
fn images_make_base(request: &Bound<'_, PyAny>, stream: &Bound<'_, PyAny>) -> PyResult<&'static str> {
    let request: room::bootstrap::BaseImageRequest = from_py(request)?;
    with_output(stream, |podman, output| room::bootstrap::make_base(podman, &request, output))
}

/// A base image's name as part of a tag, with another base for a blank one.
#[pyfunction]
fn images_base_tag(base: &str, default: &str) -> String {
    room::tag::base_tag_or(base, default)
}

/// Dockerfiles of all layers of a project, by file name.
#[pyfunction]
fn images_project_render<'py>(
    py: Python<'py>,
    project: &Bound<'py, PyAny>,
    catalog: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let (project, catalog): (room::project::Project, Catalog) = (from_py(project)?, from_py(catalog)?);
    let rendered = raise(py.detach(|| room::project::rendered(&project, &catalog)))?;
    to_py(py, &rendered)
}

/// Hashes of a project's layers (`l0`, `l1`, `l2`, `combined`) from their Dockerfiles.
#[pyfunction]
fn images_project_hashes<'py>(
    base: &str,
    rendered: &Bound<'py, PyAny>,
    catalog: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let (texts, entries): (room::project::Rendered, Catalog) = (from_py(rendered)?, from_py(catalog)?);
    to_py(rendered.py(), &room::project::hashes(base, &texts, &entries))
}

/// The hash over three layers' hashes.
#[pyfunction]
fn images_combined_hash(l0: String, l1: String, l2: String) -> String {
    room::project::Hashes::of(l0, l1, l2).combined
}

/// Writes a project's Dockerfiles and build files; warnings.
#[pyfunction]
fn images_project_write(
    py: Python<'_>,
    project: &str,
    dir: PathBuf,
    rendered: &Bound<'_, PyAny>,
) -> PyResult<Vec<String>> {
    let texts: room::project::Rendered = from_py(rendered)?;
    raise(py.detach(|| room::layout::write(project, &dir, &texts)))
}

/// The record of a project's build, or nothing.
#[pyfunction]
fn images_manifest_read(py: Python<'_>, path: PathBuf) -> PyResult<Option<Bound<'_, PyAny>>> {
    py.detach(|| room::manifest::read(&path)).map(|manifest| to_py(py, &manifest)).transpose()
}

/// Replaces the record of a project's build.
#[pyfunction]
fn images_manifest_write(py: Python<'_>, path: PathBuf, manifest: &Bound<'_, PyAny>) -> PyResult<()> {
    let manifest: serde_json::Value = from_py(manifest)?;
    raise(py.detach(|| room::manifest::write(&path, &manifest)))
}

/// The layers that a record says were built from something else.
#[pyfunction]
fn images_stale_layers(hashes: &Bound<'_, PyAny>, manifest: &Bound<'_, PyAny>) -> PyResult<Vec<&'static str>> {
    let (now, manifest): (room::project::Hashes, Option<serde_json::Value>) = (from_py(hashes)?, from_py(manifest)?);
    Ok(room::manifest::stale(&now, manifest.as_ref()))
}

/// Bytes each image adds to those named before it; those that podman does not tell about are left out.
#[pyfunction]
fn images_added_bytes(py: Python<'_>, ids: Vec<String>) -> Vec<(String, u64)> {
    py.detach(|| {
        let podman = Podman::new();
        let known = podman.image_layers(&ids);
        let plain = |id: &str| id.strip_prefix("sha256:").unwrap_or(id).to_owned();
        let find = |id: &String| known.iter().find(|image| plain(&image.id) == plain(id)).cloned();
        let (ids, images): (Vec<String>, Vec<_>) = ids.iter().filter_map(|id| Some((id.clone(), find(id)?))).unzip();
        ids.into_iter().zip(room::share::added(&images, &|image| podman.layer_sizes(image))).collect()
    })
}

/// Adds this room's functions and classes to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(images_tag, m)?)?;
    m.add_function(wrap_pyfunction!(images_family, m)?)?;
    m.add_function(wrap_pyfunction!(images_agents, m)?)?;
    m.add_function(wrap_pyfunction!(images_versions, m)?)?;
    m.add_function(wrap_pyfunction!(images_exists, m)?)?;
    m.add_function(wrap_pyfunction!(images_render_l0, m)?)?;
    m.add_function(wrap_pyfunction!(images_render_l1, m)?)?;
    m.add_function(wrap_pyfunction!(images_render_sidecar, m)?)?;
    m.add_function(wrap_pyfunction!(images_hashes, m)?)?;
    m.add_function(wrap_pyfunction!(images_stage, m)?)?;
    m.add_function(wrap_pyfunction!(images_stage_help, m)?)?;
    m.add_function(wrap_pyfunction!(images_build_base, m)?)?;
    m.add_function(wrap_pyfunction!(images_build_sidecar, m)?)?;
    m.add_function(wrap_pyfunction!(images_build, m)?)?;
    m.add_function(wrap_pyfunction!(images_base_tag, m)?)?;
    m.add_function(wrap_pyfunction!(images_project_render, m)?)?;
    m.add_function(wrap_pyfunction!(images_project_hashes, m)?)?;
    m.add_function(wrap_pyfunction!(images_combined_hash, m)?)?;
    m.add_function(wrap_pyfunction!(images_project_write, m)?)?;
    m.add_function(wrap_pyfunction!(images_manifest_read, m)?)?;
    m.add_function(wrap_pyfunction!(images_manifest_write, m)?)?;
    m.add_function(wrap_pyfunction!(images_stale_layers, m)?)?;
    m.add_function(wrap_pyfunction!(images_added_bytes, m)?)?;
    m.add_function(wrap_pyfunction!(images_make_base, m)?)
}
