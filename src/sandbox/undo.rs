//! Takes a launch back: by its own process when it failed, by the next command when that process died.
//!
//! Invariants: a container is removed only when this launch made it; every step is tried, whatever the others did; what
//! could not be taken back stays in the journal for the next attempt. Directories are removed only by paths that we
//! derived from a checked name or that our own private journal holds.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use podman::Podman;
use serde::Serialize;

use crate::fault::LaunchError;
use crate::journal::{self, Journal, Token};
use crate::spec::Place;
use crate::{private, resources};

/// How long a podman process that outlived its launcher may take to end.
const STRAGGLER: Duration = Duration::from_secs(20);

/// How long podman may take to kill a container that is removed next.
const KILL: Duration = Duration::from_secs(10);

/// Revokes one token; the text of a failure.
pub type Revoke<'a> = &'a mut dyn FnMut(&Token) -> Result<(), String>;

/// What became of a launch that was taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Undone {
    /// The container name.
    pub container: String,
    /// True when a container was removed.
    pub container_removed: bool,
    /// What is left, and why; empty when nothing is.
    pub leftovers: Vec<String>,
}

/// Takes our own open launch of this name back; `None` when there is none.
///
/// # Errors
/// [`LaunchError::Name`].
pub fn abandon(place: &Place, podman: &Podman, container: &str, revoke: Revoke) -> Result<Option<Undone>, LaunchError> {
    Ok(journal::own(place, container)?.map(|journal| undo(place, podman, journal, revoke)))
}

/// Takes every launch back whose process is gone. Costs one directory listing when there is none.
pub fn recover(place: &Place, podman: &Podman, revoke: Revoke) -> Vec<Undone> {
    let Ok(entries) = std::fs::read_dir(journal::directory(place)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "json") && !is_hidden(path));
    if paths.is_empty() {
        return Vec::new();
    }
    let Ok(Some(_lock)) = base::lock::Lock::try_acquire(&journal::directory(place).join(".lock")) else {
        return Vec::new();
    };
    paths.sort();
    let dead = paths.iter().filter_map(|path| journal::read(path)).filter(|journal| !journal.launcher.alive());
    dead.map(|journal| undo(place, podman, journal, revoke)).collect()
}

/// Takes back what a container left that is gone or about to go: its sidecar, directories and tokens. False when nothing
/// is known about the name.
///
/// # Errors
/// [`LaunchError::Name`].
pub fn forget(place: &Place, podman: &Podman, container: &str, revoke: Revoke) -> Result<Option<Undone>, LaunchError> {
    base::ident::check_container_name(container)?;
    let record = place.run_state(container).join(journal::RECORD);
    let known = journal::read(&record);
    let traces = [place.sidecar(container), place.container_runtime_dir(container), place.run_state(container)];
    if known.is_none() && !traces.iter().any(|path| path.exists()) {
        return Ok(None);
    }
    let mut undone = Undone { container: container.to_owned(), ..Undone::default() };
    let (temp_dirs, tokens) = known.map(|j| (j.temp_dirs, j.tokens)).unwrap_or_default();
    let kept = revoke_all(&tokens, revoke, &mut undone);
    remove_files(place, podman, container, &temp_dirs, &mut undone);
    if kept.is_empty() {
        remove_tree(podman, &place.run_state(container), &mut undone);
    }
    Ok(Some(undone))
}

fn undo(place: &Place, podman: &Podman, mut journal: Journal, revoke: Revoke) -> Undone {
    let container = journal.container.clone();
    resources::release(place, &container);
    let mut undone = Undone { container: container.clone(), ..Undone::default() };
    let foreign = match remove_container(place, podman, &journal, &mut undone) {
        Ok(kept) => kept,
        Err(why) => {
            undone.leftovers.push(why);
            true
        }
    };
    journal.tokens = revoke_all(&journal.tokens, revoke, &mut undone);
    if foreign {
        remove_trees(podman, &journal.temp_dirs, &mut undone);
    } else {
        remove_files(place, podman, &container, &journal.temp_dirs, &mut undone);
        remove_tree(podman, &place.run_state(&container), &mut undone);
    }
    let path = journal::path(place, &container);
    let closed = if undone.leftovers.is_empty() {
        private::remove(&path)
    } else {
        journal.launcher.pid = 0;
        private::write(&path, &journal.text())
    };
    if let Err(error) = closed {
        undone.leftovers.push(format!("journal `{}`: {error}", path.display()));
    }
    undone
}

/// Removes the container of this launch. True when a container of that name stays that uses the launch's files.
fn remove_container(place: &Place, podman: &Podman, journal: &Journal, undone: &mut Undone) -> Result<bool, String> {
    if !journal.container_started {
        return Ok(false);
    }
    let deadline = Instant::now() + STRAGGLER;
    while crate::process::podman_is_launching(&journal.container) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let found = match podman.inspect(&journal.container) {
        Ok(found) => found,
        Err(podman::PodmanError::Missing { .. }) => None,
        Err(fault) => return Err(base::fault::explain(&fault)),
    };
    let Some(found) = found else { return Ok(false) };
    let sidecar = place.sidecar(&journal.container);
    let annotation = found.annotation(wire::sidecar::ANNOTATION).map(Path::new);
    let uses_ours = annotation == Some(sidecar.as_path());
    let made_as_described = if sidecar.exists() { uses_ours } else { annotation.is_none() };
    let made_since = found.created_unix().is_some_and(|created| created >= journal.begun);
    if journal.name_taken || !(made_as_described && made_since) {
        return Ok(uses_ours);
    }
    // It has nothing to finish, and its first process would sit out podman's patience with it.
    let _ = podman.call("kill", &found.id, ["kill", "--signal", "KILL", &found.id]).limit(KILL).output();
    let removal = podman.force_remove(std::slice::from_ref(&found.id)).remove(0);
    undone.container_removed = removal.removed;
    removal.error.map_or(Ok(false), |why| Err(format!("container `{}`: {why}", journal.container)))
}

fn revoke_all(tokens: &[Token], revoke: Revoke, undone: &mut Undone) -> Vec<Token> {
    let mut kept = Vec::new();
    for token in tokens {
        if let Err(why) = revoke(token) {
            undone.leftovers.push(format!("token of `{}` for `{}`: {why}", token.scope, token.subject));
            kept.push(token.clone());
        }
    }
    kept
}

fn remove_files(place: &Place, podman: &Podman, container: &str, temp_dirs: &[PathBuf], undone: &mut Undone) {
    let sidecar = place.sidecar(container);
    if let Err(error) = private::remove(&sidecar) {
        undone.leftovers.push(format!("sidecar `{}`: {error}", sidecar.display()));
    }
    remove_tree(podman, &place.container_runtime_dir(container), undone);
    remove_trees(podman, temp_dirs, undone);
}

fn remove_trees(podman: &Podman, directories: &[PathBuf], undone: &mut Undone) {
    directories.iter().for_each(|directory| remove_tree(podman, directory, undone));
}

/// Removes a directory; what belongs to ids of the container needs podman's user namespace.
fn remove_tree(podman: &Podman, directory: &Path, undone: &mut Undone) {
    if !directory.is_absolute() || directory.components().count() < 3 {
        return;
    }
    let error = match std::fs::remove_dir_all(directory) {
        Ok(()) => return,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => error,
    };
    if error.kind() == std::io::ErrorKind::PermissionDenied && base::user::effective_uid() != 0 {
        let path = directory.to_string_lossy();
        let args = ["unshare", "rm", "-rf", "--", &path];
        if podman.call("remove", &path, args).limit(Duration::from_secs(60)).success().is_ok() {
            return;
        }
    }
    undone.leftovers.push(format!("directory `{}`: {error}", directory.display()));
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Note;

    struct Bench {
        _root: tempfile::TempDir,
        place: Place,
        podman: Podman,
    }

    impl Bench {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let place = Place {
                state_dir: root.path().join("s"),
                runtime_dir: root.path().join("r"),
                tcp: false,
                allow_root: false,
            };
            Self { place, podman: Podman::at("/nonexistent/podman"), _root: root }
        }

        fn launch(&self) -> PathBuf {
            let temp = self.place.state_dir.join("temp/x");
            journal::begin(&self.place, &self.podman, "c1").unwrap();
            crate::resources::allocate(&self.place, "c1").unwrap();
            std::fs::create_dir_all(&temp).unwrap();
            private::write(&self.place.sidecar("c1"), b"{}").unwrap();
            journal::note(&self.place, "c1", Note::TempDir { path: temp.clone() }).unwrap();
            let token = Note::Token { scope: "default".into(), subject: "t1".into() };
            journal::note(&self.place, "c1", token).unwrap();
            temp
        }

        fn orphan(&self) {
            let path = journal::path(&self.place, "c1");
            let mut journal = journal::read(&path).unwrap();
            journal.launcher.start += 1;
            private::write(&path, &journal.text()).unwrap();
        }

        fn is_clean(&self, temp: &Path) -> bool {
            let gone = [temp, &self.place.sidecar("c1"), &self.place.container_runtime_dir("c1")];
            gone.iter().all(|path| !path.exists()) && !journal::path(&self.place, "c1").exists()
        }
    }

    #[test]
    fn a_failed_launch_leaves_nothing() {
        let bench = Bench::new();
        let temp = bench.launch();
        let mut revoked = Vec::new();
        let undone = abandon(&bench.place, &bench.podman, "c1", &mut |t| {
            revoked.push(t.subject.clone());
            Ok(())
        });
        assert_eq!(undone.unwrap().unwrap().leftovers, Vec::<String>::new());
        assert!(bench.is_clean(&temp));
        assert_eq!(revoked, ["t1"]);
    }

    #[test]
    fn only_launches_of_dead_processes_are_recovered() {
        let bench = Bench::new();
        let temp = bench.launch();
        assert!(recover(&bench.place, &bench.podman, &mut |_| Ok(())).is_empty());
        assert!(temp.exists());
        bench.orphan();
        let undone = recover(&bench.place, &bench.podman, &mut |_| Ok(()));
        assert_eq!((undone.len(), undone[0].container.as_str()), (1, "c1"));
        assert!(bench.is_clean(&temp));
        assert!(recover(&bench.place, &bench.podman, &mut |_| Ok(())).is_empty());
    }

    #[test]
    fn a_token_that_cannot_be_revoked_is_tried_again() {
        let bench = Bench::new();
        let temp = bench.launch();
        bench.orphan();
        let undone = recover(&bench.place, &bench.podman, &mut |_| Err("vault locked".into()));
        assert!(undone[0].leftovers[0].contains("vault locked"));
        assert!(!temp.exists() && journal::path(&bench.place, "c1").exists());
        let undone = recover(&bench.place, &bench.podman, &mut |_| Ok(()));
        assert!(undone[0].leftovers.is_empty() && bench.is_clean(&temp));
    }

    #[test]
    fn what_a_finished_container_left_is_forgotten_once() {
        let bench = Bench::new();
        let temp = bench.launch();
        journal::finish(&bench.place, "c1").unwrap();
        let mut revoked = 0;
        let undone = forget(&bench.place, &bench.podman, "c1", &mut |_| {
            revoked += 1;
            Ok(())
        });
        assert!(undone.unwrap().unwrap().leftovers.is_empty());
        assert!(bench.is_clean(&temp) && revoked == 1);
        assert_eq!(forget(&bench.place, &bench.podman, "c1", &mut |_| Ok(())).unwrap(), None);
        assert!(forget(&bench.place, &bench.podman, "../x", &mut |_| Ok(())).is_err());
    }
}
