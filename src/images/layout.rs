//! A project's Dockerfiles and build files on disk.
//!
//! Invariants: one process writes at a time; every file and folder is replaced as a whole, so that a build that reads
//! at the same time finds the old or the new one; other entries of the directory are left alone, for it may be the
//! user's staging area as well. What a killed process left half done goes with the next one.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use base::lock::Lock;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::ImageError;
use crate::project::Rendered;
use crate::stage::{self, LOCKS_DIR, SCRIPTS_DIR, TMUX_DIR, TOAD_DIR};

const LOCK: &str = ".lock";
const PREFIX: &str = ".stage-";
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes a project's files into its directory. The warnings tell of folders that could not be replaced; they are not
/// needed by the project's own layer.
///
/// # Errors
/// [`ImageError::ProjectFiles`], [`ImageError::ProjectBusy`].
pub fn write(project: &str, dir: &Path, rendered: &Rendered) -> Result<Vec<String>, ImageError> {
    let fault = |source| ImageError::ProjectFiles { project: project.to_owned(), path: dir.to_owned(), source };
    fs::create_dir_all(dir).map_err(fault)?;
    let _lock = Lock::acquire(&dir.join(LOCK), PATIENCE).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => ImageError::ProjectBusy { project: project.to_owned(), path: dir.to_owned() },
        _ => fault(error),
    })?;
    sweep(dir);
    for (name, text) in rendered {
        base::file::write_atomic(&dir.join(name), text.as_bytes(), base::file::PUBLIC).map_err(fault)?;
    }
    let replaced = [SCRIPTS_DIR, TOAD_DIR, TMUX_DIR, LOCKS_DIR].map(|name| (name, replace(dir, name)));
    let told = |(name, result): (&str, Result<(), ImageError>)| {
        let fault = result.err()?;
        Some(format!("cannot stage `{name}`: {}", base::fault::explain(&fault)))
    };
    Ok(replaced.into_iter().filter_map(told).collect())
}

/// Lays one folder out beside its place and swaps the two.
fn replace(dir: &Path, name: &str) -> Result<(), ImageError> {
    let (new, place) = (dir.join(format!("{PREFIX}{}", base::ident::random_hex(6))), dir.join(name));
    let outcome = stage::folder(name, &new)
        .and_then(|()| swap(&new, &place).map_err(|source| ImageError::Stage { path: place.clone(), source }));
    remove(&new);
    outcome
}

fn swap(new: &Path, place: &Path) -> io::Result<()> {
    if fs::symlink_metadata(place).is_err() {
        return fs::rename(new, place);
    }
    match renameat_with(CWD, new, CWD, place, RenameFlags::EXCHANGE) {
        // A file system that cannot exchange two entries.
        Err(rustix::io::Errno::INVAL) => {
            remove(place);
            fs::rename(new, place)
        }
        outcome => outcome.map_err(Into::into),
    }
}

fn sweep(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX)) {
        remove(&entry.path());
    }
}

fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => drop(fs::remove_dir_all(path)),
        Ok(_) => drop(fs::remove_file(path)),
        Err(_) => {}
    }
}
