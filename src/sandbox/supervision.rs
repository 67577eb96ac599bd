//! Is the container's supervisor there? Asked before podman is called, and again when the container runs.
//!
//! Podman starts a container without a word when its hook is missing or its configuration is hidden, so neither check
//! replaces the other: the first names the cause, the second is the proof. A container without the proof does not stay.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use podman::Podman;
use wire::sidecar::{IpcMode, Sidecar};

use crate::fault::LaunchError;
use crate::spec::Place;

/// How long the supervisor of a running container may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
const ONE_TRY: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);
/// How often podman is asked whether a silent container has ended.
const LOOK: Duration = Duration::from_millis(100);
const TAIL: usize = 4096;

/// Checks that podman would start the supervisor.
///
/// # Errors
/// [`LaunchError::Hooks`] naming what is missing.
pub fn preflight(place: &Place, container: &str) -> Result<(), LaunchError> {
    let told = |source| LaunchError::Hooks { container: container.to_owned(), source: Box::new(source) };
    crate::hook::check(&place.state_dir).map_err(told)
}

/// Proves that the supervisor of a container that podman just started answers.
///
/// A container that has ended already cannot be asked; there the supervisor's log is the proof that it ran.
///
/// # Errors
/// [`LaunchError::Unsupervised`] with what the logs say. The container is left to the caller.
pub fn prove(place: &Place, podman: &Podman, sidecar: &Sidecar, id: &str) -> Result<(), LaunchError> {
    let deadline = Instant::now() + PATIENCE;
    let mut next_look = Instant::now() + LOOK;
    loop {
        let Err(failure) = ask(sidecar) else { return Ok(()) };
        let ended = Instant::now() >= next_look && has_ended(podman, &sidecar.container_name);
        if ended || Instant::now() >= deadline || !log_path(place, id).exists() {
            return judge_silence(place, podman, &sidecar.container_name, id, &failure);
        }
        if Instant::now() >= next_look {
            next_look = Instant::now() + LOOK;
        }
        std::thread::sleep(PAUSE);
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
    // 503 is the answer while the vault is locked: the supervisor is there and waits for the unlock.
    if matches!(status, "200" | "503") {
        Ok(())
    } else {
        Err(format!("it answers `{}`", base::text::sanitize_tty(&answer)))
    }
}

/// The status line of the answer.
fn health(mut stream: impl Read + Write) -> Result<String, String> {
    stream
        .write_all(b"GET /-/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .map_err(|e| e.to_string())?;
    // The socket lies where the container can put another in its place: an answer may come drop by drop.
    let deadline = Instant::now() + ONE_TRY;
    let mut bytes = Vec::new();
    let mut chunk = [0u8; 256];
    while !bytes.contains(&b'\n') && bytes.len() < 1024 {
        match stream.read(&mut chunk).map_err(|e| e.to_string())? {
            0 => break,
            n => bytes.extend_from_slice(&chunk[..n]),
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_missing_hook_is_named_before_podman_is_called() {
        let root = tempfile::tempdir().unwrap();
        let place = Place { state_dir: root.path().join("s"), runtime_dir: root.path().join("r"), tcp: false };
        let fault = preflight(&place, "c1").unwrap_err();
        let text = base::fault::explain(&fault);
        assert!(text.contains("`c1`") && text.contains("does not exist") && text.contains("setup"), "{text}");
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
    fn an_answer_drop_by_drop_is_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let sidecar = sidecar(root.path());
        let listener = UnixListener::bind(sidecar.container_runtime_dir().join("vault.sock")).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            while stream.write_all(b"H").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let began = Instant::now();
        assert!(ask(&sidecar).is_err() && began.elapsed() < 4 * ONE_TRY, "{:?}", began.elapsed());
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
