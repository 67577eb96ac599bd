//! The image of one project: what it is made from, and the Dockerfiles of all its layers.
//!
//! Invariants: an address or a branch cannot leave its quotes; no image carries the user information of an address; the
//! user's own instructions stand in the text as they are and are never read as a template. Refused: control characters
//! in an address or a branch, instructions that end in the middle of one.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use minijinja::context;
use serde::{Deserialize, Serialize};

use crate::base_image::{self, Family};
use crate::selection::{self, Catalog, Selection};
use crate::{AGENTS_LABEL, ImageError, hash, render, snippet, tag};

const L2: &str = include_str!("../../python/terok/resources/templates/l2.Dockerfile.j2");
/// Where a container finds the repository of a project whose work is kept behind the gate.
const GATE_REPO: &str = "file:///git-gate/gate.git";

/// File of the shared layer.
pub const L0_FILE: &str = "L0.Dockerfile";
/// File of the agent layer.
pub const L1_FILE: &str = "L1.cli.Dockerfile";
/// File of the project's layer.
pub const L2_FILE: &str = "L2.Dockerfile";

/// What a project says about its image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Project {
    /// Name of the project.
    pub id: String,
    /// Base image; blank for the default.
    pub base_image: String,
    /// Package family, when it cannot be guessed.
    pub family: Option<String>,
    /// Agents as they are selected in the configuration.
    pub agents: String,
    /// `gatekeeping` or `online`.
    pub security_class: String,
    /// Address of the repository.
    pub upstream_url: Option<String>,
    /// Branch to start from.
    pub default_branch: Option<String>,
    /// Directory of the project's configuration.
    pub root: PathBuf,
    /// File with own instructions, relative to the root or to the home directory.
    pub snippet_file: Option<PathBuf>,
    /// Own instructions.
    pub snippet_inline: Option<String>,
}

/// Texts by file name, in the order of the layers.
pub type Rendered = IndexMap<String, String>;

/// Content hashes of a project's layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashes {
    /// Shared layer.
    pub l0: String,
    /// Agent layer.
    pub l1: String,
    /// The project's own layer.
    pub l2: String,
    /// All three.
    pub combined: String,
}

impl Hashes {
    /// Puts three hashes together.
    pub fn of(l0: String, l1: String, l2: String) -> Self {
        let combined = hash::of([l0.as_str(), l1.as_str(), l2.as_str()]);
        Self { l0, l1, l2, combined }
    }
}

/// The Dockerfiles of all layers, the agent layer with the project's own selection.
///
/// # Errors
/// [`ImageError`].
pub fn rendered(project: &Project, catalog: &Catalog) -> Result<Rendered, ImageError> {
    let family: Family = base_image::family(&project.base_image, project.family.as_deref())?;
    let agents = selection::resolve(catalog, &Selection::parse(&project.agents))?;
    let l0 = tag::l0(&project.base_image);
    Ok(IndexMap::from([
        (L0_FILE.to_owned(), render::l0(&project.base_image, family, false)?),
        (L1_FILE.to_owned(), render::l1(&l0, family, catalog, &agents, "0")?),
        (L2_FILE.to_owned(), l2(project)?),
    ]))
}

/// The Dockerfile of the project's own layer.
///
/// # Errors
/// [`ImageError::ProjectValue`], those of [`snippet::text`].
pub fn l2(project: &Project) -> Result<String, ImageError> {
    let upstream = project.upstream_url.as_deref().unwrap_or_default();
    let upstream = checked(project, "git.upstream_url", upstream)?;
    let branch = checked(project, "git.default_branch", project.default_branch.as_deref().unwrap_or_default())?;
    let repo = if project.security_class == "online" { without_user_info(upstream) } else { GATE_REPO.to_owned() };
    let values = context! {
        code_repo => escaped(&repo), git_branch => escaped(branch), snippet => snippet::text(project)?,
    };
    render::render("L2", L2, values)
}

/// Hashes of rendered texts; a text that is missing counts as empty.
pub fn hashes(base: &str, rendered: &Rendered, catalog: &Catalog) -> Hashes {
    let text = |file: &str| rendered.get(file).map(String::as_str).unwrap_or_default();
    let l1 = hash::l1(text(L1_FILE), catalog, &installed(text(L1_FILE)));
    Hashes::of(hash::l0(base, text(L0_FILE)), l1, hash::of([text(L2_FILE)]))
}

/// The entries that the text of an agent layer installs, read from its label.
fn installed(text: &str) -> Vec<String> {
    let list = text.lines().find_map(|line| {
        let after = line.trim_start().strip_prefix("LABEL ")?.split_once(&format!("{AGENTS_LABEL}=\""))?.1;
        after.split_once('"').map(|(list, _)| list)
    });
    list.unwrap_or_default().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn checked<'a>(project: &Project, key: &'static str, value: &'a str) -> Result<&'a str, ImageError> {
    if value.chars().any(char::is_control) {
        return Err(ImageError::ProjectValue { project: project.id.clone(), key });
    }
    Ok(value)
}

/// A value as it may stand between the double quotes of an instruction.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$")
}

/// An address without what lets somebody in: everything before the host, over SSH only the password.
fn without_user_info(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((user, host)) = authority.rsplit_once('@') else { return url.to_owned() };
    let user = user.split_once(':').map_or(user, |(name, _)| name);
    if scheme.to_ascii_lowercase().contains("ssh") {
        return format!("{scheme}://{user}@{host}{path}");
    }
    format!("{scheme}://{host}{path}")
}

/// The path of a snippet file as the project means it.
pub(crate) fn snippet_path(project: &Project) -> Option<PathBuf> {
    let given = project.snippet_file.as_deref().filter(|path| !path.as_os_str().is_empty())?;
    let expanded = base::path::expand_home(given);
    Some(if expanded.is_absolute() { expanded } else { Path::new(&project.root).join(expanded) })
}
