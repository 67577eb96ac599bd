//! The files of a build context.
//!
//! The scripts, templates and settings are compiled in; the folders of the Python packages are their only source.
//! Packaging leftovers never reach a context.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use include_dir::{Dir, File, include_dir};

use crate::selection::Catalog;
use crate::{ImageError, ca, help};

static SCRIPTS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../python/terok_executor/resources/scripts");
static BRIDGES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../python/terok_sandbox/resources/bridges");
static TMUX: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../python/terok_executor/resources/tmux");
static TOAD: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../python/terok_executor/resources/toad-agents");

static LOCKS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../python/terok_executor/resources/locks");

/// Folder of the container scripts in a context.
pub const SCRIPTS_DIR: &str = "scripts";
/// Folder of the tmux configuration.
pub const TMUX_DIR: &str = "tmux";
/// Folder of the agent definitions for Toad.
pub const TOAD_DIR: &str = "toad-agents";
/// Folder of the lock files.
pub const LOCKS_DIR: &str = "locks";
/// Folder of the help lines.
pub const HELP_DIR: &str = "help.d";
/// Folder of additional certificates.
pub const CA_DIR: &str = "ca";

/// Names and contents of the files that end up in a folder of the context, sorted by name.
pub fn content(folder: &str) -> Vec<(String, &'static [u8])> {
    let sources: &[&Dir<'static>] = match folder {
        SCRIPTS_DIR => &[&SCRIPTS, &BRIDGES],
        TMUX_DIR => &[&TMUX],
        TOAD_DIR => &[&TOAD],
        LOCKS_DIR => &[&LOCKS],
        _ => &[],
    };
    let mut files: Vec<(String, &'static [u8])> = sources
        .iter()
        .flat_map(|dir| dir.files())
        .filter_map(|file: &File<'static>| Some((file.path().to_str()?.to_owned(), file.contents())))
        .filter(|(name, _)| !name.ends_with(".pyc") && name != "__init__.py" && !name.starts_with('.'))
        .collect();
    files.sort();
    files
}

/// Lays one of the compiled-in folders out as `dest`; what is there already is replaced as a whole.
///
/// # Errors
/// [`ImageError::Stage`].
pub fn folder(name: &str, dest: &Path) -> Result<(), ImageError> {
    let files = content(name);
    let mode = if name == SCRIPTS_DIR { 0o755 } else { 0o644 };
    write_folder(dest, files.iter().map(|(file, bytes)| (file.as_str(), *bytes)), mode)
        .map_err(|source| ImageError::Stage { path: dest.to_owned(), source })
}

/// Lays the help lines of these entries out as `dest`, which exists afterwards even when there are none.
///
/// # Errors
/// [`ImageError::Stage`].
pub fn help_fragments(dest: &Path, catalog: &Catalog, agents: &[String]) -> Result<(), ImageError> {
    let files = help::fragments(catalog, agents);
    write_folder(dest, files.iter().map(|(file, text)| (*file, text.as_bytes())), 0o644)
        .map_err(|source| ImageError::Stage { path: dest.to_owned(), source })
}

/// Lays additional certificates out as `dest`, one per file.
///
/// # Errors
/// [`ImageError::Stage`].
pub fn certificates(dest: &Path, certificates: &[ca::Certificate]) -> Result<(), ImageError> {
    let files: Vec<(String, &[u8])> =
        certificates.iter().map(|c| (format!("{}.crt", c.name), c.pem.as_bytes())).collect();
    write_folder(dest, files.iter().map(|(file, bytes)| (file.as_str(), *bytes)), 0o644)
        .map_err(|source| ImageError::Stage { path: dest.to_owned(), source })
}

/// Everything both layers need, below `context`.
///
/// # Errors
/// [`ImageError::Stage`].
pub fn context(context: &Path, catalog: &Catalog, agents: &[String]) -> Result<(), ImageError> {
    for name in [SCRIPTS_DIR, TOAD_DIR, TMUX_DIR, LOCKS_DIR] {
        folder(name, &context.join(name))?;
    }
    help_fragments(&context.join(HELP_DIR), catalog, agents)
}

fn write_folder<'a>(dest: &Path, files: impl Iterator<Item = (&'a str, &'a [u8])>, mode: u32) -> io::Result<()> {
    match fs::symlink_metadata(dest) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(dest)?,
        Ok(_) => fs::remove_file(dest)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir_all(dest)?;
    fs::set_permissions(dest, fs::Permissions::from_mode(0o755))?;
    for (name, bytes) in files {
        let path = dest.join(name);
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}
