//! Directories and once-written secrets that callers prepare before they use them.
//!
//! Refuses to write a secret into a directory reached through a link in its last component, and never overwrites one.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags};

use crate::fault::{Fault, Kind};
use crate::{file, text, user};

/// Why a directory or secret could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The directory could not be made.
    #[error("cannot create {label} directory `{}`", .path.display())]
    Create {
        /// What the directory is for.
        label: String,
        /// The directory.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// Something else has that name.
    #[error("cannot use `{}` as {label} directory: it is not a directory", .path.display())]
    NotDirectory {
        /// What the directory is for.
        label: String,
        /// The path.
        path: PathBuf,
    },
    /// We may not write there.
    #[error("cannot write to {label} directory `{}` as uid {uid}, gid {gid}", .path.display())]
    NotWritable {
        /// What the directory is for.
        label: String,
        /// The directory.
        path: PathBuf,
        /// Our uid.
        uid: u32,
        /// Our gid.
        gid: u32,
    },
    /// A secret would go through a link.
    #[error("refusing to write `{}`: its directory is a symbolic link", .0.display())]
    LinkedParent(PathBuf),
    /// A secret could not be written; nothing of it is left.
    #[error("cannot write `{}`", .path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
}

impl Fault for FolderError {
    fn code(&self) -> &'static str {
        match self {
            Self::Create { .. } => "folder-create",
            Self::NotDirectory { .. } => "folder-not-directory",
            Self::NotWritable { .. } => "folder-not-writable",
            Self::LinkedParent(_) => "folder-linked-parent",
            Self::Secret { .. } => "folder-write-secret",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotWritable { path, uid, gid, .. } => {
                let owner = format!("{uid}:{gid}");
                Some(text::command_line([
                    "sudo".as_ref(),
                    "chown".as_ref(),
                    "-R".as_ref(),
                    owner.as_ref(),
                    path.as_os_str(),
                ]))
            }
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::LinkedParent(_) => Kind::Runtime,
            Self::Secret { .. } => Kind::Os,
            _ => Kind::Usage,
        }
    }
}

/// Makes sure that `path` is a directory we can create entries in; `label` says in messages what it is for.
///
/// # Errors
/// [`FolderError`] of class usage.
pub fn ensure_writable(path: &Path, label: &str) -> Result<(), FolderError> {
    let (label, path_buf) = (label.to_owned(), path.to_owned());
    if path.exists() && !path.is_dir() {
        return Err(FolderError::NotDirectory { label, path: path_buf });
    }
    if let Err(source) = std::fs::create_dir_all(path) {
        return Err(FolderError::Create { label, path: path_buf, source });
    }
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    match rustix::fs::accessat(CWD, path, wanted, AtFlags::EACCESS) {
        Ok(()) => Ok(()),
        Err(_) => Err(FolderError::NotWritable {
            label,
            path: path_buf,
            uid: user::effective_uid(),
            gid: rustix::process::getegid().as_raw(),
        }),
    }
}

/// Writes a secret once: its directory becomes 0700, the file 0600; false when something has that name already.
///
/// # Errors
/// [`FolderError::LinkedParent`] or [`FolderError::Secret`].
pub fn write_sensitive(path: &Path, content: &[u8]) -> Result<bool, FolderError> {
    let fail = |source: io::Error| FolderError::Secret { path: path.to_owned(), source };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    file::create_private_dir(parent).map_err(fail)?;
    if parent.symlink_metadata().map_err(fail)?.is_symlink() {
        return Err(FolderError::LinkedParent(path.to_owned()));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, parent, flags, Mode::empty()).map_err(|e| fail(e.into()))?;
    rustix::fs::fchmod(&dir, Mode::from_raw_mode(0o700)).map_err(|e| fail(e.into()))?;
    file::create_new(path, content, file::PRIVATE).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_are_written_once_and_privately() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("p");
        std::fs::create_dir(&parent).unwrap();
        let path = parent.join("key");
        assert!(write_sensitive(&path, b"one").unwrap());
        assert!(!write_sensitive(&path, b"two").unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!((mode(&path), mode(&parent)), (0o600, 0o700));
        symlink("nowhere", parent.join("dangling")).unwrap();
        assert!(!write_sensitive(&parent.join("dangling"), b"x").unwrap());
        symlink(&parent, dir.path().join("link")).unwrap();
        let refused = write_sensitive(&dir.path().join("link/other"), b"x").unwrap_err();
        assert_eq!((refused.code(), refused.kind()), ("folder-linked-parent", Kind::Runtime));
        assert!(!parent.join("other").exists());
    }

    #[test]
    fn unusable_directories_are_explained() {
        let dir = tempfile::tempdir().unwrap();
        ensure_writable(&dir.path().join("a/b"), "state").unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(ensure_writable(&file, "state").unwrap_err().code(), "folder-not-directory");
        let below = ensure_writable(&file.join("x"), "state").unwrap_err();
        assert!(below.to_string().contains("state") && below.kind() == Kind::Usage);
        let denied = FolderError::NotWritable { label: "state".into(), path: "/a b".into(), uid: 7, gid: 8 };
        assert_eq!(denied.hint().unwrap(), "sudo chown -R 7:8 '/a b'");
    }
}
