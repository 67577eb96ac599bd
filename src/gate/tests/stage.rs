//! A running gate, a repository behind it, and git as a client.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use base::secret::Secret;
use base::socket::Listener;
use gate::{Gate, GateConfig, Limits};
use tokio::sync::oneshot;

pub const TOKEN: &str = "terok-g-0123456789abcdef0123456789abcdef";

/// A gate that serves `proj` on a Unix socket and on a port, and ends with this value.
pub struct Stage {
    pub dir: tempfile::TempDir,
    pub port: u16,
    forwarded: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Stage {
    /// An empty repository.
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("mirrors")).unwrap();
        init(&dir.path().join("mirrors/proj.git"));
        let config = || GateConfig {
            base: dir.path().join("mirrors"),
            scope: "proj".into(),
            token: Secret::new(TOKEN),
            limits: limits.clone(),
        };
        let gates = [Gate::new(config()).unwrap(), Gate::new(config()).unwrap()];
        let socket = dir.path().join("gate-server.sock");
        let unix = base::socket::bind_unix(&socket).unwrap();
        let tcp = base::socket::bind_tcp(0).unwrap();
        let port = tcp.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let [first, second] = gates;
                tokio::spawn(server::serve(first, Listener::Unix(unix), std::future::pending()));
                let stop = async { stopped.await.unwrap_or_default() };
                server::serve(second, Listener::Tcp(tcp), stop).await.unwrap();
            });
        });
        let forwarded = forward(socket);
        Self { dir, port, forwarded, stop: Some(stop), thread: Some(thread) }
    }

    /// A repository with one commit on `main`, and a clone of it at `work`.
    pub fn seeded() -> Self {
        Self::seeded_with(Limits::default())
    }

    pub fn seeded_with(limits: Limits) -> Self {
        let stage = Self::with(limits);
        let work = stage.work();
        stage.run(&["init", "-q", "-b", "main", path(&work)]);
        stage.run_at(&work, &["remote", "add", "origin", &stage.url()]);
        stage.commit_and_push(&work, "README", b"hello\n");
        stage
    }

    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    pub fn repository(&self) -> PathBuf {
        self.dir.path().join("mirrors/proj.git")
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("gate-server.sock")
    }

    /// The gate's own port.
    pub fn url(&self) -> String {
        format!("http://{TOKEN}:x@127.0.0.1:{}/proj.git", self.port)
    }

    /// A port that leads to the Unix socket, as the bridge in a container does.
    pub fn bridged(&self) -> String {
        format!("http://{TOKEN}:x@127.0.0.1:{}/proj.git", self.forwarded)
    }

    /// A client's git; its own configuration is empty.
    pub fn git(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.dir.path()).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Tester").env(format!("GIT_{who}_EMAIL"), "tester@localhost");
        }
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> String {
        ok(self.git(arguments).output().unwrap())
    }

    pub fn run_at(&self, dir: &Path, arguments: &[&str]) -> String {
        ok(self.git(&[&["-C", path(dir)], arguments].concat()).output().unwrap())
    }

    /// What a command that must fail says.
    pub fn fails_at(&self, dir: &Path, arguments: &[&str]) -> String {
        let output = self.git(&[&["-C", path(dir)], arguments].concat()).output().unwrap();
        assert!(!output.status.success(), "{arguments:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Writes and commits a file; the commit's id.
    pub fn commit(&self, work: &Path, name: &str, content: &[u8]) -> String {
        std::fs::write(work.join(name), content).unwrap();
        self.run_at(work, &["add", name]);
        self.run_at(work, &["commit", "-q", "-m", name]);
        self.tip(work, "HEAD")
    }

    /// As [`Stage::commit`], and pushes `main`.
    pub fn commit_and_push(&self, work: &Path, name: &str, content: &[u8]) -> String {
        let tip = self.commit(work, name, content);
        self.run_at(work, &["push", "-q", "origin", "main"]);
        tip
    }

    pub fn tip(&self, dir: &Path, name: &str) -> String {
        self.run_at(dir, &["rev-parse", name]).trim().to_owned()
    }

    /// Names of all references in the mirror that begin with `prefix`.
    pub fn references(&self, prefix: &str) -> Vec<String> {
        let listed = self.run_at(&self.repository(), &["for-each-ref", "--format=%(refname)", prefix]);
        listed.lines().map(str::to_owned).collect()
    }

    /// The mirror is whole, and nothing of an unfinished push is left.
    pub fn assert_intact(&self) {
        self.run_at(&self.repository(), &["fsck", "--full", "--strict", "--no-dangling"]);
        assert_eq!(self.leftovers(), [""; 0]);
    }

    /// Directories of pushes that have not been finished.
    pub fn leftovers(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.repository().join("objects")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains("incoming") || name.starts_with("tmp_")).collect()
    }

    /// Sends raw bytes to the Unix socket; everything that comes back until the connection ends.
    pub fn raw(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // A gate that refuses may stop reading.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

pub fn init(repository: &Path) {
    let done = Command::new("git").args(["init", "-q", "--bare", "-b", "main", path(repository)]).status().unwrap();
    assert!(done.success());
    mirror::config::write(repository, None).unwrap();
}

pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub fn ok(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Bytes that do not compress; the same for the same seed.
pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(size + 8);
    while out.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(size);
    out
}

/// Waits until `holds`, at most half a minute.
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port whose connections lead to `socket`; lives as long as the test process.
fn forward(socket: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(gate) = UnixStream::connect(&socket) else { continue };
            let (mut up, mut to) = (client.try_clone().unwrap(), gate.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut up, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
            let (mut down, mut from) = (client, gate);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut down);
                let _ = down.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    port
}
