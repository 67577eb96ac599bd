//! Figures of the SSH signer beside OpenSSH's own `ssh-agent`: the same client code against both sockets in one run.
//!
//! Three processes: this one asks, a child is the signer with a real encrypted vault and a token, and `ssh-agent` holds
//! the same keys. Blocks of requests to both alternate, so that whatever else the machine does hits both alike. What is
//! judged is taken with all three on one core, where it is the agents' own work and not the scheduler's.
//!
//! As root all of it runs before other work of the machine (`chrt --rr 1`), both agents alike.
//!
//! `cargo bench -p terok-signer` runs it; `TEROK_BENCH_QUICK=1` makes it short. The exit status is 1 when a bar is
//! missed.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod report;

use base::secret::Secret;
use report::{Report, announce, go_first, median, quick};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use signer::{Access, Agent};
use vault::key::PrivateKey;
use vault::{Owner, Store, VaultCell};

/// How many times longer than `ssh-agent` a signature may take.
const BAR: f64 = 2.0;
const SCOPE: &str = "proj";
const SUBJECT: &str = "task";
/// What `ssh` has signed to log in is about this long.
const DATA: [u8; 400] = [7; 400];
const SHA512: u32 = 4;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("as-signer") => signing(Path::new(&arguments[2])),
        _ => measure(),
    }
}

// ------------------------------------------------------------------------------------------------------ the signer

fn signing(dir: &Path) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&dir.join("credentials.db"), &Secret::new("bench")).expect("a vault");
        let access = Access::Tokens(Owner::new(SCOPE, SUBJECT));
        let agent = Agent::new(access, VaultCell::open(Arc::new(store)));
        let listener = base::socket::bind_unix(&dir.join("signer.sock")).expect("a socket");
        announce("ready");
        server::serve(agent, base::socket::Listener::Unix(listener), std::future::pending()).await.expect("serving");
    });
    ExitCode::SUCCESS
}

// -------------------------------------------------------------------------------------------------- the other side

/// A child process that dies with its handle.
struct Part(Child);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_signer(dir: &Path) -> Part {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    let mut child = command.arg("as-signer").arg(dir).stdout(Stdio::piped()).spawn().expect("a child");
    let mut said = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut said).expect("a line");
    Part(child)
}

fn start_ssh_agent(dir: &Path) -> Part {
    let socket = dir.join("ssh-agent.sock");
    let mut command = Command::new("ssh-agent");
    let child = command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().expect("ssh-agent");
    while UnixStream::connect(&socket).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    Part(child)
}

struct Key {
    name: &'static str,
    der: Vec<u8>,
    blob: Vec<u8>,
}

impl Key {
    fn generate(kind: &'static str) -> Self {
        let key = PrivateKey::generate(kind).expect("a key");
        Self { name: kind, der: key.to_pkcs8().expect("encoded").to_vec(), blob: key.public_blob().expect("encoded") }
    }

    fn store(&self, store: &Store) {
        let id = store.store_ssh_key(self.name, &self.der, &self.blob, "bench", self.name).expect("stored");
        store.assign_ssh_key(SCOPE, id, false).expect("assigned");
    }

    /// Gives the key to `ssh-agent`: by message where the file would have to be in OpenSSH's own format.
    fn add(&self, dir: &Path) {
        let socket = dir.join("ssh-agent.sock");
        if self.name == "ed25519" {
            let (seed, public) = (&self.der[self.der.len() - 32..], &self.blob[self.blob.len() - 32..]);
            let secret = [seed, public].concat();
            let body = [&[17][..], &strings(&[b"ssh-ed25519", public, &secret, b"bench"])].concat();
            assert_eq!(Line::open(&socket, None).ask(&strings(&[&body])), [6]);
            return;
        }
        let (der, pem) = (dir.join("rsa.der"), dir.join("rsa.pem"));
        std::fs::write(&der, &self.der).expect("a file");
        let convert = ["pkey", "-inform", "DER", "-in"];
        let done = Command::new("openssl").args(convert).arg(&der).arg("-out").arg(&pem).status();
        assert!(done.expect("openssl").success());
        let only_ours = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
        std::fs::set_permissions(&pem, only_ours).expect("a mode");
        let mut adding = Command::new("ssh-add");
        let done = adding.arg("-q").arg(&pem).env("SSH_AUTH_SOCK", &socket).status();
        assert!(done.expect("ssh-add").success());
    }
}

/// A client's connection.
struct Line(UnixStream);

impl Line {
    fn open(socket: &Path, token: Option<&str>) -> Self {
        let mut stream = UnixStream::connect(socket).expect("an agent");
        if let Some(token) = token {
            stream.write_all(&strings(&[token.as_bytes()])).expect("a peer");
        }
        Self(stream)
    }

    fn ask(&mut self, message: &[u8]) -> Vec<u8> {
        self.0.write_all(message).expect("a peer");
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("an answer");
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut body).expect("a whole answer");
        body
    }
}

fn strings(parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().flat_map(|part| [&(part.len() as u32).to_be_bytes()[..], part].concat()).collect()
}

fn sign_message(blob: &[u8]) -> Vec<u8> {
    strings(&[&[&[13][..], &strings(&[blob, &DATA]), &SHA512.to_be_bytes()].concat()])
}

// ----------------------------------------------------------------------------------------------------- measurements

/// Both agents with the same keys.
struct Scene {
    dir: PathBuf,
    token: String,
    parts: [Part; 2],
}

impl Scene {
    fn set(dir: &Path, keys: &[Key]) -> Self {
        let store = Store::open(&dir.join("credentials.db"), &Secret::new("bench")).expect("a vault");
        let token = store.create_token(SCOPE, SUBJECT, SCOPE, "ssh").expect("a token");
        keys.iter().for_each(|key| key.store(&store));
        drop(store);
        let parts = [start_signer(dir), start_ssh_agent(dir)];
        keys.iter().for_each(|key| key.add(dir));
        Self { dir: dir.to_owned(), token, parts }
    }

    fn lines(&self) -> [Line; 2] {
        let ours = Line::open(&self.dir.join("signer.sock"), Some(&self.token));
        [ours, Line::open(&self.dir.join("ssh-agent.sock"), None)]
    }

    /// Runs `work` with all processes on one core.
    fn on_one_core(&self, work: impl FnOnce()) {
        let all = [None, Some(&self.parts[0]), Some(&self.parts[1])]
            .map(|part| part.and_then(|part| rustix::process::Pid::from_raw(part.0.id() as i32)));
        let free = sched_getaffinity(None).expect("the cores we have");
        let mut one = CpuSet::new();
        one.set((0..CpuSet::MAX_CPU).rev().find(|core| free.is_set(*core)).expect("a core"));
        for process in all {
            sched_setaffinity(process, &one).expect("one core");
        }
        work();
        for process in all {
            sched_setaffinity(process, &free).expect("all cores");
        }
    }
}

fn measure() -> ExitCode {
    let quick = quick();
    let dir = tempfile::tempdir().expect("a directory");
    go_first();
    let keys = ["ed25519", "rsa"].map(Key::generate);
    let scene = Scene::set(dir.path(), &keys);
    let mut report = Report::default();
    for key in &keys {
        let each = if key.name == "rsa" { 50 } else { 500 };
        let blocks = if quick { 5 } else { 20 };
        scene.on_one_core(|| {
            let times = signatures(&scene, key, blocks, each);
            judge(&mut report, &format!("ssh sign, {}, p50", key.name), &times);
        });
        let times = signatures(&scene, key, blocks, each);
        note(&report, &format!("ssh sign, {}, any core, p50", key.name), &times);
        let times = logins(&scene, key, if quick { 30 } else { 150 });
        note(&report, &format!("connect, list, sign, {}, p50", key.name), &times);
    }
    report.verdict()
}

/// Times of signatures over an open connection: ours, then `ssh-agent`'s.
fn signatures(scene: &Scene, key: &Key, blocks: usize, each: usize) -> [Vec<Duration>; 2] {
    let mut lines = scene.lines();
    let message = sign_message(&key.blob);
    let mut times = [Vec::new(), Vec::new()];
    // The first block warms up.
    for block in 0..=blocks {
        for (line, times) in lines.iter_mut().zip(&mut times) {
            for _ in 0..each {
                let began = Instant::now();
                let answer = line.ask(&message);
                if block > 0 {
                    times.push(began.elapsed());
                }
                assert_eq!(answer[0], 14);
            }
        }
    }
    times
}

/// Times of what a login needs, on a new connection each.
fn logins(scene: &Scene, key: &Key, rounds: usize) -> [Vec<Duration>; 2] {
    let message = sign_message(&key.blob);
    let mut times = [Vec::new(), Vec::new()];
    let places =
        [(scene.dir.join("signer.sock"), Some(scene.token.as_str())), (scene.dir.join("ssh-agent.sock"), None)];
    for _ in 0..rounds {
        for ((socket, token), times) in places.iter().zip(&mut times) {
            let began = Instant::now();
            let mut line = Line::open(socket, *token);
            let offered = line.ask(&strings(&[&[11]]));
            let signed = line.ask(&message);
            times.push(began.elapsed());
            assert_eq!((offered[0], signed[0]), (12, 14));
        }
    }
    times
}

/// The ratio of the medians, ours to `ssh-agent`'s, in numbers and in words.
fn compare([ours, theirs]: &[Vec<Duration>; 2]) -> (f64, String, String) {
    let p50 = |times: &[Duration]| median(times.iter().map(|time| time.as_secs_f64() * 1e6));
    let (ours, theirs) = (p50(ours), p50(theirs));
    let ratio = ours / theirs;
    (ratio, format!("{ratio:.2} x"), format!("ssh-agent {theirs:.0} µs, signer {ours:.0} µs"))
}

fn note(report: &Report, figure: &str, times: &[Vec<Duration>; 2]) {
    let (_, measured, against) = compare(times);
    report.note(figure, &format!("{measured}, {against}"));
}

fn judge(report: &mut Report, figure: &str, times: &[Vec<Duration>; 2]) {
    let (ratio, measured, against) = compare(times);
    report.bar(figure, &format!("{BAR:.0} x"), &measured, &against, ratio <= BAR);
}
