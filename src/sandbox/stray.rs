//! Clears away what containers left that were removed behind our back, by `podman rm` or `podman system reset`.
//!
//! Invariants: at most one look in ten minutes for one state directory; nothing younger than an hour is touched; nothing
//! at all when podman cannot list its containers. A container of another store whose supervisor runs counts as present.
//! So does one that was prepared to be run by hand at an unknown later time.

use std::collections::{BTreeSet, HashSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use podman::Podman;

use crate::hooksweep::{STRAY_AGE, is_supervised};
use crate::spec::Place;
use crate::undo::{Revoke, Undone, forget};
use crate::{hook, journal, private};

/// The least time between two looks.
const INTERVAL: Duration = Duration::from_secs(600);
const MARK: &str = ".swept";
/// The record of a container that was prepared by hand.
const PREPARED: &str = "meta.json";
const LIST: Duration = Duration::from_secs(10);

/// Forgets containers that are no more, with their tokens and directories; usually only asks for one file's age.
pub fn sweep(place: &Place, podman: &Podman, revoke: Revoke) -> Vec<Undone> {
    let mark = journal::directory(place).join(MARK);
    let recent = std::fs::symlink_metadata(&mark).is_ok_and(|meta| age(&meta) < INTERVAL);
    if recent || !place.state_dir.is_dir() || private::write(&mark, b"").is_err() {
        return Vec::new();
    }
    sweep_older(place, podman, revoke, STRAY_AGE)
}

fn sweep_older(place: &Place, podman: &Podman, revoke: Revoke, least: Duration) -> Vec<Undone> {
    let suspects = suspects(place, least);
    if suspects.is_empty() && pids(place) == 0 {
        return Vec::new();
    }
    let Some(there) = containers(podman) else { return Vec::new() };
    let stays = |name: &str| there.contains(name) || is_prepared(place, name) || is_supervised(&place.state_dir, name);
    let gone = suspects.into_iter().filter(|name| !stays(name));
    let undone = gone.filter_map(|name| forget(place, podman, &name, revoke).ok().flatten()).collect();
    hook::sweep(&place.state_dir, &place.runtime_dir, &stays);
    undone
}

/// Names with an old sidecar or an old record, and without an open journal.
fn suspects(place: &Place, least: Duration) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in entries(&place.state_dir.join(wire::sidecar::DIRECTORY)) {
        if path.extension() == Some("json".as_ref()) && is_older(&path, least) {
            found.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    for path in entries(place.run_state("x").parent().unwrap_or(&place.state_dir)) {
        if is_older(&path, least) && path.join(journal::RECORD).exists() {
            found.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    found.retain(|name| base::ident::check_container_name(name).is_ok() && !journal::path(place, name).exists());
    found
}

fn pids(place: &Place) -> usize {
    entries(&place.state_dir.join("pids")).len()
}

/// Names and identifiers of all containers; `None` when podman does not tell.
fn containers(podman: &Podman) -> Option<HashSet<String>> {
    let args = ["ps", "-a", "--no-trunc", "--format", "{{.ID}}\t{{.Names}}"];
    let output = podman.call("list", "containers", args).limit(LIST).success().ok()?;
    Some(output.text().split(['\t', '\n', ',']).map(|word| word.trim().to_owned()).collect())
}

fn is_prepared(place: &Place, name: &str) -> bool {
    base::ident::check_container_name(name).is_ok() && place.run_state(name).join(PREPARED).exists()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn is_older(path: &Path, least: Duration) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| age(&meta) >= least)
}

/// Zero for a time in the future.
fn age(meta: &Metadata) -> Duration {
    let changed = meta.modified().unwrap_or_else(|_| SystemTime::now());
    SystemTime::now().duration_since(changed).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Note;
    use std::os::unix::fs::PermissionsExt;

    struct Bench {
        root: tempfile::TempDir,
        place: Place,
        podman: Podman,
    }

    impl Bench {
        /// Two finished launches with a token each; podman still lists `here`, and counts how often it is asked.
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let place = Place {
                state_dir: root.path().join("s"),
                runtime_dir: root.path().join("r"),
                tcp: false,
                allow_root: false,
            };
            let program = root.path().join("podman");
            let script = format!("#!/bin/sh\necho >>{0}/asked\nprintf '%s\\t%s\\n' 0123 here\n", root.path().display());
            std::fs::write(&program, script).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            for name in ["gone", "here"] {
                let nobody = Podman::at("/nonexistent/podman");
                journal::begin(&place, &nobody, name).unwrap();
                crate::resources::allocate(&place, name).unwrap();
                private::write(&place.sidecar(name), b"{}").unwrap();
                let token = Note::Token { scope: "default".into(), subject: name.into() };
                journal::note(&place, name, token).unwrap();
                journal::finish(&place, name).unwrap();
            }
            Self { podman: Podman::at(program), place, root }
        }

        fn asked(&self) -> usize {
            std::fs::read_to_string(self.root.path().join("asked")).unwrap_or_default().lines().count()
        }
    }

    #[test]
    fn what_was_removed_behind_our_back_is_forgotten_with_its_token() {
        let bench = Bench::new();
        let mut revoked = Vec::new();
        let mut revoke = |token: &crate::journal::Token| {
            revoked.push(token.subject.clone());
            Ok(())
        };
        let undone = sweep_older(&bench.place, &bench.podman, &mut revoke, Duration::ZERO);
        assert_eq!(undone.iter().map(|u| u.container.as_str()).collect::<Vec<_>>(), ["gone"]);
        assert_eq!((revoked, bench.asked()), (vec!["gone".to_owned()], 1));
        assert!(!bench.place.sidecar("gone").exists() && !bench.place.container_runtime_dir("gone").exists());
        assert!(bench.place.sidecar("here").exists() && bench.place.container_runtime_dir("here").exists());
    }

    #[test]
    fn young_prepared_served_or_unlisted_ones_stay() {
        let bench = Bench::new();
        assert!(sweep_older(&bench.place, &bench.podman, &mut |_| Ok(()), STRAY_AGE).is_empty());
        assert_eq!(bench.asked(), 0, "nothing old, no question");
        let deaf = Podman::at("/bin/false");
        assert!(sweep_older(&bench.place, &deaf, &mut |_| Ok(()), Duration::ZERO).is_empty());
        let record = bench.place.run_state("gone").join(PREPARED);
        std::fs::write(&record, "{}").unwrap();
        assert!(sweep_older(&bench.place, &bench.podman, &mut |_| Ok(()), Duration::ZERO).is_empty());
        std::fs::remove_file(record).unwrap();
        let supervisor = crate::testing::Supervisor::start(&bench.place, "gone");
        assert!(sweep_older(&bench.place, &bench.podman, &mut |_| Ok(()), Duration::ZERO).is_empty());
        assert!(bench.place.sidecar("gone").exists());
        drop(supervisor);
        let socket = bench.place.container_runtime_dir("gone").join("vault.sock");
        let _listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
        let undone = sweep_older(&bench.place, &bench.podman, &mut |_| Ok(()), Duration::ZERO);
        assert_eq!(undone.len(), 1, "a socket that the container left proves nothing");
    }

    #[test]
    fn it_looks_once_in_a_while() {
        let bench = Bench::new();
        let mark = journal::directory(&bench.place).join(MARK);
        std::fs::create_dir_all(bench.place.state_dir.join("pids")).unwrap();
        std::fs::write(bench.place.state_dir.join("pids/supervisor-x.pid"), "1\n").unwrap();
        for _ in 0..3 {
            sweep(&bench.place, &bench.podman, &mut |_| Ok(()));
        }
        assert_eq!(bench.asked(), 1);
        let earlier = SystemTime::now() - INTERVAL;
        std::fs::File::options().write(true).open(&mark).unwrap().set_modified(earlier).unwrap();
        sweep(&bench.place, &bench.podman, &mut |_| Ok(()));
        assert_eq!(bench.asked(), 2);
    }
}
