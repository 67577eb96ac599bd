//! Refuses host directories that a container must not see.
//!
//! A launch on a home directory hands over keys, podman's storage and our own state, so that the agent needs no hole to
//! become the user. The check applies to every host path that a launch mounts or copies: the repository, the shared
//! directories, the volumes of callers, and `--volume` and `--mount` among the caller's podman options.
//!
//! - Paths are compared with links resolved.
//! - An override names one path exactly, and the container carries it as label [`LABEL`].
//! - A link that changes between this check and podman's mount is not caught: parents of the path must be the user's.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::extra;
use crate::fault::LaunchError;
use crate::hostdir_roots::Roots;
use crate::spec::{Place, RunSpec};

/// Label of a container that was launched with an override; its value is the paths, separated by `:`.
pub const LABEL: &str = "terok.dangerous-mounts";
/// Variable that names allowed paths, separated by `:`, for callers that cannot pass them.
pub const VARIABLE: &str = "TEROK_ALLOW_DANGEROUS_MOUNTS";

/// How much of the file system around a protected path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The path itself and everything above it.
    Itself,
    /// Everything below it as well.
    Tree,
}

/// A path that containers must not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    /// The path, links resolved.
    pub path: PathBuf,
    /// How much around it is refused.
    pub reach: Reach,
    /// Description for messages.
    pub what: &'static str,
    /// Names directly below it that are open to users' files.
    pub open: &'static [&'static str],
}

/// Why a host path is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Danger {
    /// `is`, `contains` or `lies in`.
    pub relation: &'static str,
    /// The protected path.
    pub root: PathBuf,
    /// Description of the protected path.
    pub what: &'static str,
}

impl std::fmt::Display for Danger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let root = base::text::sanitize_tty(&self.root.to_string_lossy());
        match self.relation {
            "is" => write!(f, "it is {}", self.what),
            relation => write!(f, "it {relation} {}, `{root}`", self.what),
        }
    }
}

/// Returns why `path` must not be mounted; `None` when it may be.
pub fn judge(roots: &Roots, path: &Path) -> Option<Danger> {
    let real = base::path::resolve(path);
    let danger = |relation, root: &Path, what| Some(Danger { relation, root: root.to_owned(), what });
    if real == Path::new("/") {
        return danger("is", &real, "the root of the file system");
    }
    if roots.own.iter().any(|own| real.starts_with(own)) {
        return None;
    }
    let relation = |root: &Path| match () {
        () if real == root => Some("is"),
        () if root.starts_with(&real) => Some("contains"),
        () if real.starts_with(root) => Some("lies in"),
        () => None,
    };
    // The most telling reason: the path itself, then what it lies in, then what it contains.
    let mut found: Vec<(usize, &Protected, &'static str)> = Vec::new();
    for root in &roots.protected {
        let Some(relation) = relation(&root.path) else { continue };
        let is_open = || root.open.iter().any(|name| real.starts_with(root.path.join(name)));
        if relation == "lies in" && (root.reach == Reach::Itself || is_open() || in_home_below(roots, root, &real)) {
            continue;
        }
        let rank = ["is", "lies in", "contains"].iter().position(|known| *known == relation);
        found.push((rank.unwrap_or_default(), root, relation));
    }
    found.sort_by_key(|(rank, ..)| *rank);
    match found.first() {
        Some((_, root, relation)) => danger(relation, &root.path, root.what),
        None => foreign_home(roots, &real).and_then(|home| danger("lies in", &home, "another user's home directory")),
    }
}

/// True for a path inside our own home when that home itself lies in the protected directory, such as a service
/// account's below `/var/lib`.
fn in_home_below(roots: &Roots, root: &Protected, real: &Path) -> bool {
    roots.homes.iter().any(|home| home != &root.path && home.starts_with(&root.path) && real.starts_with(home))
}

/// The directory below `/home` that contains `real` and belongs to another user, for accounts that `/etc/passwd` does
/// not list.
fn foreign_home(roots: &Roots, real: &Path) -> Option<PathBuf> {
    let below = real.strip_prefix("/home").ok()?;
    let home = Path::new("/home").join(below.components().next()?);
    if roots.homes.iter().any(|own| own.starts_with(&home)) {
        return None;
    }
    let owner = std::fs::metadata(&home).ok()?.uid();
    (owner != 0 && owner != base::user::effective_uid()).then_some(home)
}

/// Checks host paths before a launch is prepared; `allowed` are the caller's overrides.
///
/// # Errors
/// [`LaunchError::DangerousMount`] naming the first refused path.
pub fn check_paths(place: &Place, paths: &[PathBuf], allowed: &[PathBuf]) -> Result<(), LaunchError> {
    if paths.is_empty() {
        return Ok(());
    }
    let (roots, allowed) = (Roots::detect(place, None), overrides(allowed));
    paths.iter().try_for_each(|path| judge_unless_allowed(&roots, path, &allowed).map(drop))
}

/// Checks all host paths of a launch; the description with the label that records its overrides.
///
/// # Errors
/// [`LaunchError::DangerousMount`] naming the first refused path.
pub fn check_spec(place: &Place, mut spec: RunSpec) -> Result<RunSpec, LaunchError> {
    let roots = Roots::detect(place, Some(&spec));
    let allowed = overrides(&spec.allow_dangerous_mounts);
    let mut paths: Vec<PathBuf> = spec.volumes.iter().map(|volume| volume.host_path.clone()).collect();
    paths.extend(option_paths(&spec.extra_args));
    let mut used: Vec<String> = Vec::new();
    for path in paths {
        if judge_unless_allowed(&roots, &path, &allowed)? {
            used.push(path.to_string_lossy().into_owned());
        }
    }
    if !used.is_empty() {
        used.dedup();
        spec.extra_args.extend(["--label".to_owned(), format!("{LABEL}={}", used.join(":"))]);
    }
    Ok(spec)
}

/// Checks the options in front of the image on a `podman run` line.
///
/// # Errors
/// [`LaunchError::DangerousMount`] naming the first refused path.
pub fn check_options(place: &Place, options: &[String]) -> Result<(), LaunchError> {
    check_paths(place, &option_paths(options), &[])
}

/// True when the path is dangerous and an override names it.
fn judge_unless_allowed(roots: &Roots, path: &Path, allowed: &[PathBuf]) -> Result<bool, LaunchError> {
    match judge(roots, path) {
        None => Ok(false),
        Some(_) if allowed.contains(&base::path::resolve(path)) => Ok(true),
        Some(danger) => Err(LaunchError::DangerousMount { path: path.to_owned(), danger }),
    }
}

fn overrides(given: &[PathBuf]) -> Vec<PathBuf> {
    let ambient = base::env::get(VARIABLE).unwrap_or_default();
    let ambient: Vec<PathBuf> = std::env::split_paths(&ambient).collect();
    let all = given.iter().chain(&ambient).filter(|path| !path.as_os_str().is_empty());
    all.map(|path| base::path::resolve(&base::path::expand_home(path))).collect()
}

/// The host paths that podman options mount; names of volumes that podman manages are none.
fn option_paths(options: &[String]) -> Vec<PathBuf> {
    let volumes = extra::values(options, "--volume").into_iter().filter_map(|value| value.split_once(':')).map(|v| v.0);
    let mounts = extra::values(options, "--mount").into_iter().flat_map(|value| {
        value.split(',').filter_map(|part| {
            let (key, path) = part.split_once('=')?;
            matches!(key, "source" | "src").then_some(path)
        })
    });
    volumes.chain(mounts).filter(|path| path.starts_with(['/', '.'])).map(PathBuf::from).collect()
}

#[cfg(test)]
#[path = "hostdir_test.rs"]
mod tests;
