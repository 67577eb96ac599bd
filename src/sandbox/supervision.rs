//! Is the container's supervisor there? Asked before podman is called, and again when the container runs.
//!
//! Podman starts a container without a word when its hook is missing or its configuration is hidden, so neither check
//! replaces the other: the first names the cause, the second is the proof. A container without the proof does not stay.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use podman::Podman;
use serde_json::Value;
use wire::sidecar::{IpcMode, Sidecar};

use crate::fault::LaunchError;
use crate::spec::Place;

/// Descriptor that makes podman start the supervisor.
pub const DESCRIPTOR: &str = "terok-sandbox-supervisor-createRuntime.json";
/// How long the supervisor of a running container may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
const ONE_TRY: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);
const FILE_LIMIT: u64 = 1024 * 1024;
const TAIL: usize = 4096;

/// Checks that podman would start the supervisor.
///
/// # Errors
/// [`LaunchError::Hooks`] naming what is missing.
pub fn preflight(place: &Place, container: &str) -> Result<(), LaunchError> {
    installed(&hooks_dir(place))
        .and_then(|()| registered(&hooks_dir(place), &Lookup::from_environment()))
        .map_err(|why| LaunchError::Hooks { container: container.to_owned(), why })
}

fn hooks_dir(place: &Place) -> PathBuf {
    place.state_dir.join("hooks")
}

/// The descriptor is there and names a program that can be executed.
fn installed(hooks: &Path) -> Result<(), String> {
    let path = hooks.join(DESCRIPTOR);
    let bytes = base::file::read_regular(&path, FILE_LIMIT)
        .map_err(|e| format!("its hook `{}` cannot be read ({e})", path.display()))?;
    let descriptor: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let program = descriptor.pointer("/hook/path").and_then(Value::as_str).unwrap_or_default();
    match std::fs::metadata(program) {
        Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o100 != 0 => Ok(()),
        Ok(_) => Err(format!("`{program}` is not executable")),
        Err(error) => Err(format!("`{program}`, which its hook names, cannot be used ({error})")),
    }
}

/// Where podman looks for its configuration.
#[derive(Debug, Clone, Default)]
struct Lookup {
    only: Option<PathBuf>,
    files: Vec<PathBuf>,
}

impl Lookup {
    fn from_environment() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let mut files = vec![PathBuf::from("/usr/share/containers/containers.conf")];
        let user = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
        let folders = [Some(PathBuf::from("/etc/containers")), user.map(|dir| dir.join("containers"))];
        for folder in folders.into_iter().flatten() {
            files.push(folder.join("containers.conf"));
            let parts = std::fs::read_dir(folder.join("containers.conf.d"));
            files.extend(parts.into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        files.extend(variable("CONTAINERS_CONF_OVERRIDE"));
        Self { only: variable("CONTAINERS_CONF"), files }
    }
}

/// One of the files that podman reads lists the directory.
fn registered(hooks: &Path, lookup: &Lookup) -> Result<(), String> {
    let lists = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        hooks_dirs(&text).iter().any(|dir| Path::new(dir) == hooks)
    };
    match &lookup.only {
        Some(file) if lists(file) => Ok(()),
        Some(file) => Err(format!(
            "CONTAINERS_CONF makes podman read `{}` alone, which does not list `{}` in hooks_dir; unset it",
            file.display(),
            hooks.display()
        )),
        None if lookup.files.iter().any(lists) => Ok(()),
        None => Err(format!("no containers.conf lists `{}` in hooks_dir", hooks.display())),
    }
}

/// The texts of the last `hooks_dir` assignment of a configuration text.
fn hooks_dirs(text: &str) -> Vec<String> {
    let clean: Vec<&str> = text.lines().map(without_comment).collect();
    let key =
        |line: &&str| line.trim_start().strip_prefix("hooks_dir").is_some_and(|r| r.trim_start().starts_with('='));
    let Some(at) = clean.iter().rposition(key) else { return Vec::new() };
    let value = clean[at..].join("\n");
    let value = value.split_once('=').map_or("", |(_, v)| v.trim_start());
    let value = match value.strip_prefix('[') {
        Some(list) => list.split_once(']').map_or(list, |(inner, _)| inner),
        None => value.lines().next().unwrap_or_default(),
    };
    value.split(['"', '\'']).skip(1).step_by(2).map(str::to_owned).collect()
}

fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') => return &line[..at],
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    line
}

/// Proves that the supervisor of a container that podman just started answers.
///
/// A container that has ended already cannot be asked; there the supervisor's log is the proof that it ran.
///
/// # Errors
/// [`LaunchError::Unsupervised`] with what the logs say. The container is left to the caller.
pub fn prove(place: &Place, podman: &Podman, sidecar: &Sidecar, id: &str) -> Result<(), LaunchError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let failure = match ask(sidecar) {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let over = Instant::now() >= deadline;
        if over || !log_path(place, id).exists() {
            return judge_silence(place, podman, &sidecar.container_name, id, &failure);
        }
        std::thread::sleep(PAUSE);
        if Instant::now() + Duration::from_secs(2) >= deadline && has_ended(podman, &sidecar.container_name) {
            return judge_silence(place, podman, &sidecar.container_name, id, &failure);
        }
    }
}

fn judge_silence(place: &Place, podman: &Podman, name: &str, id: &str, failure: &str) -> Result<(), LaunchError> {
    if log_path(place, id).exists() && has_ended(podman, name) {
        return Ok(());
    }
    let why = match last_words(place, id) {
        Some(words) => words,
        None => format!("podman did not run its hook ({failure})"),
    };
    Err(LaunchError::Unsupervised { container: name.to_owned(), why })
}

fn has_ended(podman: &Podman, name: &str) -> bool {
    matches!(podman.state(name).as_deref(), Some("exited" | "stopped" | "stopping") | None)
}

fn log_path(place: &Place, id: &str) -> PathBuf {
    place.state_dir.join("logs").join(format!("{id}.log"))
}

/// The last line that the supervisor or its hook wrote about this container.
pub fn last_words(place: &Place, id: &str) -> Option<String> {
    last_line(&log_path(place, id)).or_else(|| last_line(&place.state_dir.join("logs").join("hook.log")))
}

fn last_line(path: &Path) -> Option<String> {
    use std::io::{Seek, SeekFrom};
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL as u64))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL as u64).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().rev().map(base::text::sanitize_tty).find(|line| !line.trim().is_empty())
}

/// One health request.
fn ask(sidecar: &Sidecar) -> Result<(), String> {
    let answer = match sidecar.ipc_mode {
        IpcMode::Socket => {
            let path = sidecar.container_runtime_dir().join("vault.sock");
            let stream = UnixStream::connect(&path).map_err(|e| format!("`{}`: {e}", path.display()))?;
            let timeouts = stream.set_read_timeout(Some(ONE_TRY)).and(stream.set_write_timeout(Some(ONE_TRY)));
            timeouts.map_err(|e| e.to_string()).and_then(|()| health(stream))?
        }
        IpcMode::Tcp => {
            let port = sidecar.tcp_port.ok_or("the sidecar names no port")?;
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let stream = TcpStream::connect_timeout(&address, ONE_TRY).map_err(|e| format!("port {port}: {e}"))?;
            let timeouts = stream.set_read_timeout(Some(ONE_TRY)).and(stream.set_write_timeout(Some(ONE_TRY)));
            timeouts.map_err(|e| e.to_string()).and_then(|()| health(stream))?
        }
    };
    let status = answer.split(' ').nth(1).unwrap_or_default();
    if status == "200" { Ok(()) } else { Err(format!("it answers `{}`", base::text::sanitize_tty(&answer))) }
}

/// The status line of the answer.
fn health(mut stream: impl Read + Write) -> Result<String, String> {
    stream
        .write_all(b"GET /-/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    let mut chunk = [0u8; 256];
    while !bytes.contains(&b'\n') && bytes.len() < 1024 {
        match stream.read(&mut chunk).map_err(|e| e.to_string())? {
            0 => break,
            n => bytes.extend_from_slice(&chunk[..n]),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn hook_directories_of_a_configuration() {
        for (text, expected) in [
            ("[engine]\nhooks_dir = [\"/a\", '/b'] # x", vec!["/a", "/b"]),
            ("hooks_dir=[\n  \"/a\", # \"/no\"\n  \"/b\"\n]\nother = \"/c\"", vec!["/a", "/b"]),
            ("hooks_dir = \"/a\"\nx = \"/b\"", vec!["/a"]),
            ("# hooks_dir = [\"/a\"]", vec![]),
            ("hooks_dirx = [\"/a\"]", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(hooks_dirs(text), expected, "{text}");
        }
    }

    #[test]
    fn each_missing_piece_has_its_own_text() {
        let root = tempfile::tempdir().unwrap();
        let hooks = root.path().join("hooks");
        assert!(installed(&hooks).unwrap_err().contains("cannot be read"));
        std::fs::create_dir(&hooks).unwrap();
        let program = root.path().join("supervisor");
        let text = format!("{{\"hook\":{{\"path\":\"{}\"}}}}", program.display());
        std::fs::write(hooks.join(DESCRIPTOR), text).unwrap();
        assert!(installed(&hooks).unwrap_err().contains("cannot be used"));
        std::fs::write(&program, "").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(installed(&hooks).unwrap_err().contains("not executable"));
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(installed(&hooks), Ok(()));

        let conf = root.path().join("containers.conf");
        let mut lookup = Lookup { only: None, files: vec![conf.clone()] };
        assert!(registered(&hooks, &lookup).unwrap_err().contains("no containers.conf lists"));
        std::fs::write(&conf, format!("[engine]\nhooks_dir = [\"{}\"]\n", hooks.display())).unwrap();
        assert_eq!(registered(&hooks, &lookup), Ok(()));
        lookup.only = Some(root.path().join("other.conf"));
        assert!(registered(&hooks, &lookup).unwrap_err().contains("CONTAINERS_CONF"));
        lookup.only = Some(conf);
        assert_eq!(registered(&hooks, &lookup), Ok(()));
    }

    fn sidecar(root: &Path) -> Sidecar {
        let sidecar = Sidecar { container_name: "c1".into(), runtime_dir: root.join("r"), ..Sidecar::default() };
        std::fs::create_dir_all(sidecar.container_runtime_dir()).unwrap();
        sidecar
    }

    fn serve(listener: UnixListener, status: &'static str) {
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut request = [0u8; 512];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes());
            }
        });
    }

    #[test]
    fn only_a_healthy_answer_is_a_proof() {
        let root = tempfile::tempdir().unwrap();
        let place = Place { state_dir: root.path().join("s"), runtime_dir: root.path().join("r"), tcp: false };
        let sidecar = sidecar(root.path());
        let podman = Podman::at("/nonexistent/podman");
        let silent = prove(&place, &podman, &sidecar, "id").unwrap_err().to_string();
        assert!(silent.contains("did not run its hook"), "{silent}");
        let socket = sidecar.container_runtime_dir().join("vault.sock");
        serve(UnixListener::bind(&socket).unwrap(), "500 Broken");
        assert!(prove(&place, &podman, &sidecar, "id").unwrap_err().to_string().contains("500 Broken"));
        std::fs::remove_file(&socket).unwrap();
        serve(UnixListener::bind(&socket).unwrap(), "200 OK");
        prove(&place, &podman, &sidecar, "id").unwrap();
    }

    #[test]
    fn the_log_explains_the_silence() {
        let root = tempfile::tempdir().unwrap();
        let place = Place { state_dir: root.path().join("s"), runtime_dir: root.path().join("r"), tcp: false };
        let logs = place.state_dir.join("logs");
        std::fs::create_dir_all(&logs).unwrap();
        std::fs::write(logs.join("hook.log"), "old\ncannot bind\n\n").unwrap();
        assert_eq!(last_words(&place, "id").unwrap(), "cannot bind");
        std::fs::write(logs.join("id.log"), "vault is gone\n").unwrap();
        assert_eq!(last_words(&place, "id").unwrap(), "vault is gone");
    }
}
