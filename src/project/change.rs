//! Changing projects: a new one derived from another, and the choice of agents.
//!
//! Invariants: comments and order of the source stay; a new project appears with its whole `project.yml` or not at all;
//! two that are derived at once under one id never mix; what fails leaves nothing, and what was killed leaves nothing
//! once the next one is derived. Refuses ids that exist, in any root.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base::lock::Lock;
use base::{edit, file, yaml};
use serde_json::{Map, Value, json};

use crate::model::{self, FILE, Surroundings};
use crate::{ProjectError, discover, document, id};

const INSTRUCTIONS: &str = "instructions.md";
/// No listing shows a name with a dot in front; the project is there once it is complete.
const DRAFT: &str = ".derived-";
/// Random bytes in the name of a draft.
const DRAFT_BYTES: usize = 6;

/// Makes project `new` from project `source`: same settings and gate, without its agent configuration and its presets.
/// Returns the new directory.
///
/// # Errors
/// [`ProjectError::BadId`], [`ProjectError::Exists`], [`ProjectError::Edit`], [`ProjectError::Write`], or as the source
/// cannot be loaded; nothing is left behind then.
pub fn derive(source: &str, new: &str) -> Result<PathBuf, ProjectError> {
    id::check(new)?;
    let around = Surroundings::current()?;
    let from = discover::root_in(&around, source)?;
    let model = model::read(&from, &around)?;
    let target = around.user_projects.join(new);
    let exists = |path: PathBuf| ProjectError::Exists { id: new.to_owned(), path };
    if let Some(taken) = discover::root_in(&around, new).ok().or_else(|| occupied(&target).then(|| target.clone())) {
        return Err(exists(taken));
    }
    let path = from.join(FILE);
    let text = derived(&document::read_text(&path)?, new, &model.gate_path)
        .map_err(|source| ProjectError::Edit { path, source: Box::new(source) })?;
    let projects = &around.user_projects;
    file::create_private_dir(projects).map_err(ProjectError::write(projects))?;
    // Not every file system has locks; without one nobody knows whose a draft is.
    let turn = Lock::directory(projects);
    if turn.is_ok() {
        sweep(projects);
    }
    let draft = projects.join(format!("{DRAFT}{}", base::ident::random_hex(DRAFT_BYTES)));
    let made = begin(&draft, &from.join(INSTRUCTIONS)).and_then(|()| {
        let written = publish(&draft.join(FILE), &text, false).and_then(|_| std::fs::rename(&draft, &target));
        written.map_err(|error| match target.symlink_metadata() {
            // Somebody else was faster: an empty directory would have been replaced.
            Ok(_) => exists(target.clone()),
            Err(_) => ProjectError::write(&target)(error),
        })
    });
    if made.is_err() {
        let _ = std::fs::remove_dir_all(&draft);
    }
    made.map(|()| target)
}

/// Removes the drafts that killed processes left; whoever holds the turn knows that no other is being written.
fn sweep(projects: &Path) {
    let is_draft = |name: &str| {
        let rest = name.strip_prefix(DRAFT);
        rest.is_some_and(|rest| rest.len() == 2 * DRAFT_BYTES && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    for entry in std::fs::read_dir(projects).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_draft) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn occupied(target: &Path) -> bool {
    match std::fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => target.symlink_metadata().is_ok(),
    }
}

/// Makes the draft, with the source's instructions if it has any.
fn begin(draft: &Path, instructions: &Path) -> Result<(), ProjectError> {
    file::create_private_dir(draft).map_err(ProjectError::write(draft))?;
    match document::open(instructions) {
        Ok(source) => {
            let copied = draft.join(INSTRUCTIONS);
            copy(source, &copied).map_err(ProjectError::write(&copied))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ProjectError::read(instructions)(error)),
    }
}

fn derived(text: &str, new: &str, gate: &Path) -> Result<String, yaml::YamlError> {
    let one = |key: &str, value: Value| Map::from_iter([(key.to_owned(), value)]);
    let text = yaml::remove_key(text, "agent")?;
    let text = yaml::set_in_section(&text, "project", &one("id", json!(new)))?;
    yaml::set_in_section(&text, "gate", &one("path", json!(gate.to_string_lossy())))
}

/// Content, mode and times.
fn copy(mut source: std::fs::File, to: &Path) -> io::Result<()> {
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
