//! The OCI hook. `createRuntime` starts the container's supervisor and fails the container when there is none;
//! `poststop` clears what it left.
//!
//! Invariants: at `createRuntime` every doubt ends in a non-zero status with one cause, in standard error and in the
//! logs; `poststop` never fails. The sidecar and the runtime directory stay: the container may be started again.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use base::fault::Fault;
use wire::sidecar::ANNOTATION;

use crate::container::Init;
use crate::daemon;
use crate::diary;
use crate::fault::SupervisorError;
use crate::harden;
use crate::paths::{self, short};
use crate::pidfile::{self, PidFile};
use crate::sidecarfile::SidecarFile;
use crate::spawn;
use crate::watchdog::remove_socket;
use crate::worker;

const STATE_LIMIT: u64 = 4 * 1024 * 1024;
/// How long a supervisor of the container's last run may take to go. Nearly all go at once.
const GRACE: Duration = worker::FAREWELL_OF_ALL.saturating_add(Duration::from_secs(1));
/// How long a killed process may take to vanish. Only a container that is supervised already costs this wait.
const DYING: Duration = Duration::from_millis(100);

/// The part of the OCI state that we need.
#[derive(Debug, serde::Deserialize)]
struct State {
    id: String,
    #[serde(default)]
    pid: i32,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

/// Runs one stage; the exit status.
pub fn run(stage: &str, executable: &Path) -> u8 {
    let started = Instant::now();
    harden::process();
    let state = match read_state(io::stdin()) {
        Ok(state) => state,
        Err(error) => return report(stage, None, &error, executable),
    };
    let Some(annotation) = state.annotations.get(ANNOTATION) else {
        return 0;
    };
    let file = match SidecarFile::locate(annotation) {
        Ok(file) => file,
        Err(error) => return report(stage, None, &error, executable),
    };
    match stage {
        "createRuntime" => match create_runtime(&state, &file, executable) {
            Ok(what) => note(&file.root, &format!("{stage} {}: {what}, {:.1?}", short(&state.id), started.elapsed())),
            Err(error) => return report(stage, Some((&file.root, &state.id)), &error, executable),
        },
        "poststop" => poststop(&state, &file),
        other => note(&file.root, &format!("{other} {}: nothing to do", short(&state.id))),
    }
    0
}

fn read_state(input: impl Read) -> Result<State, SupervisorError> {
    let mut text = Vec::new();
    let read = input.take(STATE_LIMIT).read_to_end(&mut text);
    read.map_err(SupervisorError::State)?;
    let state: State = serde_json::from_slice(&text).map_err(|e| SupervisorError::State(io::Error::other(e)))?;
    let plain = base::ident::check_segment("container id", &state.id);
    plain.map_err(|e| SupervisorError::State(io::Error::other(e)))?;
    Ok(state)
}

fn create_runtime(state: &State, file: &SidecarFile, executable: &Path) -> Result<String, SupervisorError> {
    // Read here as well: a broken sidecar is reported without starting anything.
    file.read()?;
    let init = Init::of(state.pid).ok_or_else(|| SupervisorError::Container {
        container: short(&state.id).to_owned(),
        why: "the state names no live process".into(),
    })?;
    for folder in ["pids", "logs"] {
        paths::private_dir(&file.root.join(folder))?;
    }
    let Some(pidfile) = lock(state, file, init)? else {
        return Ok("already supervised".into());
    };
    let (identity, program) = (daemon::identity(executable, &file.root), spawn::daemon_beside(executable));
    let order = spawn::Order { container: &state.id, file, init, identity: &identity, program: &program };
    let (pid, served) = spawn::start(&order, &pidfile)?;
    Ok(format!("supervisor {pid} serves {served}"))
}

/// The lock, after a supervisor of an earlier run has gone; `None` when one serves this very run.
fn lock(state: &State, file: &SidecarFile, init: Init) -> Result<Option<PidFile>, SupervisorError> {
    let path = paths::pid_file(&file.root, &state.id);
    let run = init.to_string();
    let deadline = Instant::now() + GRACE;
    loop {
        if let Some(pid) = pidfile::read(&path).filter(|pid| base::pid::supervises(*pid, &state.id)) {
            if base::pid::command_line(pid).is_some_and(|arguments| arguments.contains(&run)) && stays(pid) {
                return Ok(None);
            }
            let ended = base::pid::end_supervisor(pid, &state.id, GRACE);
            ended.map_err(|source| SupervisorError::PidFile { path: path.clone(), source })?;
        }
        // A holder without a number is one whose hook was killed while it started: it writes the number itself.
        if let Some(taken) = PidFile::lock(&path, DYING)? {
            return Ok(Some(taken));
        }
        if Instant::now() >= deadline {
            return Err(SupervisorError::Held(short(&state.id).to_owned()));
        }
    }
}

/// False for one that was killed a moment ago: such a process still has its entry, its arguments and its lock.
fn stays(pid: i32) -> bool {
    let ended = base::pid::handle(pid).and_then(|handle| base::pid::wait_for_end(&handle, DYING));
    !ended.unwrap_or(true)
}

fn poststop(state: &State, file: &SidecarFile) {
    let path = paths::pid_file(&file.root, &state.id);
    let pid = pidfile::read(&path);
    let ended = pid.map(|pid| base::pid::end_supervisor(pid, &state.id, GRACE));
    if let Some(Err(error)) = ended {
        let text = format!("poststop {}: cannot end the supervisor: {error}", short(&state.id));
        let _ = diary::append(&paths::hook_log(&file.root), "ERROR", "hook", &text);
        return;
    }
    let _ = std::fs::remove_file(&path);
    if let Ok(sidecar) = file.read() {
        let folder = sidecar.container_runtime_dir();
        paths::SOCKETS.iter().for_each(|name| remove_socket(&folder.join(name)));
        if let Some(home) = &sidecar.home_dir {
            collect_settings(&file.root, home, &state.id);
        }
    }
    note(&file.root, &format!("poststop {}: cleared", short(&state.id)));
}

/// Brings back the settings that the container changed in its copies of the agent folders.
fn collect_settings(root: &Path, home: &Path, id: &str) {
    let (changed, refused) = match home::collect(home) {
        Ok(report) => (report.changed, report.refused),
        Err(error) => (Vec::new(), vec![base::fault::explain(&error)]),
    };
    if !changed.is_empty() {
        note(root, &format!("poststop {}: settings taken over: {}", short(id), changed.join(", ")));
    }
    for why in refused {
        let text = base::text::sanitize_tty(&format!("poststop {}: {why}", short(id)));
        let _ = diary::append(&paths::hook_log(root), "ERROR", "hook", &text);
    }
}

fn note(root: &Path, text: &str) {
    let log = paths::hook_log(root);
    diary::rotate(&log);
    let _ = diary::append(&log, "INFO", "hook", text);
}

/// One cause, in every place where somebody may look for it.
fn report(stage: &str, place: Option<(&Path, &str)>, error: &SupervisorError, executable: &Path) -> u8 {
    let text = plain(&error.one_line());
    diary::say("ERROR", "hook", &text);
    let beside = executable.parent().and_then(Path::parent);
    let ours = place.filter(|(root, _)| is_ours(root));
    if let Some(root) = ours.map(|(root, _)| root).or(beside.filter(|root| is_ours(root))) {
        let _ = paths::private_dir(&root.join("logs"));
        let id = place.map_or("?", |(_, id)| short(id));
        let line = format!("{stage} {id}: {text}");
        let _ = diary::append(&paths::hook_log(root), "ERROR", "hook", &line);
    }
    if let Some((root, id)) = ours {
        let _ = diary::append(&paths::container_log(root, id), "ERROR", "hook", &text);
    }
    if stage == "poststop" { 0 } else { error.exit_code() }
}

/// Podman guesses from the words of a runtime's error what failed, and would take ours for a missing command.
fn plain(text: &str) -> String {
    text.replace("No such file or directory", "it does not exist").replace("Permission denied", "access was refused")
}

/// Nothing is written below a directory that an annotation made up.
fn is_ours(root: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let owner = base::user::effective_uid();
    std::fs::metadata(root).is_ok_and(|meta| meta.is_dir() && meta.uid() == owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        let good = br#"{"ociVersion":"1","id":"abc","pid":7,"annotations":{"k":"v"}}"#;
        let state = read_state(&good[..]).unwrap();
        assert_eq!((state.id.as_str(), state.pid), ("abc", 7));
        assert_eq!(read_state(&br#"{"id":"abc"}"#[..]).unwrap().pid, 0);
        for bad in ["", "[]", "{}", r#"{"id":""}"#, r#"{"id":"../x"}"#, r#"{"id":5}"#] {
            assert!(read_state(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
