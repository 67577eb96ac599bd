//! Which projects there are, and finding one.
//!
//! A project is a directory with a well-formed name and a regular file `project.yml`, directly below the user's or the
//! system's projects; links are followed, the user's one hides the system's one of the same name. Invariants: an id is
//! checked before it becomes part of a path; a project that cannot be loaded is returned as broken, in the place that
//! it would have, and never hides another. Ignored: every other name, directories without the file.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::fault::explain;
use base::notice;
use serde::Serialize;

use crate::model::{self, FILE, Model, Surroundings};
use crate::{ProjectError, id, place};

/// A project that cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Name of its directory.
    pub id: String,
    /// Its `project.yml`.
    pub config_path: String,
    /// What is wrong, free of control characters except tabs and line breaks; the first line is never empty.
    pub error: String,
}

/// All projects.
#[derive(Debug, Default, Serialize)]
pub struct Found {
    /// Those that can be used, by id.
    #[serde(serialize_with = "plain")]
    pub healthy: Vec<Arc<Model>>,
    /// The others, by id.
    pub broken: Vec<Broken>,
}

fn plain<S: serde::Serializer>(models: &[Arc<Model>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(models.iter().map(Arc::as_ref))
}

/// Every project with its directory, by id.
///
/// # Errors
/// [`ProjectError::Path`] when there is no home directory.
pub fn directories() -> Result<BTreeMap<String, PathBuf>, ProjectError> {
    Ok(directories_in(&roots()?))
}

/// The user's projects and the system's, links followed.
fn roots() -> Result<[PathBuf; 2], ProjectError> {
    Ok([place::user_projects_dir()?, place::system_projects()?])
}

fn directories_in(roots: &[PathBuf]) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let distinct = roots.iter().enumerate().filter(|(position, root)| !roots[..*position].contains(root));
    for (_, root) in distinct {
        match names(root) {
            Ok(names) => {
                for name in names {
                    found.entry(name).or_insert_with_key(|name| root.join(name));
                }
            }
            Err(error) if absent(&error) => {}
            Err(error) => notice::leave(&format!("cannot list the projects in `{}`: {error}", root.display())),
        }
    }
    found
}

fn names(root: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if id::is_shaped(&name) && holds_project(&root.join(&name)) != Some(false) {
            names.push(name);
        }
    }
    Ok(names)
}

/// `None` when nobody may look.
fn holds_project(dir: &Path) -> Option<bool> {
    match dir.join(FILE).metadata() {
        Ok(about) => Some(about.is_file()),
        Err(error) if absent(&error) => Some(false),
        Err(_) => None,
    }
}

fn absent(error: &io::Error) -> bool {
    let looped = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    looped || matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Loads every project.
///
/// # Errors
/// [`ProjectError::Path`] when there is no home directory; never for one project.
pub fn all() -> Result<Found, ProjectError> {
    let around = Surroundings::current()?;
    let mut found = Found::default();
    for (id, dir) in directories_in(&[around.user_projects.clone(), around.system_projects.clone()]) {
        match id::check(&id).and_then(|()| model::read(&dir, &around)) {
            Ok(model) => found.healthy.push(model),
            Err(error) => found.broken.push(broken(id, &dir, &error)),
        }
    }
    Ok(found)
}

fn broken(id: String, dir: &Path, error: &ProjectError) -> Broken {
    let shown = |c: char| if c.is_control() && c != '\n' && c != '\t' { '?' } else { c };
    Broken {
        id,
        config_path: dir.join(FILE).to_string_lossy().into_owned(),
        error: explain(error).chars().map(shown).collect(),
    }
}

/// The directory of project `id`.
///
/// # Errors
/// [`ProjectError::BadId`], [`ProjectError::Unknown`].
pub fn root_of(id: &str) -> Result<PathBuf, ProjectError> {
    id::check_form(id)?;
    let [user, system] = roots()?;
    find(id, &user, &system)
}

/// As [`root_of`], among the projects of `around`.
pub(crate) fn root_in(around: &Surroundings, id: &str) -> Result<PathBuf, ProjectError> {
    id::check_form(id)?;
    find(id, &around.user_projects, &around.system_projects)
}

fn find(id: &str, user: &Path, system: &Path) -> Result<PathBuf, ProjectError> {
    let [user, system] = [user, system].map(|root| root.join(id));
    // Where nobody may look there may be one: loading it tells the reason.
    let found = [&user, &system].into_iter().find(|dir| holds_project(dir) != Some(false)).cloned();
    match found {
        Some(dir) => Ok(dir),
        None => Err(ProjectError::Unknown { id: id.to_owned(), user, system }),
    }
}

/// Loads project `id`.
///
/// # Errors
/// As [`root_of`] and [`model::read`].
pub fn load(id: &str) -> Result<Arc<Model>, ProjectError> {
    id::check_form(id)?;
    let around = Surroundings::current()?;
    model::read(&root_in(&around, id)?, &around)
}
