//! Sealed launches: what would be mounted is copied into the created container instead.
//!
//! Directories that the image already has keep their owner, mode and time: only missing ones are made, for the image's
//! user. Links inside a copied directory are copied as links; nothing outside it is read.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;

use podman::Podman;
use serde::Serialize;

use crate::fault::LaunchError;
use crate::spec::RunSpec;

const USER: u64 = 1000;

/// One copy into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// On the host.
    pub source: PathBuf,
    /// In the container.
    pub target: String,
    /// True for a directory, whose content is copied.
    pub directory: bool,
}

/// What is to be copied, in the order of the description: volumes that exist and are not live, without files that a
/// copied directory brings along.
pub fn copies(spec: &RunSpec) -> Vec<Copy> {
    let all: Vec<Copy> = spec
        .volumes
        .iter()
        .filter(|volume| !volume.live && volume.host_path.exists())
        .map(|volume| Copy {
            source: volume.host_path.clone(),
            target: volume.container_path.trim_end_matches('/').to_owned(),
            directory: volume.host_path.is_dir(),
        })
        .collect();
    let covered = |file: &Copy| {
        all.iter().any(|dir| {
            dir.directory && (file.target == dir.target || file.target.starts_with(&format!("{}/", dir.target)))
        })
    };
    all.iter().filter(|copy| copy.directory || !covered(copy)).cloned().collect()
}

/// Directories that the copies need: the targets of directories, and the parents of files.
fn needed(copies: &[Copy]) -> BTreeSet<String> {
    let parent = |path: &str| path.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
    copies.iter().map(|c| if c.directory { c.target.clone() } else { parent(&c.target) }).collect()
}

/// The directories to be made, parents first: what is needed and missing, with its missing ancestors.
fn missing(needed: &BTreeSet<String>, exists: &dyn Fn(&str) -> bool) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    let mut present: BTreeSet<String> = BTreeSet::new();
    for path in needed {
        let mut path = path.as_str();
        while !path.is_empty() && !missing.contains(path) && !present.contains(path) {
            if exists(path) {
                present.insert(path.to_owned());
                break;
            }
            missing.insert(path.to_owned());
            path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
    }
    missing
}

/// Makes the directories that the copies need and the container does not have.
///
/// # Errors
/// [`LaunchError`] with podman's words.
pub fn make_directories(podman: &Podman, spec: &RunSpec, copies: &[Copy]) -> Result<(), LaunchError> {
    let name = &spec.container_name;
    let missing = missing(&needed(copies), &|path| exists_inside(podman, name, path));
    if missing.is_empty() {
        return Ok(());
    }
    let archive = archive(&missing).map_err(LaunchError::io("pack directories for", std::path::Path::new(name)))?;
    let target = format!("{name}:/");
    let output = podman
        .call("copy into", name, ["cp", "-", &target])
        .input(archive)
        .output()
        .map_err(|source| LaunchError::Podman { container: name.clone(), source })?;
    if output.ok() { Ok(()) } else { Err(crate::execute::judged(spec, &output.complaint())) }
}

/// True when the path exists in the container, which need not run. The copy is broken off after its first byte.
fn exists_inside(podman: &Podman, name: &str, path: &str) -> bool {
    let mut command = podman.command();
    command.args(["cp", &format!("{name}:{path}"), "-"]).stdin(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.stdout(Stdio::piped()).spawn() else { return false };
    let mut byte = [0u8; 1];
    let found = child.stdout.take().is_some_and(|mut out| out.read_exact(&mut byte).is_ok());
    let _ = child.kill();
    let _ = child.wait();
    found
}

/// A tar archive of empty directories, reproducible to the byte.
fn archive(directories: &BTreeSet<String>) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for directory in directories {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_uid(USER);
        header.set_gid(USER);
        header.set_mtime(0);
        header.set_size(0);
        builder.append_data(&mut header, directory.trim_start_matches('/'), std::io::empty())?;
    }
    builder.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::VolumeSpec;

    fn volume(host: PathBuf, inside: &str, live: bool) -> VolumeSpec {
        VolumeSpec {
            host_path: host,
            container_path: inside.into(),
            sharing: Default::default(),
            read_only: false,
            live,
        }
    }

    #[test]
    fn files_below_copied_directories_and_missing_paths_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        let (dir, file) = (root.path().join("gh"), root.path().join("b.sh"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(&file, "").unwrap();
        let mut spec: RunSpec = serde_json::from_str(r#"{"container_name":"c","image":"i"}"#).unwrap();
        spec.volumes = vec![
            volume(dir.clone(), "/home/dev/.config/gh", false),
            volume(file.clone(), "/home/dev/.config/gh/hosts.yml", false),
            volume(file.clone(), "/run/terok/b.sh", false),
            volume(dir.clone(), "/run/live", true),
            volume(root.path().join("gone"), "/gone", false),
        ];
        let copies = copies(&spec);
        let targets: Vec<&str> = copies.iter().map(|c| c.target.as_str()).collect();
        assert_eq!(targets, ["/home/dev/.config/gh", "/run/terok/b.sh"]);

        let present = ["/home", "/home/dev", "/run"];
        let made = missing(&needed(&copies), &|path| present.contains(&path));
        let expected = ["/home/dev/.config", "/home/dev/.config/gh", "/run/terok"];
        assert_eq!(made.iter().collect::<Vec<_>>(), expected);
        assert!(missing(&needed(&copies), &|_| true).is_empty());

        let bytes = archive(&made).unwrap();
        let mut reader = tar::Archive::new(bytes.as_slice());
        let entries: Vec<_> = reader.entries().unwrap().map(Result::unwrap).collect();
        let names: Vec<String> = entries.iter().map(|e| e.path().unwrap().to_string_lossy().into_owned()).collect();
        assert_eq!(names, ["home/dev/.config", "home/dev/.config/gh", "run/terok"]);
        assert!(entries.iter().all(|e| e.header().mode().unwrap() == 0o755 && e.header().uid().unwrap() == 1000));
    }
}
