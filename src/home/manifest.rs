//! The record of the copies of one task: where they came from, what flows back, and the values at the time of the copy.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fault::HomeError;
use crate::shape::Rules;

const NAME: &str = "copies.json";
const VERSION: u32 = 1;
const LIMIT: u64 = 16 * 1024 * 1024;

/// One record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    /// Directory of the shared folders.
    pub mounts: PathBuf,
    /// Copied folders by name.
    pub folders: IndexMap<String, Copied>,
}

/// One copied folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Copied {
    /// Files and keys that flow back.
    #[serde(default)]
    pub flows_back: Rules,
    /// Values that the shared folder had, by file; a key that still has its value does not flow back.
    #[serde(default)]
    pub baseline: IndexMap<String, Map<String, Value>>,
}

impl Manifest {
    /// An empty record.
    pub fn new(mounts: &Path) -> Self {
        Self { version: VERSION, mounts: mounts.to_owned(), folders: IndexMap::new() }
    }

    /// Reads the record of `home`; `None` when there is none.
    ///
    /// # Errors
    /// [`HomeError::File`], [`HomeError::Manifest`].
    pub fn read(home: &Path) -> Result<Option<Self>, HomeError> {
        let path = home.join(NAME);
        let bytes = match base::file::read_regular(&path, LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(HomeError::file("read", &path)(error)),
        };
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(manifest) if manifest.version == VERSION && manifest.mounts.is_absolute() => Ok(Some(manifest)),
            Ok(_) => Err(HomeError::Manifest { path, why: "unknown version or relative path".into() }),
            Err(error) => Err(HomeError::Manifest { path, why: error.to_string() }),
        }
    }

    /// Replaces the record. It must survive our process, not the machine, so it is not forced to the disk.
    ///
    /// # Errors
    /// [`HomeError::File`].
    pub fn write(&self, home: &Path) -> Result<(), HomeError> {
        use std::os::unix::fs::OpenOptionsExt;
        let (path, temporary) = (home.join(NAME), home.join(format!(".{NAME}.{}.tmp", base::ident::random_hex(6))));
        let text = serde_json::to_vec(self).expect("plain values serialise");
        let open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
        open.and_then(|mut file| std::io::Write::write_all(&mut file, &text))
            .and_then(|()| std::fs::rename(&temporary, &path))
            .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
            .map_err(HomeError::file("write", &path))
    }
}
