//! Checks that a container has its supervisor: before podman is called, and again when the container runs.
//!
//! Podman starts a container without a warning when its hook is missing or its configuration is hidden. The first check
//! names the cause, the second is the proof. A container without the proof is removed.
//!
//! The container can replace the socket that the proof connects to. Invariants of the proof:
//! - It takes bounded time and follows no link.
//! - It counts only when the listener is the process that the pid file, outside the container's reach, records.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base::connect::{connect_unix, listener_pid};
use podman::Podman;
use wire::sidecar::{IpcMode, Sidecar};

use crate::fault::LaunchError;
use crate::hooksweep::supervisor;
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
        let Err(failure) = ask(place, sidecar, id) else { return Ok(()) };
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

/// One health request to the process that supervises the container.
fn ask(place: &Place, sidecar: &Sidecar, id: &str) -> Result<(), String> {
    let supervisor = supervisor(&place.state_dir, id).ok_or("no supervisor of this container is running")?;
    let answer = match sidecar.ipc_mode {
        IpcMode::Socket => ask_socket(&sidecar.container_runtime_dir().join("vault.sock"), supervisor)?,
        IpcMode::Tcp => ask_port(sidecar.tcp_port.ok_or("the sidecar names no port")?)?,
    };
    let status = answer.split(' ').nth(1).unwrap_or_default();
    // 503 is the answer while the vault is locked: the supervisor is there and waits for the unlock.
    if matches!(status, "200" | "503") {
        Ok(())
    } else {
        Err(format!("it answers `{}`", base::text::sanitize_tty(&answer)))
    }
}

fn ask_socket(path: &Path, supervisor: i32) -> Result<String, String> {
    let stream = connect_unix(path, ONE_TRY).map_err(|e| format!("`{}`: {e}", path.display()))?;
    match listener_pid(&stream) {
        Some(pid) if pid == supervisor => health(stream),
        _ => Err(format!("`{}` is not served by the supervisor (process {supervisor})", path.display())),
    }
}

/// Containers cannot bind a port of the host, but other users can.
fn ask_port(port: u16) -> Result<String, String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let stream = TcpStream::connect_timeout(&address, ONE_TRY).map_err(|e| format!("port {port}: {e}"))?;
    if !base::peer::is_our_listener(port) {
        return Err(format!("port {port} is served by another user"));
    }
    let timeouts = stream.set_read_timeout(Some(ONE_TRY)).and(stream.set_write_timeout(Some(ONE_TRY)));
    timeouts.map_err(|e| e.to_string())?;
    health(stream)
}

/// The status line of the answer.
fn health(mut stream: impl Read + Write) -> Result<String, String> {
    stream
        .write_all(b"GET /-/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .map_err(|e| e.to_string())?;
    // The limit of one read does not bound an answer that arrives byte by byte.
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
    use crate::testing::{CONTAINER_ID, Supervisor};
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn a_missing_hook_is_named_before_podman_is_called() {
        let root = tempfile::tempdir().unwrap();
        let place = Place {
            state_dir: root.path().join("s"),
            runtime_dir: root.path().join("r"),
            tcp: false,
            allow_root: false,
        };
        let fault = preflight(&place, "c1").unwrap_err();
        let text = base::fault::explain(&fault);
        assert!(text.contains("`c1`") && text.contains("does not exist") && text.contains("setup"), "{text}");
    }

    struct Bench {
        _root: tempfile::TempDir,
        place: Place,
        sidecar: Sidecar,
        socket: PathBuf,
    }

    impl Bench {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let runtime_dir = root.path().join("r");
            let place = Place {
                state_dir: root.path().join("s"),
                runtime_dir: runtime_dir.clone(),
                tcp: false,
                allow_root: false,
            };
            let sidecar = Sidecar { container_name: "c1".into(), runtime_dir, ..Sidecar::default() };
            let directory = sidecar.container_runtime_dir();
            std::fs::create_dir_all(&directory).unwrap();
            Self { _root: root, place, sidecar, socket: directory.join("vault.sock") }
        }

        /// Replaces the socket by a new one.
        fn bind(&self) -> UnixListener {
            let _ = std::fs::remove_file(&self.socket);
            UnixListener::bind(&self.socket).unwrap()
        }

        fn ask(&self) -> Result<(), String> {
            let began = Instant::now();
            let answer = ask(&self.place, &self.sidecar, CONTAINER_ID);
            assert!(began.elapsed() < 4 * ONE_TRY, "{:?}", began.elapsed());
            answer
        }
    }

    fn serve(listener: UnixListener, answer: impl Fn(UnixStream) + Send + 'static) {
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut request = [0u8; 512];
                let _ = stream.read(&mut request);
                answer(stream);
            }
        });
    }

    fn says(status: &'static str) -> impl Fn(UnixStream) + Send + 'static {
        move |mut stream| {
            let _ = stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes());
        }
    }

    #[test]
    fn an_answer_drop_by_drop_is_not_waited_for() {
        let bench = Bench::new();
        let listener = bench.bind();
        let _supervisor = Supervisor::listening(&bench.place, "c1", &listener);
        serve(listener, |mut stream| {
            while stream.write_all(b"H").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        assert!(bench.ask().is_err());
    }

    #[test]
    fn only_a_healthy_answer_is_a_proof() {
        let bench = Bench::new();
        let podman = Podman::at("/nonexistent/podman");
        let prove = || prove(&bench.place, &podman, &bench.sidecar, CONTAINER_ID);
        let silent = prove().unwrap_err().to_string();
        assert!(silent.contains("did not run its hook"), "{silent}");
        let listener = bench.bind();
        let supervisor = Supervisor::listening(&bench.place, "c1", &listener);
        serve(listener, says("500 Broken"));
        assert!(prove().unwrap_err().to_string().contains("500 Broken"));
        drop(supervisor);
        let listener = bench.bind();
        let _supervisor = Supervisor::listening(&bench.place, "c1", &listener);
        serve(listener, says("200 OK"));
        prove().unwrap();
    }

    // holds: supervision-proof-real
    #[test]
    fn listener_of_the_container_is_no_proof() {
        let bench = Bench::new();
        serve(bench.bind(), says("200 OK"));
        assert!(bench.ask().unwrap_err().contains("no supervisor"));
        // The real supervisor runs, but its socket was replaced.
        let _supervisor = Supervisor::start(&bench.place, "c1");
        assert!(bench.ask().unwrap_err().contains("not served by the supervisor"));
    }

    // holds: supervision-proof-real
    #[test]
    fn full_queue_and_links_do_not_hold_or_redirect_the_proof() {
        let bench = Bench::new();
        let _supervisor = Supervisor::start(&bench.place, "c1");
        let listener = bench.bind();
        rustix::net::listen(&listener, 0).unwrap();
        let _queued = UnixStream::connect(&bench.socket).unwrap();
        assert!(bench.ask().is_err());
        let elsewhere = bench.socket.with_file_name("bus");
        let bus = UnixListener::bind(&elsewhere).unwrap();
        bus.set_nonblocking(true).unwrap();
        std::fs::remove_file(&bench.socket).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &bench.socket).unwrap();
        assert!(bench.ask().is_err());
        assert!(bus.accept().is_err(), "nothing connected to the link's target");
    }

    // holds: supervision-proof-real
    #[test]
    fn port_counts_while_the_supervisor_runs() {
        let mut bench = Bench::new();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        bench.sidecar.ipc_mode = IpcMode::Tcp;
        bench.sidecar.tcp_port = Some(listener.local_addr().unwrap().port());
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut request = [0u8; 512];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            }
        });
        assert!(bench.ask().is_err());
        let _supervisor = Supervisor::start(&bench.place, "c1");
        bench.ask().unwrap();
    }

    #[test]
    fn the_log_explains_the_silence() {
        let root = tempfile::tempdir().unwrap();
        let place = Place {
            state_dir: root.path().join("s"),
            runtime_dir: root.path().join("r"),
            tcp: false,
            allow_root: false,
        };
        let logs = place.state_dir.join("logs");
        std::fs::create_dir_all(&logs).unwrap();
        std::fs::write(logs.join("hook.log"), "old\ncannot bind\n\n").unwrap();
        assert_eq!(last_words(&place, "id").unwrap(), "cannot bind");
        std::fs::write(logs.join("id.log"), "vault is gone\n").unwrap();
        assert_eq!(last_words(&place, "id").unwrap(), "vault is gone");
    }
}
