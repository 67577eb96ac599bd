//! Builds of the shared layer and the agent layer.
//!
//! Invariants: nothing is written before the arguments are checked; images that are there already are not touched
//! unless a refresh is asked for or we made them from another recipe; a temporary context is removed in every case; the
//! default alias moves only when the caller says so, and then it exists afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use podman::Podman;
use serde::{Deserialize, Serialize};

use crate::argv::Build;
use crate::base_image::{self, Family};
use crate::ca::{self, Places, Trust};
use crate::runner::{self, Output};
use crate::selection::{self, Catalog, Selection};
use crate::{AGENTS_LABEL, HASH_LABEL, ImageError, LOCKS_LABEL, hash, lock, render, stage, tag};

/// Names of the images of one base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageSet {
    /// Shared layer.
    pub l0: String,
    /// Agent layer.
    pub l1: String,
    /// Tool layer, when it was built.
    pub l1_sidecar: Option<String>,
}

/// What to build.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BaseRequest {
    /// Base image; blank for the default.
    pub base_image: String,
    /// Package family, when it cannot be guessed.
    pub family: Option<String>,
    /// Which entries.
    pub agents: Selection,
    /// Install the agents again.
    pub rebuild: bool,
    /// Do everything again and fetch the base image again.
    pub full_rebuild: bool,
    /// Context to use and keep; it must be empty or absent.
    pub build_dir: Option<PathBuf>,
    /// Point the default alias at the agent layer.
    pub tag_as_default: bool,
    /// Versions other than the recorded ones, by the names in the versions label.
    pub versions: Vec<(String, String)>,
    /// Whether the host's additional certificates go into the image.
    pub trust_host_ca: Trust,
}

impl Default for BaseRequest {
    fn default() -> Self {
        Self {
            base_image: String::new(),
            family: None,
            agents: Selection::all(),
            rebuild: false,
            full_rebuild: false,
            build_dir: None,
            tag_as_default: false,
            versions: Vec::new(),
            trust_host_ca: Trust::Auto,
        }
    }
}

/// Builds what is missing of the two layers.
///
/// # Errors
/// [`ImageError`].
pub fn build_base(
    podman: &Podman,
    request: &BaseRequest,
    catalog: &Catalog,
    output: &mut Output<'_>,
) -> Result<ImageSet, ImageError> {
    let base = base_image::normalise(&request.base_image);
    check_build_dir(request.build_dir.as_deref())?;
    require(podman)?;
    base_image::validate(base)?;
    let agents = selection::resolve(catalog, &request.agents)?;
    let (l0, l1) = (tag::l0(base), tag::l1(base, Some(&agents)));
    let alias = request.tag_as_default.then(|| tag::l1(base, None));
    let done = ImageSet { l0: l0.clone(), l1: l1.clone(), l1_sidecar: None };
    let refresh = request.rebuild || request.full_rebuild;
    let there = podman.image_exists(&l0) && podman.image_exists(&l1);
    if !refresh && there && !outdated(podman, request, catalog, &agents)? {
        if let Some(alias) = &alias {
            point_alias(podman, &l1, alias)?;
        }
        return Ok(done);
    }
    let family = base_image::family(base, request.family.as_deref())?;
    let versions = version_args(family, catalog, &agents, &l0, &request.versions)?;
    let context = Context::open(request.build_dir.as_deref(), "terok-executor-build-", &l1)?;
    build_l0(podman, request, family, &context, output)?;
    let kept = drop_unfit(podman, request, catalog, &agents, output)?;
    let text = render::l1(&l0, family, catalog, &kept, "0")?;
    let label = hash::l1(&render::l1(&l0, family, catalog, &agents, "0")?, catalog, &agents);
    context.fill(&l1, |path| {
        stage::context(path, catalog, &kept)?;
        write(&path.join("L1.cli.Dockerfile"), &text)
    })?;
    let locks = lock::label(&text, &versions);
    let bust = if refresh { unix_seconds() } else { "0".to_owned() };
    let mut build_args = vec![("BASE_IMAGE".to_owned(), l0), ("AGENT_CACHE_BUST".to_owned(), bust)];
    build_args.extend(versions.into_iter().filter(|(arg, _)| text.contains(&format!("ARG {arg}="))));
    let build = Build {
        dockerfile: context.path.join("L1.cli.Dockerfile"),
        context: context.path.clone(),
        tag: l1,
        extra_tags: alias.into_iter().collect(),
        build_args,
        labels: vec![(HASH_LABEL.to_owned(), label), (LOCKS_LABEL.to_owned(), locks)],
        no_cache: request.full_rebuild,
        pull_always: false,
    };
    runner::build(podman, &build, output)?;
    Ok(done)
}

/// True when one of the two layers that are there was made by us from another recipe. An image without our label, or on
/// a base whose family nobody knows, is taken as it is.
fn outdated(podman: &Podman, request: &BaseRequest, catalog: &Catalog, agents: &[String]) -> Result<bool, ImageError> {
    let base = base_image::normalise(&request.base_image);
    let Ok(family) = base_image::family(base, request.family.as_deref()) else { return Ok(false) };
    let (l0, l1) = (tag::l0(base), tag::l1(base, Some(agents)));
    let wanted = [
        (&l0, hash::l0(base, &render::l0(base, family, false)?)),
        (&l1, hash::l1(&render::l1(&l0, family, catalog, agents, "0")?, catalog, agents)),
    ];
    Ok(wanted.iter().any(|(image, hash)| podman.image_labels(image).get(HASH_LABEL).is_some_and(|had| had != hash)))
}

/// Builds the shared layer alone.
pub(crate) fn build_l0(
    podman: &Podman,
    request: &BaseRequest,
    family: Family,
    context: &Context,
    output: &mut Output<'_>,
) -> Result<(), ImageError> {
    let base = base_image::normalise(&request.base_image);
    let l0 = tag::l0(base);
    let certificates = ca::additional(request.trust_host_ca, &Places::host());
    let text = render::l0(base, family, !certificates.is_empty())?;
    context.fill(&l0, |path| {
        for name in [stage::SCRIPTS_DIR, stage::TOAD_DIR, stage::TMUX_DIR] {
            stage::folder(name, &path.join(name))?;
        }
        if !certificates.is_empty() {
            stage::certificates(&path.join(stage::CA_DIR), &certificates)?;
        }
        write(&path.join("L0.Dockerfile"), &text)
    })?;
    let build = Build {
        dockerfile: context.path.join("L0.Dockerfile"),
        context: context.path.clone(),
        tag: l0,
        build_args: vec![("BASE_IMAGE".to_owned(), base.to_owned())],
        labels: vec![(HASH_LABEL.to_owned(), hash::l0(base, &render::l0(base, family, false)?))],
        no_cache: request.full_rebuild,
        // An image we made ourselves is in no registry.
        pull_always: request.full_rebuild && !base.starts_with("localhost/"),
        ..Build::default()
    };
    runner::build(podman, &build, output)
}

/// Leaves out entries the base is too old for. One that the user named is a fault, before anything of it is built.
fn drop_unfit(
    podman: &Podman,
    request: &BaseRequest,
    catalog: &Catalog,
    agents: &[String],
    output: &mut Output<'_>,
) -> Result<Vec<String>, ImageError> {
    let needs: Vec<(&String, (u32, u32))> =
        agents.iter().filter_map(|name| Some((name, render::needed_python(catalog.get(name)?)?))).collect();
    let base = base_image::normalise(&request.base_image);
    let Some(found) = (!needs.is_empty()).then(|| python_of(podman, &tag::l0(base))).flatten() else {
        return Ok(agents.to_vec());
    };
    let mut dropped = BTreeSet::new();
    for (name, needed) in needs.into_iter().filter(|(_, needed)| *needed > found) {
        let fault = ImageError::OldPython {
            entry: name.clone(),
            needed: format!("{}.{}", needed.0, needed.1),
            base: base.to_owned(),
            found: format!("{}.{}", found.0, found.1),
        };
        if request.agents.names(name) {
            return Err(fault);
        }
        output.line(&format!("warning: {fault}; it is left out of this image"))?;
        dropped.insert(name.clone());
    }
    Ok(agents.iter().filter(|name| !dropped.contains(*name)).cloned().collect())
}

/// Version of the Python in an image, or nothing when it cannot be asked.
fn python_of(podman: &Podman, image: &str) -> Option<(u32, u32)> {
    let program = "import sys; print(*sys.version_info[:2])";
    let explicit = podman::explicit::Explicit::detect().args();
    let options = ["run", "--rm", "--pull=never", "--network=none"].map(str::to_owned).into_iter().chain(explicit);
    let checked = podman.image_identity(image).ok()??;
    let id = checked.refused.is_none().then_some(checked.id)?;
    let command = ["--entrypoint", "python3", id.as_str(), "-c", program].map(str::to_owned);
    let text = podman.call("run", image, options.chain(command)).limit(Duration::from_secs(60)).answer()?;
    let (major, minor) = text.split_once(' ')?;
    Some((major.parse().ok()?, minor.trim().parse().ok()?))
}

/// The given versions as build arguments.
fn version_args(
    family: Family,
    catalog: &Catalog,
    agents: &[String],
    l0: &str,
    given: &[(String, String)],
) -> Result<Vec<(String, String)>, ImageError> {
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let text = render::l1(l0, family, catalog, agents, "0")?;
    let known: Vec<String> = render::versions([text.as_str()]).into_iter().map(|(name, _)| name).collect();
    let check = |(name, value): &(String, String)| {
        if !known.contains(name) {
            let name = base::text::sanitize_tty(name);
            return Err(ImageError::UnknownVersion { name, known: known.join(", ") });
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
        if value.is_empty() || value.len() > 64 || !value.chars().all(fits) {
            let (name, value) = (name.clone(), base::text::sanitize_tty(value));
            return Err(ImageError::BadVersion { name, value });
        }
        Ok((render::version_arg(name), value.clone()))
    };
    given.iter().map(check).collect()
}

fn point_alias(podman: &Podman, image: &str, alias: &str) -> Result<(), ImageError> {
    let call = podman.call("tag", image, ["tag", image, alias]).limit(Duration::from_secs(30));
    call.success().map(drop).map_err(ImageError::Podman)
}

/// The entries an image says it holds; empty when it cannot be asked or says nothing.
pub fn image_agents(podman: &Podman, image: &str) -> BTreeSet<String> {
    let labels = podman.image_labels(image);
    let list = labels.get(AGENTS_LABEL).map(String::as_str).unwrap_or_default();
    list.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

/// Checks that podman can be found, without running it.
///
/// # Errors
/// [`ImageError::PodmanMissing`].
pub fn require(podman: &Podman) -> Result<(), ImageError> {
    if runner::on_path(podman.program()) {
        return Ok(());
    }
    Err(ImageError::PodmanMissing(podman.program().to_string_lossy().into_owned()))
}

pub(crate) fn check_build_dir(path: Option<&Path>) -> Result<(), ImageError> {
    let Some(path) = path else {
        return Ok(());
    };
    let fail = |why| Err(ImageError::BuildDir { path: path.to_owned(), why });
    match fs::read_dir(path) {
        Ok(mut entries) => {
            let empty = entries.next().is_none();
            if empty { Ok(()) } else { fail("is not empty") }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(_) if path.is_dir() => fail("cannot be read"),
        Err(_) => fail("is not a directory"),
    }
}

pub(crate) fn unix_seconds() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string()
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), ImageError> {
    fs::write(path, text).map_err(|source| ImageError::Stage { path: path.to_owned(), source })
}

/// A build context: the caller's directory, or a private one that ends with this value.
pub(crate) struct Context {
    pub(crate) path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Context {
    pub(crate) fn open(given: Option<&Path>, prefix: &str, tag: &str) -> Result<Self, ImageError> {
        let fault = |path: &Path, source| ImageError::Context { tag: tag.to_owned(), path: path.to_owned(), source };
        if let Some(path) = given {
            fs::create_dir_all(path).map_err(|e| fault(path, e))?;
            return Ok(Self { path: path.to_owned(), _temporary: None });
        }
        let temporary =
            tempfile::Builder::new().prefix(prefix).tempdir().map_err(|e| fault(&std::env::temp_dir(), e))?;
        Ok(Self { path: temporary.path().to_owned(), _temporary: Some(temporary) })
    }

    /// Writes files, with the image's name in whatever goes wrong.
    pub(crate) fn fill(&self, tag: &str, work: impl FnOnce(&Path) -> Result<(), ImageError>) -> Result<(), ImageError> {
        work(&self.path).map_err(|fault| match fault {
            ImageError::Stage { source, .. } => {
                ImageError::Context { tag: tag.to_owned(), path: self.path.clone(), source }
            }
            other => other,
        })
    }
}
