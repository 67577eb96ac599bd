//! Where projects, tasks and what belongs to them lie.
//!
//! Order, first hit wins: an environment variable, a key of `config.yml`, a default below the directories that
//! `base::path` names; all with `~` expanded and links followed. Nothing here creates a directory. "Root" means root on
//! the host everywhere, so that no two functions of one process disagree about it.

use std::path::{Path, PathBuf};

use base::path::{Namespace, PathError, expand_home, resolve};
use base::{env, notice};

use crate::setting::{self, Settings};

/// What every function here returns.
pub type Place = Result<PathBuf, PathError>;

/// Directory of `projects` and shield profiles: `TEROK_CONFIG_DIR`, else the namespace's configuration directory.
///
/// # Errors
/// [`PathError`] when there is no home directory.
pub fn config_root() -> Place {
    base::path::config_dir("", Some("TEROK_CONFIG_DIR"))
}

/// State root of the whole family.
///
/// # Errors
/// As [`config_root`].
pub fn state_root() -> Place {
    base::path::state_dir("", None).map(|path| resolve(&path))
}

/// State of this layer: tasks' metadata, build contexts, the log.
///
/// # Errors
/// As [`config_root`].
pub fn core_state_dir() -> Place {
    match env::path("TEROK_STATE_DIR") {
        Some(path) => Ok(resolve(&path)),
        None => Ok(state_root()?.join("core")),
    }
}

/// A part of the state with links followed: where its own variable says, else in the root that `state` yields.
fn part_of(state: impl FnOnce() -> Place, variable: &str, name: &str) -> Place {
    match env::path(variable) {
        Some(path) => Ok(resolve(&path)),
        None => Ok(below(&state()?, name)),
    }
}

/// Runtime directory of the front ends: `TEROK_RUNTIME_DIR`, `/run/terok` for root, the user's cache.
///
/// # Errors
/// As [`config_root`].
pub fn runtime_root() -> Place {
    if let Some(path) = env::path("TEROK_RUNTIME_DIR") {
        return Ok(path);
    }
    if Namespace::current().root {
        return Ok(PathBuf::from("/run/terok"));
    }
    let home = base::path::home().ok_or_else(|| PathError::NoHome(base::user::effective_uid()))?;
    Ok(home.join(".cache/terok"))
}

/// Directory of sockets.
///
/// # Errors
/// As [`config_root`].
pub fn runtime_dir() -> Place {
    base::path::runtime_dir("", None)
}

/// `acp/<project>/<task>.<kind>` in the runtime directory.
///
/// # Errors
/// As [`config_root`], and for an identifier that is more or less than one part of a path.
pub fn acp_file(project: &str, task: &str, kind: &str) -> Place {
    for name in [project, task] {
        if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
            return Err(PathError::Subdir(base::text::sanitize_tty(name)));
        }
    }
    Ok(runtime_dir()?.join("acp").join(project).join(format!("{task}.{kind}")))
}

/// Projects of the system: `projects` in [`config_root`].
///
/// # Errors
/// As [`config_root`].
pub fn projects_dir() -> Place {
    Ok(resolve(&config_root()?).join("projects"))
}

/// As [`projects_dir`], links followed.
pub(crate) fn system_projects() -> Place {
    Ok(below(&resolve(&config_root()?), "projects"))
}

/// Projects of the user.
///
/// # Errors
/// As [`config_root`].
pub fn user_projects_dir() -> Place {
    user_projects_in(&setting::load())
}

pub(crate) fn user_projects_in(settings: &Settings) -> Place {
    let default = || Ok(resolve(&user_config_dir()?.join("projects")));
    configured(settings, None, "paths", "user_projects_dir", default)
}

/// Presets of the user.
///
/// # Errors
/// As [`config_root`].
pub fn user_presets_dir() -> Place {
    let default = || Ok(resolve(&user_config_dir()?.join("core/presets")));
    configured(&setting::load(), None, "paths", "user_presets_dir", default)
}

/// Workspaces and shared mounts of running tasks.
///
/// # Errors
/// As [`config_root`].
pub fn sandbox_live_dir() -> Place {
    sandbox_live_in(&setting::load(), state_root)
}

pub(crate) fn sandbox_live_in(settings: &Settings, state: impl FnOnce() -> Place) -> Place {
    let default = || Ok(below(&state()?, "sandbox-live"));
    configured(settings, Some("TEROK_SANDBOX_LIVE_DIR"), "paths", "sandbox_live_dir", default)
}

/// Mounts that tasks share.
///
/// # Errors
/// As [`config_root`].
pub fn sandbox_live_mounts_dir() -> Place {
    Ok(sandbox_live_dir()?.join("mounts"))
}

/// Bare mirrors of the git gate.
///
/// # Errors
/// As [`config_root`].
pub fn gate_repos_dir() -> Place {
    gate_repos_in(&setting::load(), state_root)
}

pub(crate) fn gate_repos_in(settings: &Settings, state: impl FnOnce() -> Place) -> Place {
    match settings.text("gate_server.repos_dir").filter(|text| !text.is_empty()) {
        Some(text) => Ok(absolute(text)),
        None => Ok(below(&part_of(state, "TEROK_SANDBOX_STATE_DIR", "sandbox")?, "gate")),
    }
}

/// Build contexts of images, one directory per project.
///
/// # Errors
/// As [`config_root`].
pub fn build_dir() -> Place {
    build_in(&setting::load(), state_root)
}

pub(crate) fn build_in(settings: &Settings, state: impl FnOnce() -> Place) -> Place {
    let default = || Ok(below(&part_of(state, "TEROK_STATE_DIR", "core")?, "build"));
    configured(settings, None, "paths", "build_dir", default)
}

/// What is kept of deleted projects and tasks.
///
/// # Errors
/// As [`config_root`].
pub fn archive_dir() -> Place {
    base::path::state_dir("archive", None).map(|path| resolve(&path))
}

/// The vault: `TEROK_VAULT_DIR`, its older name, `credentials.dir`, `vault` in the state root.
///
/// # Errors
/// As [`config_root`].
pub fn vault_dir() -> Place {
    if let Some(path) = env::path("TEROK_VAULT_DIR") {
        return Ok(resolve(&path));
    }
    if let Some(path) = env::path("TEROK_CREDENTIALS_DIR") {
        notice::leave("`TEROK_CREDENTIALS_DIR` is outdated: set `TEROK_VAULT_DIR` instead");
        return Ok(resolve(&path));
    }
    configured(&setting::load(), None, "credentials", "dir", || Ok(below(&state_root()?, "vault")))
}

/// The `config.yml` that people edit: `TEROK_CONFIG_FILE`, else the user's, root's too.
///
/// # Errors
/// As [`config_root`].
pub fn global_config_file() -> Place {
    match env::path("TEROK_CONFIG_FILE") {
        Some(path) => Ok(resolve(&path)),
        None => base::config::user_file(),
    }
}

/// Every `config.yml` that may exist, lowest priority first; without a home directory there is no user's.
pub fn global_config_files() -> Vec<PathBuf> {
    let sources = base::config::sources_in(Namespace::current());
    let mut files: Vec<_> =
        sources.into_iter().filter(|(label, _)| *label != "override").map(|(_, path)| path).collect();
    files.extend(global_config_file().ok().filter(|user| !files.contains(user)));
    files
}

/// The user's own configuration directory, root's too; projects and presets of a person lie there.
fn user_config_dir() -> Place {
    Namespace { root: false }.config_dir("", None)
}

fn configured(
    settings: &Settings,
    variable: Option<&str>,
    section: &str,
    key: &str,
    default: impl FnOnce() -> Place,
) -> Place {
    if let Some(path) = variable.and_then(env::path) {
        return Ok(resolve(&path));
    }
    match configured_text(settings, section, key) {
        Some(text) => Ok(absolute(&text)),
        None => default(),
    }
}

/// The written value, whether or not the section around it is in order: what lies somewhere must not move because of a
/// misspelt key beside it.
fn configured_text(settings: &Settings, section: &str, key: &str) -> Option<String> {
    use serde_json::Value;
    match settings.raw().get(section)?.as_object()?.get(key)? {
        Value::String(text) if text.contains('\0') => {
            notice::leave(&format!("`{section}.{key}` is no path, the default applies"));
            None
        }
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Null | Value::Bool(false) => None,
        _ => {
            notice::leave(&format!("`{section}.{key}` is no path, the default applies"));
            None
        }
    }
}

fn absolute(text: &str) -> PathBuf {
    resolve(&expand_home(Path::new(text)))
}

/// As [`resolve`], when the directory is known to be resolved: of its entries only links need a closer look.
pub(crate) fn below(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    match path.is_symlink() {
        true => resolve(&path),
        false => path,
    }
}
