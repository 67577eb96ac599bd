//! The `containers.conf` files that podman reads when this process calls it, in their order.
//!
//! Invariants: nothing is written here; a file that does not exist is no fault; a file that podman would refuse is one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base::fault::{Fault, Kind};
use toml_edit::DocumentMut;

/// The system's file, for every account of the machine.
pub const SYSTEM: &str = "/etc/containers/containers.conf";
/// The distribution's file.
pub const VENDOR: &str = "/usr/share/containers/containers.conf";
/// Makes podman read one file instead of all others.
pub const ALONE: &str = "CONTAINERS_CONF";
/// Makes podman 4.6 and newer read one more file after all others.
pub const LAST: &str = "CONTAINERS_CONF_OVERRIDE";
const SIZE_LIMIT: u64 = 1024 * 1024;

/// Why a file of podman's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfFileError {
    /// It cannot be read.
    #[error("cannot read podman's configuration `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is not TOML.
    #[error("cannot understand podman's configuration `{}`", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: toml_edit::TomlError,
    },
    /// A part of it has a shape that podman does not take.
    #[error("cannot use podman's configuration `{}`: {why}", .path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Fault for ConfFileError {
    fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "hook-conf-file",
            Self::Syntax { .. } => "hook-conf-syntax",
            Self::Shape { .. } => "hook-conf-shape",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { path, .. } => Some(format!("make `{}` readable for this account", path.display())),
            Self::Syntax { .. } | Self::Shape { .. } => Some("correct the file; podman refuses it as well".into()),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } => Kind::Os,
            Self::Syntax { .. } | Self::Shape { .. } => Kind::Value,
        }
    }
}

/// How podman chooses among its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Podman 4 and 5: every file is read, and a later one replaces single settings.
    Layered,
    /// Podman 6: the first main file that exists, then drop-ins in the order of their names.
    FirstMain,
}

impl Rules {
    /// The rules of a podman version.
    pub fn of(version: (u32, u32)) -> Self {
        if version.0 >= 6 { Self::FirstMain } else { Self::Layered }
    }
}

/// The files of one caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfFiles {
    /// Files that are read when no variable names another one.
    pub usual: Vec<PathBuf>,
    /// The account's own file: the user's, for real root the system's.
    pub own: PathBuf,
    /// The file that [`ALONE`] names.
    pub alone: Option<PathBuf>,
    /// The file that [`LAST`] names.
    pub last: Option<PathBuf>,
}

impl ConfFiles {
    /// The files that podman reads when this process calls it.
    pub fn detect(rules: Rules) -> Self {
        let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let config = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
        let user = config.map(|dir| dir.join("containers/containers.conf"));
        let uid = (!base::user::is_really_root()).then(base::user::effective_uid);
        Self { alone: variable(ALONE), last: variable(LAST), ..Self::of(rules, uid, user) }
    }

    /// The files of the account `uid`, of real root when it is missing.
    fn of(rules: Rules, uid: Option<u32>, user: Option<PathBuf>) -> Self {
        let usual = match rules {
            Rules::Layered => layered(uid, user.as_deref()),
            Rules::FirstMain => first_main(uid, user.as_deref()),
        };
        // Older versions of podman do not read a user's file for root.
        let own = user.filter(|_| uid.is_some()).unwrap_or_else(|| SYSTEM.into());
        Self { usual, own, alone: None, last: None }
    }

    /// One file and nothing else.
    pub fn only(path: &Path) -> Self {
        Self { usual: vec![path.to_owned()], own: path.to_owned(), alone: None, last: None }
    }

    /// The files in the order in which podman reads them; what a later one says counts.
    pub fn read_order(&self) -> impl Iterator<Item = &Path> {
        let first = match &self.alone {
            Some(alone) => std::slice::from_ref(alone),
            None => self.usual.as_slice(),
        };
        first.iter().chain(&self.last).map(PathBuf::as_path)
    }
}

/// Every file that podman 4 or 5 reads; the rootless ones of the system are known from 5.8 on.
fn layered(uid: Option<u32>, user: Option<&Path>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = [VENDOR, SYSTEM].map(PathBuf::from).into();
    files.extend(drop_ins(&Path::new(SYSTEM).with_extension("conf.d")));
    let Some(uid) = uid else { return files };
    let rootless = Path::new(SYSTEM).with_file_name("containers.rootless.conf");
    let folder = rootless.with_extension("conf.d");
    files.push(rootless);
    files.extend(drop_ins(&folder));
    files.extend(drop_ins(&folder.join(uid.to_string())));
    if let Some(user) = user {
        files.push(user.to_owned());
        files.extend(drop_ins(&user.with_extension("conf.d")));
    }
    files
}

/// The main file and the drop-ins that podman 6 reads; of two drop-ins with one name the more special one counts.
fn first_main(uid: Option<u32>, user: Option<&Path>) -> Vec<PathBuf> {
    let mains = user.into_iter().chain([Path::new(SYSTEM), Path::new(VENDOR)]);
    let main = mains.into_iter().find(|path| path.exists()).map(Path::to_owned);
    let mut folders = Vec::new();
    for system in [VENDOR, SYSTEM] {
        let system = Path::new(system);
        folders.push(system.with_extension("conf.d"));
        match uid {
            None => folders.push(system.with_file_name("containers.rootful.conf.d")),
            Some(uid) => {
                let rootless = system.with_file_name("containers.rootless.conf.d");
                folders.extend([rootless.clone(), rootless.join(uid.to_string())]);
            }
        }
    }
    folders.extend(user.map(|user| user.with_extension("conf.d")));
    main.into_iter().chain(by_name(&folders)).collect()
}

/// The drop-ins of several directories in the order of their names; a later directory replaces files of equal name.
fn by_name(folders: &[PathBuf]) -> impl Iterator<Item = PathBuf> + use<> {
    let mut named = BTreeMap::new();
    for path in folders.iter().flat_map(|folder| drop_ins(folder)) {
        named.insert(path.file_name().map(ToOwned::to_owned), path);
    }
    named.into_values()
}

/// `*.conf` in a directory, in order.
fn drop_ins(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder);
    let mut files: Vec<PathBuf> = entries.into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.retain(|path| path.extension() == Some("conf".as_ref()) && !path.is_dir());
    files.sort();
    files
}

/// Reads one file; `None` when there is none.
///
/// # Errors
/// [`ConfFileError`].
pub fn load(path: &Path) -> Result<Option<DocumentMut>, ConfFileError> {
    let failed = |source| ConfFileError::Read { path: path.to_owned(), source };
    // The operator's own file may be a link, as dotfile managers make them.
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let bytes = base::file::read_regular(&real, SIZE_LIMIT).map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|e| failed(io::Error::other(e)))?;
    text.parse().map(Some).map_err(|source| ConfFileError::Syntax { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(root: &Path, name: &str, files: &[&str]) -> PathBuf {
        let folder = root.join(name);
        std::fs::create_dir(&folder).unwrap();
        for file in files {
            std::fs::write(folder.join(file), "").unwrap();
        }
        folder
    }

    #[test]
    fn read_order_follows_podmans_variables() {
        let files = ConfFiles::only(Path::new("/usual"));
        assert_eq!(files.read_order().collect::<Vec<_>>(), [Path::new("/usual")]);
        let files = ConfFiles { alone: Some("/a".into()), last: Some("/b".into()), ..files };
        assert_eq!(files.read_order().collect::<Vec<_>>(), [Path::new("/a"), Path::new("/b")]);
    }

    #[test]
    fn layered_files_end_with_the_users() {
        let dir = tempfile::tempdir().unwrap();
        let user = dir.path().join("containers.conf");
        folder(dir.path(), "containers.conf.d", &["b.conf", "a.conf", "c.txt"]);
        let files = layered(Some(1000), Some(&user));
        let end =
            [user.clone(), dir.path().join("containers.conf.d/a.conf"), dir.path().join("containers.conf.d/b.conf")];
        assert!(files.starts_with(&[VENDOR.into(), SYSTEM.into()]) && files.ends_with(&end), "{files:?}");
        let root = ConfFiles::of(Rules::Layered, None, Some(user.clone()));
        assert!(root.own == Path::new(SYSTEM) && !root.usual.contains(&user), "root has the system's file");
    }

    #[test]
    fn podman_six_reads_one_main_file_and_drop_ins_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let (low, high) =
            (folder(dir.path(), "low", &["10.conf", "30.conf"]), folder(dir.path(), "high", &["10.conf", "20.conf"]));
        let found: Vec<_> = by_name(&[low.clone(), high.clone()]).collect();
        assert_eq!(found, [high.join("10.conf"), high.join("20.conf"), low.join("30.conf")]);
        let user = dir.path().join("containers.conf");
        std::fs::write(&user, "").unwrap();
        assert_eq!(first_main(Some(1000), Some(&user)).first(), Some(&user));
        assert_eq!(Rules::of((6, 1)), Rules::FirstMain);
        assert_eq!(Rules::of((5, 8)), Rules::Layered);
    }
}
