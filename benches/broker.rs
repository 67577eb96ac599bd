//! Figures of the credential broker, each beside what it is compared with, measured in one run.
//!
//! Three processes: this one makes the load, a child is the upstream, another child is the broker with a real encrypted
//! vault, a real route table and the audit file on. All of them share the machine's cores. Blocks of direct and brokered
//! requests alternate, so that whatever else the machine does hits both alike.
//!
//! The added time is taken with all three on one core, where it is the broker's own work; how the scheduler spreads
//! three processes over idle virtual cores, and what waking such a core costs, is printed too, but is not ours.
//!
//! As root all of it runs before other work of the machine (`chrt --rr 1`), direct and brokered alike.
//!
//! `cargo bench -p terok-broker` runs it; `TEROK_BENCH_QUICK=1` makes it short. The exit status is 1 when a bar is
//! missed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod report;

use broker::{Broker, BrokerConfig, Markers, Owner};
use report::{Report, announce, go_first, percentile, private_kib, quick};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vault::VaultCell;

const GIB: u64 = 1 << 30;
const PIECE: usize = 64 * 1024;
const BODY: usize = 1024;
const CONNECTIONS: usize = 64;
/// As long as a real one: every answer is searched for it.
const KEY: &str = "sk-ant-api03-q8Zr5TnYx0LwPb7cVf2Gh9Jk4Md6Ns1Au3Ei-Xo_Wp5Rt7Uy2Bz8Cv4Dm6Fn0Hq1Jg3Ks9La-Qw2EAA";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("as-upstream") => run(upstream()),
        Some("as-broker") => run(brokering(Path::new(&arguments[2]))),
        _ => measure(),
    }
}

fn run(work: impl Future<Output = ()>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work);
    ExitCode::SUCCESS
}

// ---------------------------------------------------------------------------------------------------- the upstream

/// Prints its port, then serves: `/down` sends a gibibyte, everything else counts its body and answers a kibibyte.
async fn upstream() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    announce(&listener.local_addr().expect("an address").port().to_string());
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("nodelay");
        tokio::spawn(async move {
            let _ = attend(stream).await;
        });
    }
}

async fn attend(mut stream: tokio::net::TcpStream) -> std::io::Result<()> {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n{}", "a".repeat(BODY));
    let (mut buffer, mut filled) = (vec![0; PIECE], 0);
    loop {
        let end = loop {
            if let Some(at) = find(&buffer[..filled], b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Ok(()),
                count => filled += count,
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|l| l.strip_prefix("content-length:"));
        let mut left: u64 = length.map_or(0, |l| l.trim().parse().expect("a number"));
        let here = left.min((filled - end) as u64);
        left -= here;
        buffer.copy_within(end + here as usize..filled, 0);
        filled -= end + here as usize;
        while left > 0 {
            let most = PIECE.min(left as usize);
            match stream.read(&mut buffer[..most]).await? {
                0 => return Ok(()),
                count => left -= count as u64,
            }
        }
        if head.starts_with("get /down") {
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n").as_bytes()).await?;
            // Not the buffer, in which the request's head may still lie.
            let event = b"data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"the quick brown fox\"}}\n\n";
            let piece: Vec<u8> = event.iter().copied().cycle().take(PIECE).collect();
            for _ in 0..GIB / PIECE as u64 {
                stream.write_all(&piece).await?;
            }
        } else {
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|w| w == what)
}

// ------------------------------------------------------------------------------------------------------ the broker

async fn brokering(dir: &Path) {
    let store = vault::Store::open(&dir.join("credentials.db"), &base::secret::Secret::new("bench")).expect("a vault");
    let config = BrokerConfig {
        routes_path: dir.join("routes.json"),
        audit_path: Some(dir.join("audit.jsonl")),
        owner: Owner::new("proj", "task"),
        markers: Markers::default(),
        lock_dir: dir.join("locks"),
        budget: server::Budget::default(),
    };
    let broker = Broker::new(config, VaultCell::open(Arc::new(store))).expect("a broker");
    let listener = base::socket::bind_unix(&dir.join("vault.sock")).expect("a socket");
    announce("ready");
    server::serve(broker, base::socket::Listener::Unix(listener), std::future::pending()).await.expect("serving");
}

// -------------------------------------------------------------------------------------------------- the other side

/// A child process that dies with this one's handle.
struct Part {
    child: Child,
    said: String,
}

impl Part {
    fn start(arguments: &[&str]) -> Self {
        let myself = std::env::current_exe().expect("a path");
        let mut child = Command::new(myself).args(arguments).stdout(Stdio::piped()).spawn().expect("a child");
        let mut said = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut said).expect("a line");
        Self { child, said: said.trim().to_owned() }
    }

    /// Private memory now, in KiB.
    fn private_kib(&self) -> u64 {
        private_kib(self.child.id())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// One keep-alive connection to the upstream, direct or through the broker.
struct Line(BufReader<Box<dyn Wire>>);

impl Line {
    fn new(wire: Box<dyn Wire>) -> Self {
        Self(BufReader::with_capacity(PIECE, wire))
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("a peer");
    }

    /// Reads one answer; the length of its body.
    fn answer(&mut self, mut watch: impl FnMut(u64)) -> u64 {
        let mut length = 0;
        let mut line = String::new();
        let mut first = true;
        loop {
            line.clear();
            self.0.read_line(&mut line).expect("an answer");
            assert!(!first || line.contains(" 200 "), "{line}");
            first = false;
            if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().expect("a number");
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut left = length;
        while left > 0 {
            let count = self.0.fill_buf().expect("a body").len() as u64;
            assert!(count > 0, "the body was cut");
            let count = count.min(left);
            self.0.consume(count as usize);
            left -= count;
            watch(length - left);
        }
        length
    }
}

struct Scene {
    upstream: Part,
    broker: Part,
    dir: PathBuf,
    head: String,
}

impl Scene {
    fn set(dir: &Path) -> Self {
        let upstream = Part::start(&["as-upstream"]);
        let store =
            vault::Store::open(&dir.join("credentials.db"), &base::secret::Secret::new("bench")).expect("a vault");
        let record = json!({"type": "api_key", "key": KEY});
        store.store_credential("default", "claude", record.as_object().expect("an object")).expect("stored");
        let token = store.create_token("proj", "task", "default", "claude").expect("a token");
        let routes = json!({"claude": {
            "upstream": format!("http://127.0.0.1:{}", upstream.said), "auth_header": "dynamic", "auth_prefix": "",
        }});
        std::fs::write(dir.join("routes.json"), routes.to_string()).expect("written");
        let broker = Part::start(&["as-broker", &dir.to_string_lossy()]);
        let head = format!(
            "Host: localhost:9419\r\nX-Api-Key: {token}\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\
             Anthropic-Version: 2023-06-01\r\nContent-Type: application/json\r\n"
        );
        Self { upstream, broker, dir: dir.to_owned(), head }
    }

    fn direct(&self) -> Line {
        let stream = TcpStream::connect(format!("127.0.0.1:{}", self.upstream.said)).expect("the upstream");
        stream.set_nodelay(true).expect("nodelay");
        Line::new(Box::new(stream))
    }

    fn brokered(&self) -> Line {
        Line::new(Box::new(UnixStream::connect(self.dir.join("vault.sock")).expect("the broker")))
    }

    /// Keeps all processes on one core while `work` runs.
    fn on_one_core(&self, work: impl FnOnce()) {
        let pid = |part: &Part| rustix::process::Pid::from_raw(part.child.id() as i32);
        let all = [None, pid(&self.upstream), pid(&self.broker)];
        let free = sched_getaffinity(None).expect("the cores");
        let mut one = CpuSet::new();
        let last = (0..CpuSet::MAX_CPU).rev().find(|&core| free.is_set(core)).expect("a core");
        one.set(last);
        for process in all {
            sched_setaffinity(process, &one).expect("one core");
        }
        work();
        for process in all {
            sched_setaffinity(process, &free).expect("all cores");
        }
    }

    fn post(&self) -> Vec<u8> {
        let head = &self.head;
        format!("POST /v1/messages HTTP/1.1\r\n{head}Content-Length: {BODY}\r\n\r\n{}", "b".repeat(BODY)).into_bytes()
    }
}

fn measure() -> ExitCode {
    let quick = quick();
    let dir = tempfile::tempdir().expect("a directory");
    go_first();
    let scene = Scene::set(dir.path());
    let idle = scene.broker.private_kib();
    let mut report = Report::default();
    report.note("broker process, idle", &format!("{idle} KiB private"));
    let blocks = if quick { 5 } else { 20 };
    scene.on_one_core(|| latency(&scene, "one core", true, blocks, &mut report));
    latency(&scene, "any core", false, blocks, &mut report);
    throughput(&scene, Duration::from_secs(if quick { 2 } else { 5 }), &mut report);
    streams(&scene, &mut report);
    report.verdict()
}

fn latency(scene: &Scene, place: &str, counts: bool, blocks: usize, report: &mut Report) {
    let (mut direct, mut brokered) = (scene.direct(), scene.brokered());
    let post = scene.post();
    let mut times = [Vec::new(), Vec::new()];
    for block in 0..=blocks {
        for (line, times) in [&mut direct, &mut brokered].into_iter().zip(&mut times) {
            for _ in 0..1000 {
                let began = Instant::now();
                line.send(&post);
                line.answer(|_| {});
                // The first block warms up.
                if block > 0 {
                    times.push(began.elapsed());
                }
            }
        }
    }
    for (name, share, bar) in [("p50", 0.50, 80.0), ("p99", 0.99, 500.0)] {
        let at = |times: &[Duration]| percentile(times.iter().map(|t| t.as_secs_f64() * 1e6), share);
        let (direct, brokered) = (at(&times[0]), at(&times[1]));
        let added = brokered - direct;
        let figure = format!("broker, keep-alive request, {place}, {name}");
        let (measured, against) =
            (format!("+{added:.0} µs"), format!("direct {direct:.0} µs, brokered {brokered:.0} µs"));
        if counts {
            report.bar(&figure, &format!("{bar:.0} µs"), &measured, &against, added <= bar);
        } else {
            report.note(&figure, &format!("{measured}, {against}"));
        }
    }
}

/// Requests per second over many connections, the load from one thread.
fn throughput(scene: &Scene, time: Duration, report: &mut Report) {
    let request: Arc<[u8]> = scene.post().into();
    let port = &scene.upstream.said;
    let socket = scene.dir.join("vault.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut rates = [0.0; 2];
    for (brokered, rate) in rates.iter_mut().enumerate() {
        *rate = runtime.block_on(async {
            let began = Instant::now();
            let mut loads = tokio::task::JoinSet::new();
            for _ in 0..CONNECTIONS {
                let (request, until) = (request.clone(), began + time);
                if brokered == 1 {
                    let stream = tokio::net::UnixStream::connect(&socket).await.expect("the broker");
                    loads.spawn(load(stream, request, until));
                } else {
                    let stream = tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.expect("it");
                    stream.set_nodelay(true).expect("nodelay");
                    loads.spawn(load(stream, request, until));
                }
            }
            let count: u64 = loads.join_all().await.into_iter().sum();
            count as f64 / began.elapsed().as_secs_f64()
        });
    }
    let (direct, measured) = (format!("direct {:.0}/s", rates[0]), format!("{:.0}/s", rates[1]));
    report.bar(&format!("broker, {CONNECTIONS} connections"), "10000/s", &measured, &direct, rates[1] >= 10_000.0);
    report.note("broker process after it", &format!("{} KiB private", scene.broker.private_kib()));
}

async fn load<S>(mut stream: S, request: Arc<[u8]>, until: Instant) -> u64
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut buffer = vec![0; 4096];
    let mut count = 0;
    while Instant::now() < until {
        stream.write_all(&request).await.expect("a peer");
        let mut filled = 0;
        loop {
            let got = stream.read(&mut buffer[filled..]).await.expect("an answer");
            assert!(got > 0, "the connection was closed");
            filled += got;
            if find(&buffer[..filled], b"\r\n\r\n").is_some_and(|end| filled >= end + 4 + BODY) {
                break;
            }
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200"));
        count += 1;
    }
    count
}

/// The broker's private memory while a gibibyte passes, each way.
fn streams(scene: &Scene, report: &mut Report) {
    let before = scene.broker.private_kib();
    let mut peak = before;
    let every = GIB / 32;
    let mut look = |done: u64| {
        if done % every < PIECE as u64 {
            peak = peak.max(scene.broker.private_kib());
        }
    };
    let mut line = scene.brokered();
    let began = Instant::now();
    line.send(format!("GET /down HTTP/1.1\r\n{}\r\n", scene.head).as_bytes());
    assert_eq!(line.answer(&mut look), GIB);
    let down = began.elapsed();
    let began = Instant::now();
    line.send(format!("POST /up HTTP/1.1\r\n{}Content-Length: {GIB}\r\n\r\n", scene.head).as_bytes());
    let piece = vec![7; PIECE];
    for number in 0..GIB / PIECE as u64 {
        line.send(&piece);
        look(number * PIECE as u64);
    }
    line.answer(|_| {});
    let up = began.elapsed();
    let rate = |time: Duration| (GIB >> 20) as f64 / time.as_secs_f64();
    let text = format!("down {:.0} MiB/s, up {:.0} MiB/s", rate(down), rate(up));
    report.note("1 GiB through the broker", &text);
    let grown = peak.saturating_sub(before);
    let against = format!("{before} KiB before, {peak} KiB at most");
    report.bar("broker, memory, 1 GiB each way", "+1024 KiB", &format!("+{grown} KiB"), &against, grown <= 1024);
}
