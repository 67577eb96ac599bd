//! Figures of the git gate, each beside a real `git daemon` on the same repository, measured in one run.
//!
//! The gate is a process of its own, as in a supervisor: one runtime on one thread. git itself is the client of both.
//! Rounds of daemon and gate alternate, so that whatever else the machine does hits both alike; what is judged is the
//! median of the rounds' ratios. The content is random, so that no compression takes part.
//!
//! As root all of it runs before other work of the machine (`chrt --rr 1`), daemon and gate alike.
//!
//! `cargo bench -p terok-gate` runs it; `TEROK_BENCH_QUICK=1` makes it short. The exit status is 1 when a bar is missed.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

mod report;

use gate::{Gate, GateConfig, Limits};
use report::{Report, announce, go_first, median, private_kib, quick};

const TOKEN: &str = "terok-g-00000000000000000000000000000000";
const SCOPE: &str = "bench";
const MIB: usize = 1 << 20;
const SIZE: usize = 200;
const CLONES: usize = 16;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("as-gate") => serve(Path::new(&arguments[2])),
        _ => measure(),
    }
}

// -------------------------------------------------------------------------------------------------------- the gate

fn serve(base: &Path) -> ExitCode {
    let config = GateConfig {
        base: base.to_owned(),
        scope: SCOPE.into(),
        token: base::secret::Secret::new(TOKEN),
        limits: Limits::default(),
    };
    let gate = Gate::new(config).expect("a gate");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = base::socket::bind_tcp(0).expect("a port");
        announce(&listener.local_addr().expect("an address").port().to_string());
        server::serve(gate, base::socket::Listener::Tcp(listener), std::future::pending()).await.expect("serving");
    });
    ExitCode::SUCCESS
}

// -------------------------------------------------------------------------------------------------- the other side

/// A child process that dies with this one's handle.
struct Part(Child);

impl Part {
    /// Private memory now, in KiB.
    fn private_kib(&self) -> u64 {
        private_kib(self.0.id())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

struct Scene {
    _daemon: Part,
    gate: Part,
    urls: [String; 2],
    dir: PathBuf,
}

fn git(arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "bench").env(format!("GIT_{who}_EMAIL"), "bench@localhost");
    }
    command
}

fn run(mut command: Command) {
    let output = command.output().expect("git runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

impl Scene {
    fn set(dir: &Path) -> Self {
        let mirrors = dir.join("mirrors");
        std::fs::create_dir(&mirrors).expect("a directory");
        seed(dir, &mirrors);
        use std::os::unix::process::CommandExt;
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let daemon = git(&["daemon", "--reuseaddr", "--export-all", "--enable=receive-pack", "--listen=127.0.0.1"])
            .args([format!("--port={free}"), format!("--base-path={}", text(&mirrors)), text(&mirrors).to_owned()])
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a daemon");
        let daemon = Part(daemon);
        wait_for(free);
        let myself = std::env::current_exe().expect("a path");
        let mut gate = Command::new(myself)
            .args(["as-gate", text(&mirrors)])
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("a gate");
        let mut port = String::new();
        BufReader::new(gate.stdout.take().expect("a pipe")).read_line(&mut port).expect("a line");
        let urls = [
            format!("git://127.0.0.1:{free}/{SCOPE}.git"),
            format!("http://{TOKEN}:x@127.0.0.1:{}/{SCOPE}.git", port.trim()),
        ];
        Self { _daemon: daemon, gate: Part(gate), urls, dir: dir.to_owned() }
    }

    fn mirror(&self) -> PathBuf {
        self.dir.join("mirrors").join(format!("{SCOPE}.git"))
    }

    fn clone(&self, side: usize, number: usize) -> (Command, PathBuf) {
        let target = self.dir.join(format!("clone-{side}-{number}"));
        (git(&["clone", "-q", &self.urls[side], text(&target)]), target)
    }

    /// Seconds that one clone takes.
    fn one_clone(&self, side: usize) -> f64 {
        let (command, target) = self.clone(side, 0);
        let took = timed(|| run(command));
        std::fs::remove_dir_all(target).expect("removed");
        took
    }

    /// Seconds until the last of several clones is done.
    fn many_clones(&self, side: usize) -> f64 {
        let (commands, targets): (Vec<_>, Vec<_>) = (0..CLONES).map(|number| self.clone(side, number)).unzip();
        let took = timed(|| {
            let children = commands.into_iter().map(|mut command| command.spawn().expect("git runs"));
            for mut child in children.collect::<Vec<_>>() {
                let mut said = String::new();
                child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
                assert!(child.wait().expect("a status").success(), "{said}");
            }
        });
        targets.iter().for_each(|target| std::fs::remove_dir_all(target).expect("removed"));
        took
    }

    /// Seconds that one push of everything into an empty repository takes.
    fn one_push(&self, side: usize) -> f64 {
        let (mirror, aside) = (self.mirror(), self.dir.join("aside.git"));
        std::fs::rename(&mirror, &aside).expect("moved");
        run(git(&["init", "-q", "--bare", text(&mirror)]));
        let work = self.dir.join("work");
        let took = timed(|| run(git(&["-C", text(&work), "push", "-q", &self.urls[side], "main"])));
        std::fs::remove_dir_all(&mirror).expect("removed");
        std::fs::rename(&aside, &mirror).expect("moved");
        took
    }
}

/// A repository of incompressible files, packed, and its mirror.
fn seed(dir: &Path, mirrors: &Path) {
    let work = dir.join("work");
    run(git(&["init", "-q", "-b", "main", text(&work)]));
    let mut random = std::fs::File::open("/dev/urandom").expect("random bytes");
    let mut bytes = vec![0; MIB];
    for number in 0..SIZE {
        random.read_exact(&mut bytes).expect("random bytes");
        std::fs::write(work.join(format!("file-{number}")), &bytes).expect("written");
    }
    run(git(&["-C", text(&work), "add", "."]));
    run(git(&["-C", text(&work), "commit", "-q", "-m", "random files"]));
    run(git(&["-C", text(&work), "repack", "-q", "-a", "-d"]));
    run(git(&["clone", "-q", "--bare", text(&work), text(&mirrors.join(format!("{SCOPE}.git")))]));
}

fn wait_for(port: u16) {
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "the daemon does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn timed(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

fn measure() -> ExitCode {
    let quick = quick();
    go_first();
    let dir = room();
    let scene = Scene::set(dir.path());
    let mut report = Report::default();
    let (few, more) = if quick { (1, 2) } else { (3, 7) };
    let clones = alternate(more, |side| scene.one_clone(side));
    compare(&mut report, &format!("gate, clone of {SIZE} MB"), 1.10, &clones);
    pushes(&scene, more, &mut report);
    let many = alternate(few, |side| scene.many_clones(side));
    compare(&mut report, &format!("gate, {CLONES} clones at once"), 1.2, &many);
    report.verdict()
}

/// Memory, where it is large enough: a disk's mood is not ours.
fn room() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    let needed = (2 * (CLONES + 4) * SIZE * MIB) as u64;
    let place = if free > needed { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("terok-bench-gate-").tempdir_in(place).expect("a directory")
}

/// Pushes, and the gate's memory meanwhile.
fn pushes(scene: &Scene, rounds: usize, report: &mut Report) {
    scene.one_push(1);
    let before = scene.gate.private_kib();
    let done = AtomicBool::new(false);
    let (times, peak) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut peak = before;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(scene.gate.private_kib());
                std::thread::sleep(Duration::from_millis(10));
            }
            peak
        });
        let times = alternate(rounds, |side| scene.one_push(side));
        done.store(true, Ordering::Relaxed);
        (times, watching.join().expect("a peak"))
    });
    compare(report, &format!("gate, push of {SIZE} MB"), 1.15, &times);
    let grown = peak.saturating_sub(before);
    let against = format!("{before} KiB before, {peak} KiB at most");
    let figure = format!("gate, memory, push of {SIZE} MB");
    report.bar(&figure, "+4096 KiB", &format!("+{grown} KiB"), &against, grown <= 4096);
}

/// The times of both sides; the first round warms up and does not count.
fn alternate(rounds: usize, mut take: impl FnMut(usize) -> f64) -> [Vec<f64>; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for (side, times) in times.iter_mut().enumerate() {
            let took = take(side);
            if round > 0 {
                times.push(took);
            }
        }
    }
    times
}

/// The median of the rounds' ratios, against its bar.
fn compare(report: &mut Report, figure: &str, bar: f64, [daemon, gate]: &[Vec<f64>; 2]) {
    let ratio = median(gate.iter().zip(daemon).map(|(gate, daemon)| gate / daemon));
    let [daemon, gate] = [daemon, gate].map(|times| median(times.iter().copied()));
    let against = format!("git daemon {daemon:.2} s, gate {gate:.2} s");
    report.bar(figure, &format!("{bar:.2} x"), &format!("{ratio:.2} x"), &against, ratio <= bar);
}
