//! The launch journal: what a launch has made so far, so that somebody can take it back.
//!
//! A journal is written before the first side effect, extended before each further one, and removed when the launch is
//! complete; what a running container keeps using (temporary directories, tokens) moves to its record. A journal whose
//! process is gone is a launch to take back; a name with a journal of a living process is being launched.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use podman::Podman;
use serde::{Deserialize, Serialize};

use crate::fault::LaunchError;
use crate::process::Identity;
use crate::spec::Place;
use crate::{private, resources};

const SIZE_LIMIT: u64 = 256 * 1024;
/// A journal that cannot be read for so long will never be.
const TORN_AFTER: Duration = Duration::from_secs(60);
/// Name of a running container's record in its state directory.
pub const RECORD: &str = "launch.json";

/// A phantom token that a launch minted, as the vault revokes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Credential scope.
    pub scope: String,
    /// For whom it was minted.
    pub subject: String,
}

/// Something more that a launch is about to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Note {
    /// A directory for this run alone.
    TempDir {
        /// Absolute path.
        path: PathBuf,
    },
    /// A token in the vault.
    Token {
        /// Credential scope.
        scope: String,
        /// For whom.
        subject: String,
    },
    /// Podman is about to be called.
    Container,
    /// Podman says that the name belongs to another container.
    NameTaken,
}

/// The journal of one launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Container name.
    pub container: String,
    /// Who launches.
    pub launcher: Identity,
    /// When it began, in seconds since 1970.
    pub begun: i64,
    /// True from just before podman is called.
    #[serde(default)]
    pub container_started: bool,
    /// True when the container of this name is not ours.
    #[serde(default)]
    pub name_taken: bool,
    /// Directories for this run alone.
    #[serde(default)]
    pub temp_dirs: Vec<PathBuf>,
    /// Tokens in the vault.
    #[serde(default)]
    pub tokens: Vec<Token>,
}

impl Journal {
    fn new(container: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
        Self {
            container: container.to_owned(),
            launcher: Identity::own(),
            begun: now,
            container_started: false,
            name_taken: false,
            temp_dirs: Vec::new(),
            tokens: Vec::new(),
        }
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("plain values serialise")
    }

    fn add(&mut self, note: Note) {
        match note {
            Note::TempDir { path } => self.temp_dirs.push(path),
            Note::Token { scope, subject } => self.tokens.push(Token { scope, subject }),
            Note::Container => self.container_started = true,
            Note::NameTaken => self.name_taken = true,
        }
    }
}

/// Directory of all journals.
pub fn directory(place: &Place) -> PathBuf {
    place.state_dir.join("launches")
}

/// The journal file of one container. The name must have been checked.
pub fn path(place: &Place, container: &str) -> PathBuf {
    directory(place).join(format!("{container}.json"))
}

/// Reads a journal; `None` when there is none or it is not one.
pub fn read(path: &Path) -> Option<Journal> {
    let journal: Journal = serde_json::from_slice(&base::file::read_regular(path, SIZE_LIMIT).ok()?).ok()?;
    base::ident::check_container_name(&journal.container).ok()?;
    Some(journal)
}

/// Opens the journal of a launch; our own open one is continued.
///
/// Leftovers of the name are looked at only when its runtime directory or sidecar exists: then podman is asked whether
/// the container does, and an existing container is not touched.
///
/// # Errors
/// [`LaunchError::Name`], [`LaunchError::Busy`] while another process launches the name, [`LaunchError::NameInUse`],
/// [`LaunchError::Io`].
pub fn begin(place: &Place, podman: &Podman, container: &str) -> Result<Journal, LaunchError> {
    base::ident::check_container_name(container)?;
    let path = path(place, container);
    if let Some(open) = read(&path) {
        return if open.launcher == Identity::own() {
            Ok(open)
        } else {
            Err(LaunchError::Busy { container: container.to_owned(), pid: open.launcher.pid })
        };
    }
    let leftovers = place.container_runtime_dir(container).exists() || place.sidecar(container).exists();
    if leftovers && podman.state(container).is_some() {
        return Err(LaunchError::NameInUse(container.to_owned()));
    }
    let journal = Journal::new(container);
    let create = || private::create(&path, &journal.text()).map_err(LaunchError::io("write", &path));
    if create()? {
        return Ok(journal);
    }
    let other = read(&path);
    if other.is_none() && is_torn(&path) {
        private::remove(&path).map_err(LaunchError::io("remove", &path))?;
        if create()? {
            return Ok(journal);
        }
    }
    Err(LaunchError::Busy { container: container.to_owned(), pid: other.map_or(0, |other| other.launcher.pid) })
}

/// True for a file that stays unreadable: journals appear whole, but a power cut may take their content.
fn is_torn(path: &Path) -> bool {
    let changed = std::fs::symlink_metadata(path).and_then(|meta| meta.modified());
    changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > TORN_AFTER))
}

/// Writes down what is about to be made; without an open journal of ours nothing happens, and the answer is false.
///
/// # Errors
/// [`LaunchError::Name`], [`LaunchError::Io`].
pub fn note(place: &Place, container: &str, note: Note) -> Result<bool, LaunchError> {
    let Some(mut journal) = own(place, container)? else { return Ok(false) };
    journal.add(note);
    let path = path(place, container);
    private::write(&path, &journal.text()).map_err(LaunchError::io("write", &path))?;
    Ok(true)
}

/// Our open journal for this name.
///
/// # Errors
/// [`LaunchError::Name`].
pub fn own(place: &Place, container: &str) -> Result<Option<Journal>, LaunchError> {
    base::ident::check_container_name(container)?;
    Ok(read(&path(place, container)).filter(|journal| journal.launcher == Identity::own()))
}

/// Closes the journal of a complete launch; directories and tokens pass to the record of the container.
///
/// # Errors
/// [`LaunchError::Name`], [`LaunchError::Io`].
pub fn finish(place: &Place, container: &str) -> Result<(), LaunchError> {
    let Some(journal) = own(place, container)? else { return Ok(()) };
    resources::release(place, container);
    if !(journal.temp_dirs.is_empty() && journal.tokens.is_empty()) {
        let record = place.run_state(container).join(RECORD);
        private::write(&record, &journal.text()).map_err(LaunchError::io("write", &record))?;
    }
    let path = path(place, container);
    private::remove(&path).map_err(LaunchError::io("remove", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &Path) -> Place {
        Place { state_dir: root.join("s"), runtime_dir: root.join("r"), tcp: false, allow_root: false }
    }

    #[test]
    fn a_launch_from_begin_to_finish() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path());
        let podman = Podman::at("/nonexistent/podman");
        let begun = begin(&place, &podman, "c1").unwrap();
        assert_eq!(begin(&place, &podman, "c1").unwrap(), begun);
        assert!(note(&place, "c1", Note::TempDir { path: "/tmp/x".into() }).unwrap());
        assert!(note(&place, "c1", Note::Token { scope: "default".into(), subject: "t".into() }).unwrap());
        assert!(note(&place, "c1", Note::Container).unwrap());
        assert!(!note(&place, "other", Note::Container).unwrap());
        let open = own(&place, "c1").unwrap().unwrap();
        assert!(open.container_started && open.temp_dirs == [PathBuf::from("/tmp/x")]);
        finish(&place, "c1").unwrap();
        assert_eq!(own(&place, "c1").unwrap(), None);
        let record = read(&place.run_state("c1").join(RECORD)).unwrap();
        assert_eq!(record.tokens, [Token { scope: "default".into(), subject: "t".into() }]);
    }

    #[test]
    fn a_name_that_somebody_else_launches_is_busy() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path());
        let mut other = Journal::new("c1");
        other.launcher.pid = 1;
        private::write(&path(&place, "c1"), &other.text()).unwrap();
        let fault = begin(&place, &Podman::new(), "c1").unwrap_err();
        assert!(matches!(fault, LaunchError::Busy { pid: 1, .. }));
        assert!(!note(&place, "c1", Note::Container).unwrap());
        assert!(begin(&place, &Podman::new(), "../x").is_err());
    }

    #[test]
    fn what_a_power_cut_left_of_a_journal_does_not_block_its_name() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path());
        for torn in ["", "\0\0\0\0", "{\"container\": \"c1\""] {
            let file = path(&place, "c1");
            private::write(&file, torn.as_bytes()).unwrap();
            let young = begin(&place, &Podman::at("/nonexistent/podman"), "c1");
            assert!(matches!(young, Err(LaunchError::Busy { .. })), "somebody may be about to replace it");
            std::fs::File::open(&file).unwrap().set_modified(SystemTime::now() - 2 * TORN_AFTER).unwrap();
            begin(&place, &Podman::at("/nonexistent/podman"), "c1").unwrap();
            assert!(own(&place, "c1").unwrap().is_some(), "{torn:?}");
            private::remove(&file).unwrap();
        }
    }
}
