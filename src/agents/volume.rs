//! The volumes of an agent's container, and the shared directories made ready for them.
//!
//! Invariants: only what the image's agents need is mounted, when that is known; a container gets copies of the shared
//! directories of its own; a credential file is read-only unless its provider is exposed; nothing below the mounts base
//! that is not plain is ever mounted.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::environment::{self, Services, Spec};
use crate::fault::AgentError;
use crate::model::{MountDef, Roster};
use crate::wrapper::{CONFIG_MOUNT, CONTAINER_WORKSPACE};
use crate::{patch, shared};

/// One volume; the same fields as the sandbox's `VolumeSpec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Volume {
    pub host_path: PathBuf,
    pub container_path: String,
    pub sharing: &'static str,
    pub read_only: bool,
}

impl Volume {
    fn private(host_path: &Path, container_path: &str) -> Self {
        Self {
            host_path: host_path.into(),
            container_path: container_path.into(),
            sharing: "private",
            read_only: false,
        }
    }

    fn shared(host_path: PathBuf, container_path: &str, read_only: bool) -> Self {
        Self { host_path, container_path: container_path.into(), sharing: "shared", read_only }
    }
}

/// Checks the specification, makes the shared directories ready, patches their settings, copies them for this container,
/// and lists the volumes.
///
/// # Errors
/// [`AgentError::Spec`], [`AgentError::SharedMount`], [`AgentError::Patch`], [`AgentError::Home`] (the container must not
/// start), or those of the file operations.
pub fn prepare(spec: &Spec, roster: &Roster, services: &Services) -> Result<Vec<Volume>, AgentError> {
    check(spec)?;
    if spec.unrestricted {
        environment::auto_approve(roster)?;
    }
    let mounts: Vec<&MountDef> = roster.mounts.iter().filter(|mount| is_needed(mount, spec, roster)).collect();
    let base = shared::open_base(&spec.envs_dir)?;
    let copies = spec.home_dir.as_ref().unwrap_or(&spec.envs_dir);
    let mut volumes = vec![Volume::private(&spec.workspace_host_path, CONTAINER_WORKSPACE)];
    for mount in &mounts {
        let path = spec.envs_dir.join(&mount.host_dir);
        let dir = shared::ensure_dir(&base, &[&mount.host_dir], &path)?;
        volumes.push(Volume::shared(copies.join(&mount.host_dir), &mount.container_path, false));
        if mount.credential_file.is_empty() || spec.expose_credential_providers.contains(&mount.provider) {
            continue;
        }
        let file = path.join(&mount.credential_file);
        let (folders, name) = patch::split(&mount.credential_file);
        match folders.is_empty() {
            true => shared::ensure_file(&dir, name, &file)?,
            false => shared::ensure_file(&shared::ensure_dir(&dir, &folders, &file)?, name, &file)?,
        }
        volumes.push(Volume::shared(file, &format!("{}/{}", mount.container_path, mount.credential_file), true));
    }
    apply_patches(spec, roster, services, &mounts, &spec.envs_dir)?;
    if let Some(home) = &spec.home_dir {
        let folders: Vec<home::Folder> = mounts.iter().map(|mount| folder(mount, spec)).collect();
        for warning in home::prepare(home, &spec.envs_dir, &folders)? {
            base::notice::leave_for("agents", &warning);
        }
        // A copy that was made for an earlier launch may lack what the shared directory got since.
        apply_patches(spec, roster, services, &mounts, home)?;
    }
    if let Some(config) = &spec.agent_config_dir {
        volumes.push(Volume::private(config, CONFIG_MOUNT));
    }
    if let Some(dir) = &spec.shared_dir {
        std::fs::create_dir_all(dir).map_err(AgentError::file("create the shared directory", dir))?;
        volumes.push(Volume::shared(dir.clone(), &spec.shared_mount, false));
    }
    Ok(volumes)
}

fn check(spec: &Spec) -> Result<(), AgentError> {
    base::ident::check_segment("task id", &spec.task_id)?;
    let Some(dir) = &spec.shared_dir else { return Ok(()) };
    let refuse = |field, value: &str, why| Err(AgentError::Spec { field, value: format!("`{value}`"), why });
    if !spec.shared_mount.starts_with('/') || spec.shared_mount.contains(':') {
        return refuse("shared_mount", &spec.shared_mount, "it must be an absolute path without ':'");
    }
    match dir.is_file() {
        true => refuse("shared_dir", &dir.display().to_string(), "it exists as a file"),
        false => Ok(()),
    }
}

/// How a mount is copied; the tokens of a login flow back only where the provider's login is exposed.
fn folder(mount: &MountDef, spec: &Spec) -> home::Folder {
    let exposed = spec.expose_credential_providers.contains(&mount.provider);
    let mut flows_back = mount.flows_back.clone();
    flows_back.values_mut().for_each(|keys| keys.retain(|_, shape| exposed || *shape != home::Shape::Login));
    flows_back.retain(|_, keys| !keys.is_empty());
    home::Folder {
        name: mount.host_dir.clone(),
        private: mount.private.clone(),
        flows_back,
        credential_file: mount.credential_file.clone(),
    }
}

/// True when the image may hold something that looks into the mount.
fn is_needed(mount: &MountDef, spec: &Spec, roster: &Roster) -> bool {
    let Some(installed) = spec.installed.as_deref().filter(|names| !names.is_empty()) else { return true };
    match owner(mount, roster) {
        Some(owner) => owner == spec.provider_name || installed.iter().any(|name| name == owner),
        None => true,
    }
}

/// The entry that a mount belongs to: stated, else the longest name in `_<name>-…`; unknown for the user's own ones.
fn owner<'a>(mount: &'a MountDef, roster: &'a Roster) -> Option<&'a str> {
    if !mount.provider.is_empty() {
        return Some(&mount.provider);
    }
    let rest = mount.host_dir.strip_prefix('_')?;
    let fits = |name: &&String| rest.strip_prefix(name.as_str()).is_some_and(|tail| tail.starts_with('-'));
    let names = roster.installs.keys().chain(&roster.all_names);
    names.filter(fits).max_by_key(|name| name.len()).map(String::as_str)
}

fn apply_patches(
    spec: &Spec,
    roster: &Roster,
    services: &Services,
    mounts: &[&MountDef],
    base: &Path,
) -> Result<(), AgentError> {
    let mounted = |name: &str| mounts.iter().any(|mount| mount.provider == name);
    let enabled = roster.vault_routes.keys().filter(|name| {
        mounted(name) && spec.enabled_vault_patch_providers.as_ref().is_none_or(|only| only.contains(name))
    });
    let disabled = spec.disabled_vault_patch_providers.clone().unwrap_or_default();
    let target = patch::Target { url: services.url(), socket: services.socket().to_owned() };
    patch::apply(roster, base, enabled.cloned().collect(), &disabled, &target)
}
