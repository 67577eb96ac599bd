//! Makes the private copies of one task before a launch.
//!
//! A copy is made once and is kept for the task: its sessions go on after a restart. A later launch takes over from the
//! shared folder what may have changed there: the login's file and the keys that flow back.

use std::path::Path;

use base::file::Dir;
use base::lock::Lock;
use rustix::fs::FileType;
use serde_json::Map;

use crate::collect::{collect_locked, read_object, replace, update};
use crate::copy::Copier;
use crate::fault::HomeError;
use crate::manifest::{Copied, Manifest};
use crate::shape::Rules;
use crate::{SIZE_LIMIT, owner};

/// One shared folder to be copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folder {
    /// Name below the directory of shared folders; also of the copy.
    pub name: String,
    /// Paths that belong to the container that wrote them and are never copied; `*` stands for any characters of a name.
    pub private: Vec<String>,
    /// Files and keys that flow back.
    pub flows_back: Rules,
    /// File with the login, relative; empty without one.
    pub credential_file: String,
}

/// Makes or renews the copies of `folders` below `home`; texts for the user's attention.
///
/// # Errors
/// [`HomeError`]: the container must not start.
pub fn prepare(home: &Path, mounts: &Path, folders: &[Folder]) -> Result<Vec<String>, HomeError> {
    base::file::create_private_dir(home).map_err(HomeError::file("create the directory", home))?;
    let _lock = Lock::directory(home).map_err(HomeError::file("lock", home))?;
    let mut warnings = Vec::new();
    let mut manifest = match Manifest::read(home)? {
        Some(mut known) => {
            warnings.extend(collect_locked(home, &mut known)?.refused);
            known
        }
        None => Manifest::new(mounts),
    };
    mounts.clone_into(&mut manifest.mounts);
    let root = Dir::open(home).map_err(HomeError::file("open", home))?;
    let shared = Dir::open(mounts).map_err(HomeError::file("open", mounts))?;
    for folder in folders {
        let from =
            shared.open_below(folder.name.as_ref()).map_err(HomeError::file("open", &mounts.join(&folder.name)))?;
        match root.entry_type(&folder.name).map_err(HomeError::file("read", home))? {
            Some(FileType::Directory) => renew(&root, &from, folder, &mut warnings),
            _ => make(home, &root, &from, folder, &mut warnings)?,
        }
        let baseline = baseline(&from, folder);
        let copied = Copied { flows_back: folder.flows_back.clone(), baseline };
        manifest.folders.insert(folder.name.clone(), copied);
    }
    manifest.write(home)?;
    Ok(warnings)
}

/// Copies to a temporary name first, so that a copy is complete or absent.
fn make(home: &Path, root: &Dir, from: &Dir, folder: &Folder, warnings: &mut Vec<String>) -> Result<(), HomeError> {
    let path = home.join(&folder.name);
    let fail = || HomeError::file("copy the agent folder to", &path);
    let partial = format!(".{}.part", folder.name);
    match std::fs::remove_dir_all(home.join(&partial)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail()(error)),
        _ => {}
    }
    let to = root.ensure_below(&partial, 0o700).map_err(fail())?;
    owner::hand_over(to.as_fd()).map_err(fail())?;
    let mut copier = Copier::new(&folder.private);
    copier.copy(from, &to).map_err(fail())?;
    rustix::fs::renameat(root.as_fd(), partial.as_str(), root.as_fd(), folder.name.as_str())
        .map_err(|error| fail()(error.into()))?;
    if let Some(first) = copier.left_out.first() {
        let (name, count) = (&folder.name, copier.left_out.len());
        warnings.push(format!(
            "the container's copy of agent folder `{name}` lacks {count} entries that are unreadable or beyond the \
             limit, the first is `{first}`"
        ));
    }
    Ok(())
}

/// Takes the login's file and the keys that flow back over into an existing copy. A file that the container spoiled is
/// left to it, because it is the container's own.
fn renew(root: &Dir, from: &Dir, folder: &Folder, warnings: &mut Vec<String>) {
    let Ok(to) = root.open_below(folder.name.as_ref()) else { return };
    let mut failed = |file: &str, why: String| {
        warnings
            .push(format!("cannot renew `{file}` in the container's copy of agent folder `{}`: {why}", folder.name));
    };
    let login = folder.credential_file.as_str();
    if !login.is_empty()
        && let Ok(content) = from.read(Path::new(login), SIZE_LIMIT)
        && to.read(Path::new(login), SIZE_LIMIT).ok().as_ref() != Some(&content)
        && let Err(error) = replace(&to, login, &content)
    {
        failed(login, error.to_string());
    }
    for (file, keys) in folder.flows_back.iter().filter(|(file, _)| file.as_str() != login) {
        let Ok(Some(values)) = read_object(from, file) else { continue };
        let values: Map<_, _> = values.into_iter().filter(|(key, _)| keys.contains_key(key)).collect();
        if !values.is_empty()
            && let Err(why) = update(&to, file, &values)
        {
            failed(file, why);
        }
    }
}

fn baseline(from: &Dir, folder: &Folder) -> indexmap::IndexMap<String, Map<String, serde_json::Value>> {
    let values = |(file, keys): (&String, &crate::shape::Keys)| {
        let found = read_object(from, file).ok().flatten()?;
        Some((file.clone(), found.into_iter().filter(|(key, _)| keys.contains_key(key)).collect()))
    };
    folder.flows_back.iter().filter_map(values).collect()
}
