//! The states of labelled containers, remembered for as long as nothing can have changed them.
//!
//! A listing costs podman a start and several file locks, and is asked for again and again. What it says depends on a
//! few files alone: podman's database, the storage's list of containers, the directory of exit notes, and the settings
//! that say where these are. Their stamps (inode, size, time of change) are taken before and after podman is asked and
//! kept with the answer; equal stamps later mean the same answer. Listing itself changes none of them.
//!
//! Refused: answers of a podman on another host, and answers whose witnesses are missing or changed a moment ago (two
//! changes within one tick of the file system's clock look the same). Then podman is asked every time.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::call::Podman;
use crate::container::QUERY;
use crate::fault::PodmanError;

const FILE: &str = "podman-states.json";
const LIMIT: u64 = 4 * 1024 * 1024;
/// Stamps younger than this prove nothing.
const SETTLED: Duration = Duration::from_millis(100);
const SETTINGS: [&str; 3] = ["storage.conf", "containers.conf", "containers.conf.d"];
const DATABASES: [&str; 4] = ["libpod/bolt_state.db", "db.sql", "db.sql-wal", "db.sql-journal"];
const VARIABLES: [&str; 4] = ["XDG_DATA_HOME", "XDG_RUNTIME_DIR", "CONTAINERS_STORAGE_CONF", "STORAGE_DRIVER"];

/// Inode, size, seconds and nanoseconds of the last change; `None` for a file that does not exist.
pub(crate) type Stamp = Option<(u64, u64, i64, i64)>;

/// Name and state, as podman lists them.
pub type States = Vec<(String, String)>;

#[derive(Serialize, Deserialize)]
struct Remembered {
    place: String,
    graph_root: PathBuf,
    label: String,
    witnesses: Vec<Stamp>,
    states: States,
}

impl Podman {
    /// As [`Podman::states_with_label`], from `directory` where that is certain to be what podman would say.
    ///
    /// # Errors
    /// As [`Podman::states_with_label`]. A memory that cannot be read or written is no fault.
    pub fn known_states(&self, label: &str, directory: &Path) -> Result<States, PodmanError> {
        let Some(place) = self.place() else { return self.states_with_label(label) };
        let path = directory.join(FILE);
        let known = read(&path).filter(|known| known.place == place);
        if let Some(known) = &known
            && known.label == label
            && witnesses(&known.graph_root).is_some_and(|now| now == known.witnesses)
        {
            return Ok(known.states.clone());
        }
        let root = known.map(|known| known.graph_root).or_else(|| self.graph_root());
        let before = root.as_deref().and_then(witnesses);
        let states = self.states_with_label(label)?;
        if let Some(graph_root) = root {
            let after = witnesses(&graph_root).filter(|after| settled(after) && Some(after) == before.as_ref());
            // Without proof only the place is worth keeping: no stamps are equal to none.
            let (label, witnesses) = (label.to_owned(), after.unwrap_or_default());
            let fresh = Remembered { place, graph_root, label, witnesses, states: states.clone() };
            let _ = base::file::write_private(&path, &serde_json::to_vec(&fresh).unwrap_or_default());
        }
        Ok(states)
    }

    /// Where this podman keeps images and containers.
    pub(crate) fn graph_root(&self) -> Option<PathBuf> {
        let answer =
            self.call("describe", "podman", ["info", "--format", "{{.Store.GraphRoot}}"]).limit(QUERY).answer()?;
        let path = PathBuf::from(answer);
        path.is_absolute().then_some(path)
    }

    /// Everything that decides where podman keeps its state; `None` for a podman on another host.
    pub(crate) fn place(&self) -> Option<String> {
        if ["CONTAINER_HOST", "CONTAINER_CONNECTION"].iter().any(|name| std::env::var_os(name).is_some()) {
            return None;
        }
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let own = base::env::xdg("XDG_CONFIG_HOME").or_else(|| Some(base::path::home()?.join(".config")))?;
        let folders = [own.join("containers"), "/etc/containers".into(), "/usr/share/containers".into()];
        let settings: Vec<Stamp> = folders.iter().flat_map(|f| SETTINGS.map(|name| stamp(&f.join(name)))).collect();
        let variables = VARIABLES.map(|name| std::env::var(name).unwrap_or_default());
        Some(format!("{}|{}|{variables:?}|{settings:?}", self.cache_key()?, boot.trim()))
    }
}

fn read(path: &Path) -> Option<Remembered> {
    serde_json::from_slice(&base::file::read_regular(path, LIMIT).ok()?).ok()
}

/// The stamps that decide the answer; `None` when a file that must be there is not.
fn witnesses(graph_root: &Path) -> Option<Vec<Stamp>> {
    let databases = DATABASES.map(|name| stamp(&graph_root.join(name)));
    databases[..2].iter().flatten().next()?;
    let containers = stamp(&graph_root.join("overlay-containers/containers.json"))?;
    let exits = stamp(&exits()?)?;
    Some(databases.into_iter().chain([Some(containers), Some(exits)]).collect())
}

/// Where the exit status of a container is noted before podman's database knows.
fn exits() -> Option<PathBuf> {
    if base::user::effective_uid() == 0 {
        return Some("/run/libpod/exits".into());
    }
    Some(base::env::xdg("XDG_RUNTIME_DIR")?.join("libpod/tmp/exits"))
}

pub(crate) fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

pub(crate) fn settled(stamps: &[Stamp]) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = |seconds: i64, nanos: i64| {
        let then = Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0));
        now.checked_sub(then).unwrap_or_default()
    };
    stamps.iter().flatten().all(|(_, _, seconds, nanos)| age(*seconds, *nanos) >= SETTLED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_witness_shows() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(witnesses(root.path()), None);
        let file = root.path().join("x");
        std::fs::write(&file, "1").unwrap();
        let first = stamp(&file);
        assert!(first.is_some() && !settled(&[first]));
        std::thread::sleep(SETTLED);
        assert!(settled(&[first, None]));
        std::fs::write(&file, "2").unwrap();
        assert_ne!(stamp(&file), first);
    }
}
