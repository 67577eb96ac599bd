//! Changing projects: a new one derived from another, and the choice of agents.
//!
//! Invariants: comments and order of the source stay; a new project appears with its whole `project.yml` or not at all;
//! two that are derived at once under one id never mix; what fails leaves nothing. Refuses ids that exist, in any root.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base::{edit, file, yaml};
use serde_json::{Map, Value, json};

use crate::model::{self, FILE, Surroundings};
use crate::{ProjectError, discover, document, id};

const INSTRUCTIONS: &str = "instructions.md";

/// Makes project `new` from project `source`: same settings and gate, without its agent configuration and its presets.
/// Returns the new directory.
///
/// # Errors
/// [`ProjectError::BadId`], [`ProjectError::Exists`], [`ProjectError::Edit`], [`ProjectError::Write`], or as the source
/// cannot be loaded; nothing is left behind then.
pub fn derive(source: &str, new: &str) -> Result<PathBuf, ProjectError> {
    id::check(new)?;
    let around = Surroundings::current()?;
    let from = discover::root_of(source)?;
    let model = model::read(&from, &around)?;
    let target = around.user_projects.join(new);
    let exists = |path: PathBuf| ProjectError::Exists { id: new.to_owned(), path };
    if let Some(taken) = discover::root_of(new).ok().or_else(|| occupied(&target).then(|| target.clone())) {
        return Err(exists(taken));
    }
    let path = from.join(FILE);
    let text = derived(&document::read_text(&path)?, new, &model.gate_path)
        .map_err(|source| ProjectError::Edit { path, source: Box::new(source) })?;
    let projects = &around.user_projects;
    file::create_private_dir(projects).map_err(ProjectError::write(projects))?;
    // No listing shows a name with a dot in front; the project is there once it is complete.
    let draft = projects.join(format!(".derived-{}", base::ident::random_hex(6)));
    let made = fill(&draft, &text, &from.join(INSTRUCTIONS)).and_then(|()| std::fs::rename(&draft, &target));
    if made.is_err() {
        let _ = std::fs::remove_dir_all(&draft);
    }
    match made {
        Ok(()) => Ok(target),
        // Somebody else was faster: an empty directory would have been replaced.
        Err(_) if target.symlink_metadata().is_ok() => Err(exists(target)),
        Err(error) => Err(ProjectError::Write { path: target, source: error }),
    }
}

fn occupied(target: &Path) -> bool {
    match std::fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => target.symlink_metadata().is_ok(),
    }
}

fn fill(draft: &Path, text: &str, instructions: &Path) -> io::Result<()> {
    file::create_private_dir(draft)?;
    copy(instructions, &draft.join(INSTRUCTIONS))?;
    publish(&draft.join(FILE), text, false).map(drop)
}

fn derived(text: &str, new: &str, gate: &Path) -> Result<String, yaml::YamlError> {
    let one = |key: &str, value: Value| Map::from_iter([(key.to_owned(), value)]);
    let text = yaml::remove_key(text, "agent")?;
    let text = yaml::set_in_section(&text, "project", &one("id", json!(new)))?;
    yaml::set_in_section(&text, "gate", &one("path", json!(gate.to_string_lossy())))
}

/// Content, mode and times; a missing source is no error.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = match std::fs::File::open(from) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let about = source.metadata()?;
    let mut target = std::fs::File::create(to)?;
    io::copy(&mut source, &mut target)?;
    target.set_permissions(about.permissions())?;
    target.set_times(std::fs::FileTimes::new().set_modified(about.modified()?).set_accessed(about.accessed()?))
}

/// Puts a complete file there, with the mode that files of this process usually have; an existing one stays unless
/// `overwrite`, and then its mode does. Tells whether the file is the new one.
pub(crate) fn publish(path: &Path, text: &str, overwrite: bool) -> io::Result<bool> {
    let draft = path.with_file_name(format!(".{FILE}.{}.tmp", base::ident::random_hex(6)));
    let placed = write_draft(&draft, text, path).and_then(|()| match overwrite {
        true => std::fs::rename(&draft, path),
        false => std::fs::hard_link(&draft, path),
    });
    let _ = std::fs::remove_file(&draft);
    match placed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn write_draft(draft: &Path, text: &str, replaced: &Path) -> io::Result<()> {
    let mut file = std::fs::File::create_new(draft)?;
    if let Ok(about) = replaced.metadata() {
        file.set_permissions(about.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Sets `image.agents` of project `id`, keeping everything else of its file, which is private afterwards.
///
/// # Errors
/// [`ProjectError::Unknown`], [`ProjectError::Edit`].
pub fn set_agents(id: &str, selection: &str) -> Result<PathBuf, ProjectError> {
    let path = discover::root_of(id)?.join(FILE);
    let updates = Map::from_iter([("agents".to_owned(), json!(selection))]);
    edit::update_section(&path, "image", &updates)
        .map_err(|source| ProjectError::Edit { path: path.clone(), source: Box::new(source) })?;
    let private = std::os::unix::fs::PermissionsExt::from_mode(file::PRIVATE);
    std::fs::set_permissions(&path, private).map_err(ProjectError::write(&path))?;
    Ok(path)
}
