//! From an annotation's text to a validated sidecar.
//!
//! Anybody who may start containers may write any annotation, so the path is held to strict rules: absolute, no `..`,
//! directly in a directory named `sidecar`, a plain file of ours that nobody else can write.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use wire::sidecar::{DIRECTORY, SIZE_LIMIT, Sidecar};

use crate::fault::SupervisorError;

/// A sidecar's place; it need not exist (any more).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidecarFile {
    /// The file.
    pub path: PathBuf,
    /// The state root, two levels above it.
    pub root: PathBuf,
}

impl SidecarFile {
    /// Checks the form of a path.
    ///
    /// # Errors
    /// [`SupervisorError::Annotation`].
    pub fn locate(text: &str) -> Result<Self, SupervisorError> {
        let refuse = |why| SupervisorError::Annotation { path: text.to_owned(), why };
        let path = Path::new(text);
        if !path.is_absolute() {
            return Err(refuse("it is not an absolute path"));
        }
        if path.components().any(|c| c == Component::ParentDir) {
            return Err(refuse("it has a `..` in it"));
        }
        let directory = path.parent().filter(|_| path.file_name().is_some());
        let directory = directory.filter(|d| d.file_name() == Some(DIRECTORY.as_ref()));
        let root = directory.and_then(Path::parent);
        let root = root.ok_or_else(|| refuse("it is not in a directory named `sidecar`"))?;
        Ok(Self { path: path.to_owned(), root: root.to_owned() })
    }

    /// Reads and validates the sidecar.
    ///
    /// # Errors
    /// [`SupervisorError::ReadSidecar`], [`SupervisorError::Annotation`] for a file that is not plain or not ours alone,
    /// [`SupervisorError::Sidecar`] for its content.
    pub fn read(&self) -> Result<Sidecar, SupervisorError> {
        let unreadable = |source| SupervisorError::ReadSidecar { path: self.path.clone(), source };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, &self.path, flags, Mode::empty());
        let fd = fd.map_err(|e| unreadable(e.into()))?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| unreadable(e.into()))?;
        self.check_owner(&stat)?;
        let mut text = Vec::new();
        let read = File::from(fd).take(SIZE_LIMIT + 1).read_to_end(&mut text);
        read.map_err(unreadable)?;
        if text.len() as u64 > SIZE_LIMIT {
            return Err(self.refuse("it is larger than a sidecar can be"));
        }
        Sidecar::parse(&text).map_err(|source| SupervisorError::Sidecar { path: self.path.clone(), source })
    }

    /// In podman's user namespace we are uid 0, and so is the owner of everything the operator wrote.
    fn check_owner(&self, stat: &rustix::fs::Stat) -> Result<(), SupervisorError> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.refuse("it is not a plain file"));
        }
        if stat.st_uid != base::user::effective_uid() {
            return Err(self.refuse("it belongs to somebody else"));
        }
        if stat.st_mode & 0o022 != 0 {
            return Err(self.refuse("others may write to it"));
        }
        Ok(())
    }

    fn refuse(&self, why: &'static str) -> SupervisorError {
        SupervisorError::Annotation { path: self.path.to_string_lossy().into_owned(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const GOOD: &str = r#"{"container_name": "c", "db_path": "/v/d", "runtime_dir": "/r"}"#;

    #[test]
    fn forms() {
        let found = SidecarFile::locate("/state/sidecar/c.json").unwrap();
        assert_eq!(found.root, Path::new("/state"));
        for bad in [
            "",
            "sidecar/c.json",
            "/etc/passwd",
            "/state/sidecar/../sidecar/c.json",
            "/state/sidecar/x/c.json",
            "/sidecar",
            "/",
        ] {
            assert!(SidecarFile::locate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_plain_private_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("sidecar");
        std::fs::create_dir(&folder).unwrap();
        let file = |name: &str| SidecarFile::locate(folder.join(name).to_str().unwrap()).unwrap();
        std::fs::write(folder.join("a.json"), GOOD).unwrap();
        assert_eq!(file("a.json").read().unwrap().container_name, "c");
        symlink(folder.join("a.json"), folder.join("l.json")).unwrap();
        assert!(file("l.json").read().is_err());
        assert!(matches!(file("gone.json").read(), Err(SupervisorError::ReadSidecar { .. })));
        let open = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(folder.join("a.json"), open).unwrap();
        assert!(matches!(file("a.json").read(), Err(SupervisorError::Annotation { .. })));
        std::fs::create_dir(folder.join("d.json")).unwrap();
        assert!(matches!(file("d.json").read(), Err(SupervisorError::Annotation { .. })));
        std::fs::write(folder.join("b.json"), "[]").unwrap();
        assert!(matches!(file("b.json").read(), Err(SupervisorError::Sidecar { .. })));
    }
}
