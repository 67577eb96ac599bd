//! Ending supervisors from outside, and clearing away what containers that are no more have left.
//!
//! Invariants: a signal goes only to a process that proves to be the supervisor of that container; nothing outside
//! `<runtime>/run/<name>` is removed with its content; what belongs to a container that exists, or might, stays.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Younger leftovers may belong to a launch that is under way.
pub const STRAY_AGE: Duration = Duration::from_secs(3600);
/// The logs of a container that is no more are kept for so long: somebody may want to know why it ended.
const LOG_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Kills every supervisor at once, with all processes of its group; for emergencies.
///
/// One entry per pid file, in the order of their names: the container's id, and what went wrong. A pid file stays only
/// when its process could not be killed.
pub fn kill_all_supervisors(state_root: &Path) -> Vec<(String, Option<String>)> {
    pid_files(state_root).into_iter().map(|(id, path)| kill(id, &path)).collect()
}

/// What running supervisors can be told about the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Close the vault, forget its key, and open it again only after something has changed.
    Lock,
    /// See whether the vault opens now.
    Look,
}

/// Tells every running supervisor; one entry for each that was there: the container's id, and what went wrong.
pub fn tell_all_supervisors(state_root: &Path, word: Word) -> Vec<(String, Option<String>)> {
    let signal = match word {
        Word::Lock => rustix::process::Signal::USR1,
        Word::Look => rustix::process::Signal::USR2,
    };
    let tell = |(id, path): (String, PathBuf)| {
        let told = read_pid(&path).and_then(|pid| base::pid::signal_supervisor(pid, &id, signal));
        match told {
            Ok(false) => None,
            Ok(true) => Some((id, None)),
            Err(error) => Some((id, Some(error.to_string()))),
        }
    };
    pid_files(state_root).into_iter().filter_map(tell).collect()
}

/// Container ids and their pid files, ordered by name.
fn pid_files(state_root: &Path) -> Vec<(String, PathBuf)> {
    let mut files = entries(&state_root.join("pids"));
    files.sort();
    let container = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        Some(supervised_id(name)?.to_owned())
    };
    files.into_iter().filter_map(|path| Some((container(&path)?, path))).collect()
}

fn kill(id: String, path: &Path) -> (String, Option<String>) {
    let trouble = match read_pid(path) {
        Err(error) => Some(format!("unreadable pid file: {error}")),
        Ok(pid) => match base::pid::end_supervisor(pid, &id, Duration::ZERO) {
            Ok(_) => None,
            Err(error) => return (id, Some(format!("SIGKILL failed: {error}"))),
        },
    };
    let _ = std::fs::remove_file(path);
    (id, trouble)
}

/// The process that supervises a container by its full identifier, as recorded outside the container's reach.
pub(crate) fn supervisor(state_root: &Path, id: &str) -> Option<i32> {
    base::ident::check_segment("container id", id).ok()?;
    let pid = read_pid(&state_root.join("pids").join(format!("supervisor-{id}.pid"))).ok()?;
    base::pid::supervises(pid, id).then_some(pid)
}

/// True while a live supervisor has the sidecar of this container, whichever podman store the container is in.
pub(crate) fn is_supervised(state_root: &Path, container_name: &str) -> bool {
    let sidecar = Path::new(wire::sidecar::DIRECTORY).join(format!("{container_name}.json"));
    let serves =
        |pid| base::pid::command_line(pid).is_some_and(|all| all.iter().any(|a| Path::new(a).ends_with(&sidecar)));
    entries(&state_root.join("pids")).iter().any(|path| {
        let id = path.file_name().and_then(|name| name.to_str()).and_then(supervised_id);
        id.and_then(|id| supervisor(state_root, id)).is_some_and(serves)
    })
}

/// The identifier in a pid file's name.
fn supervised_id(file_name: &str) -> Option<&str> {
    file_name.strip_prefix("supervisor-")?.strip_suffix(".pid").filter(|id| !id.is_empty())
}

fn read_pid(path: &Path) -> io::Result<i32> {
    let text = base::file::read_regular(path, 64)?;
    let text = String::from_utf8_lossy(&text);
    text.trim().parse().map_err(|_| io::Error::other("it holds no number"))
}

/// Removes one container's sidecar and runtime directory; for the launcher, once the container itself is gone.
///
/// Everything is tried; what could not be removed is returned with its cause.
pub fn discard(state_root: &Path, runtime_dir: &Path, container_name: &str) -> Vec<(PathBuf, io::Error)> {
    if base::ident::check_segment("container name", container_name).is_err() {
        return Vec::new();
    }
    let sidecar = state_root.join(wire::sidecar::DIRECTORY).join(format!("{container_name}.json"));
    let folder = runtime_dir.join("run").join(container_name);
    let tried = [(std::fs::remove_file(&sidecar), sidecar), (std::fs::remove_dir_all(&folder), folder)];
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    tried.into_iter().filter_map(|(result, path)| result.err().filter(|e| !gone(e)).map(|e| (path, e))).collect()
}

/// Removes sidecars, runtime directories and pid files older than an hour, and logs older than a month, whose container
/// is no more; what was removed.
///
/// `exists` is asked only about such leftovers, by container name or id; it must say true when it cannot tell.
pub fn sweep(state_root: &Path, runtime_dir: &Path, exists: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    sweep_older(state_root, runtime_dir, exists, STRAY_AGE)
}

fn sweep_older(state_root: &Path, runtime_dir: &Path, exists: &dyn Fn(&str) -> bool, age: Duration) -> Vec<PathBuf> {
    let stray = |path: &Path, name: &str| is_older(path, age) && !exists(name);
    let mut removed = Vec::new();
    for path in entries(&state_root.join(wire::sidecar::DIRECTORY)) {
        let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_owned();
        if path.extension() == Some("json".as_ref()) && stray(&path, &name) {
            let left = discard(state_root, runtime_dir, &name);
            removed.extend(left.iter().all(|(failed, _)| *failed != path).then_some(path));
        }
    }
    for path in entries(&runtime_dir.join("run")) {
        let name = path.file_name().and_then(|s| s.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() && !path.is_symlink() && stray(&path, &name) {
            removed.extend(std::fs::remove_dir_all(&path).is_ok().then_some(path));
        }
    }
    for path in entries(&state_root.join("pids")) {
        let name = path.file_name().and_then(|s| s.to_str()).unwrap_or_default();
        let id = supervised_id(name).unwrap_or_default().to_owned();
        let alive = read_pid(&path).is_ok_and(|pid| base::pid::supervises(pid, &id));
        if !id.is_empty() && !alive && stray(&path, &id) {
            removed.extend(std::fs::remove_file(&path).is_ok().then_some(path));
        }
    }
    for path in entries(&state_root.join("logs")) {
        let name = path.file_name().and_then(|s| s.to_str()).unwrap_or_default();
        let id = name.strip_suffix(".1").unwrap_or(name).strip_suffix(".log").unwrap_or_default();
        let of_a_container = !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit());
        if of_a_container && is_older(&path, LOG_AGE) && !exists(id) {
            removed.extend(std::fs::remove_file(&path).is_ok().then_some(path));
        }
    }
    removed
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn is_older(path: &Path, age: Duration) -> bool {
    let changed = std::fs::symlink_metadata(path).and_then(|meta| meta.modified());
    changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|lived| lived >= age))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (state, runtime) = (dir.path().join("s"), dir.path().join("r"));
        for folder in [state.join("sidecar"), state.join("pids"), runtime.join("run")] {
            std::fs::create_dir_all(folder).unwrap();
        }
        (dir, state, runtime)
    }

    // improves: 21-7.9-whole-group-killed
    #[test]
    fn kills_supervisors_and_nobody_else() {
        let (_dir, state, _) = place();
        let pids = state.join("pids");
        let start = |container: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", "sleep 60 & wait", "/s/supervisor_wrapper.py", container]);
            command.stdin(Stdio::null()).process_group(0).spawn().unwrap()
        };
        let (mut ours, mut foreign) = (start("aa"), start("zz"));
        let file = |name: &str, text: String| std::fs::write(pids.join(name), text).unwrap();
        file("supervisor-aa.pid", format!("{}\n", ours.id()));
        file("supervisor-bb.pid", format!("{}\n", foreign.id()));
        file("supervisor-cc.pid", "nonsense".into());
        file("supervisor-dd.pid", "-1\n".into());
        file("other.txt", String::new());
        std::thread::sleep(Duration::from_millis(100));
        let report = kill_all_supervisors(&state);
        let ids: Vec<&str> = report.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["aa", "bb", "cc", "dd"]);
        assert!(report[2].1.as_deref().unwrap().starts_with("unreadable pid file"));
        assert!([0, 1, 3].iter().all(|i| report[*i].1.is_none()), "{report:?}");
        assert_eq!(entries(&pids), [pids.join("other.txt")]);
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(ours.wait().unwrap().signal(), Some(9));
        assert!(foreign.try_wait().unwrap().is_none());
        foreign.kill().unwrap();
        foreign.wait().unwrap();
        assert_eq!(kill_all_supervisors(&state.join("nowhere")), []);
    }

    #[test]
    fn only_old_leftovers_of_missing_containers_go() {
        let (_dir, state, runtime) = place();
        for name in ["gone", "here"] {
            std::fs::write(state.join(format!("sidecar/{name}.json")), "{}").unwrap();
            std::fs::create_dir_all(runtime.join("run").join(name).join("deep")).unwrap();
            std::fs::write(state.join(format!("pids/supervisor-{name}.pid")), "999999999\n").unwrap();
        }
        let outside = runtime.join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, runtime.join("run/link")).unwrap();
        let exists = |name: &str| name == "here";
        assert!(sweep(&state, &runtime, &exists).is_empty(), "all of it is young");
        let removed = sweep_older(&state, &runtime, &exists, Duration::ZERO);
        assert_eq!(removed.len(), 2, "{removed:?}");
        assert!(outside.exists() && runtime.join("run/here/deep").exists());
        assert!(!runtime.join("run/gone").exists() && !state.join("sidecar/gone.json").exists());
        assert!(state.join("sidecar/here.json").exists() && state.join("pids/supervisor-here.pid").exists());
    }

    #[test]
    fn logs_outlive_their_container_by_a_month() {
        let (_dir, state, runtime) = place();
        let logs = state.join("logs");
        std::fs::create_dir(&logs).unwrap();
        for name in ["aa.log", "aa.log.1", "bb.log", "cc.log", "hook.log", "hook.log.1"] {
            let file = std::fs::File::create(logs.join(name)).unwrap();
            if name != "bb.log" {
                file.set_modified(SystemTime::now() - LOG_AGE - Duration::from_secs(9)).unwrap();
            }
        }
        let mut removed = sweep(&state, &runtime, &|id| id == "cc");
        removed.sort();
        assert_eq!(removed, [logs.join("aa.log"), logs.join("aa.log.1")], "old, and of nobody");
    }

    #[test]
    fn discarding_stays_inside() {
        let (_dir, state, runtime) = place();
        std::fs::create_dir_all(runtime.join("run/c/x")).unwrap();
        for odd in ["..", "", "a/b"] {
            assert!(discard(&state, &runtime, odd).is_empty());
        }
        assert!(discard(&state, &runtime, "c").is_empty());
        assert!(runtime.join("run").exists() && !runtime.join("run/c").exists());
    }
}
