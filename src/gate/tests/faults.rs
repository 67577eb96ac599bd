//! Clients that stall or vanish, a gate that dies, a git that fails: the repository stays whole and the next try works.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base::socket::Listener;
use gate::Limits;

use crate::stage::{Stage, TOKEN, noise, path, wait_until};

/// A gate that soon loses patience, and one commit with `content`. It is pushed past the gate: on a busy machine git itself
/// may be silent for longer, and nothing of an earlier push is at work when a test begins.
fn impatient(content: &[u8]) -> Stage {
    let stage = Stage::with(Limits { idle: Duration::from_millis(300), ..Limits::default() });
    let work = stage.work();
    stage.run(&["init", "-q", "-b", "main", path(&work)]);
    stage.commit(&work, "content", content);
    stage.run_at(&work, &["push", "-q", path(&stage.repository()), "main"]);
    stage
}

pub fn basic() -> String {
    use base64::Engine;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{TOKEN}:x"));
    format!("Host: l\r\nAuthorization: Basic {pair}\r\n")
}

pub fn push_head() -> String {
    let kind = "Content-Type: application/x-git-receive-pack-request\r\n";
    format!("POST /proj.git/git-receive-pack HTTP/1.1\r\n{}{kind}", basic())
}

/// Processes that work in the repository.
fn at_work(repository: &Path) -> Vec<String> {
    let here = repository.canonicalize().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let working = processes.filter(|p| std::fs::read_link(p.path().join("cwd")).is_ok_and(|cwd| cwd == here));
    working.map(|p| std::fs::read_to_string(p.path().join("cmdline")).unwrap_or_default()).collect()
}

/// The beginning of an object of a million bytes, well-formed as far as it goes, so that git waits for the rest.
fn part_of_an_object() -> Vec<u8> {
    // A blob's size in pieces of four, seven and seven bits; then a deflate stream whose first block is stored as it is.
    let mut out = vec![0xb0, 0xa4, 0xe8, 0x03, 0x78, 0x01, 0x00, 0xff, 0xff, 0x00, 0x00];
    out.extend_from_slice(&noise(1, 5000));
    out
}

/// The beginning of a push: the list of changes and the first part of a pack that promises more.
fn half_a_push(stage: &Stage) -> Vec<u8> {
    let tip = stage.tip(&stage.work(), "HEAD");
    let line = format!("{} {tip} refs/heads/half\0 report-status side-band-64k", "0".repeat(40));
    let mut body = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
    body.extend_from_slice(b"PACK\0\0\0\x02\0\0\0\x09");
    body
}

// improves: 22-S4-limits
#[test]
fn a_client_that_stalls_is_dropped_at_every_stage() {
    let stage = impatient(b"hello\n");
    let half = half_a_push(&stage);
    let chunked = format!("{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", push_head(), half.len());
    let stages: [Vec<u8>; 5] = [
        b"GET /proj.git/HE".to_vec(),
        format!("{}Content-Length: 100\r\n\r\n", push_head()).into_bytes(),
        format!("{}Content-Length: 100000\r\n\r\n00a0", push_head()).into_bytes(),
        [chunked.as_bytes(), &half, b"\r\n"].concat(),
        Vec::new(),
    ];
    for (number, sent) in stages.iter().enumerate() {
        let began = Instant::now();
        let answer = stage.raw(sent);
        assert!(began.elapsed() < Duration::from_secs(40), "stage {number}: {answer}");
        assert!(!answer.contains(" 200 OK") || answer.contains("unpack"), "stage {number}: {answer}");
    }
    wait_until("no git is left", || at_work(&stage.repository()).is_empty());
    assert!(stage.references("refs/heads/half").is_empty());
    stage.assert_intact();
}

// improves: 22-S4-limits
#[test]
fn a_client_that_takes_nothing_is_dropped_and_git_with_it() {
    let stage = impatient(&noise(3, 8 << 20));
    let tip = stage.tip(&stage.work(), "HEAD");
    let body = format!("0032want {tip}\n00000009done\n");
    let kind = "Content-Type: application/x-git-upload-pack-request\r\n";
    let mut stream = UnixStream::connect(stage.socket()).unwrap();
    let head = format!("POST /proj.git/git-upload-pack HTTP/1.1\r\n{}{kind}", basic());
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    // Git has begun its answer.
    let mut status = [0; 15];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200 OK");
    wait_until("git is ended", || at_work(&stage.repository()).is_empty());
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < 8 << 20, "the answer was cut");
}

#[test]
fn a_client_that_vanishes_leaves_nothing() {
    let stage = Stage::seeded();
    let half = half_a_push(&stage);
    let mut stream = UnixStream::connect(stage.socket()).unwrap();
    write!(stream, "{}Content-Length: 1000000\r\n\r\n", push_head()).unwrap();
    stream.write_all(&half).unwrap();
    stream.write_all(&part_of_an_object()).unwrap();
    wait_until("git receives", || !stage.leftovers().is_empty());
    drop(stream);
    wait_until("git is ended", || at_work(&stage.repository()).is_empty());
    stage.assert_intact();
    stage.run_at(&stage.work(), &["push", "-q", "origin", "HEAD:half"]);
}

#[test]
fn a_pack_that_is_damaged_is_refused_with_a_reason() {
    let stage = Stage::seeded();
    let mut body = half_a_push(&stage);
    body.extend_from_slice(&noise(9, 4000));
    let request = format!("{}Connection: close\r\nContent-Length: {}\r\n\r\n", push_head(), body.len());
    let answer = stage.raw(&[request.as_bytes(), &body].concat());
    assert!(answer.contains("ng refs/heads/half") || answer.contains("unpack"), "{answer}");
    assert!(stage.references("refs/heads/half").is_empty());
    stage.assert_intact();
}

// holds: push-quotas
#[test]
fn a_push_beyond_a_quota_is_refused_with_the_setting_that_says_so() {
    let limits = Limits { push: 1 << 20, references: 10, kept: 2, ..Limits::default() };
    let stage = Stage::seeded_with(limits);
    let work = stage.work();
    let fails = |words: &[&str], setting: &str| {
        let said = stage.fails_at(&work, words);
        assert!(said.contains(&format!("`gate_server.{setting}`")), "{words:?}: {said}");
        wait_until("git is ended", || at_work(&stage.repository()).is_empty());
    };
    stage.run_at(&work, &["branch", "large"]);
    stage.run_at(&work, &["checkout", "-q", "large"]);
    stage.commit(&work, "large", &noise(4, 3 << 20));
    fails(&["push", "origin", "large"], "push_limit_mib");
    fails(&["-c", "http.postBuffer=100m", "push", "origin", "large"], "push_limit_mib");
    let many: Vec<String> = (0..11).map(|n| format!("main:refs/heads/many-{n}")).collect();
    let words: Vec<&str> = ["push", "origin"].into_iter().chain(many.iter().map(String::as_str)).collect();
    fails(&words, "references_per_push");
    stage.run_at(&work, &words[..12]);
    stage.run_at(&work, &["checkout", "-q", "main"]);
    for round in 0..2 {
        stage.run_at(&work, &["commit", "-q", "--amend", "-m", &format!("rewritten {round}")]);
        stage.run_at(&work, &["push", "-q", "--force", "origin", "main"]);
    }
    stage.run_at(&work, &["commit", "-q", "--amend", "-m", "rewritten"]);
    fails(&["push", "--force", "origin", "main"], "kept_tips");
    stage.run_at(&work, &["push", "-q", "origin", "main:another"]);
    stage.assert_intact();
}

#[test]
fn a_compressed_bomb_is_not_unpacked() {
    let stage = Stage::seeded();
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let wants = format!("0032want {}\n", stage.tip(&stage.work(), "HEAD")).repeat(20_000);
    (0..100).for_each(|_| bomb.write_all(wants.as_bytes()).unwrap());
    let bomb = bomb.finish().unwrap();
    let kind = "Content-Type: application/x-git-upload-pack-request\r\nContent-Encoding: gzip\r\nConnection: close\r\n";
    let head = format!("POST /proj.git/git-upload-pack HTTP/1.1\r\n{}{kind}", basic());
    let head = format!("{head}Content-Length: {}\r\n\r\n", bomb.len());
    let answer = stage.raw(&[head.as_bytes(), &bomb].concat());
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let broken = format!("{}Content-Length: 4\r\n\r\nabcd", head.split("Content-Length").next().unwrap());
    assert!(stage.raw(broken.as_bytes()).starts_with("HTTP/1.1 400 "));
    wait_until("git is ended", || at_work(&stage.repository()).is_empty());
}

#[test]
fn a_git_that_fails_before_it_answers_is_an_error_of_ours() {
    let stage = Stage::seeded();
    std::fs::remove_dir_all(stage.repository().join("objects")).unwrap();
    let said = stage.fails_at(&stage.work(), &["fetch", "origin"]);
    assert!(said.contains("500"), "{said}");
}

/// A process that is killed with this value.
struct Ending(std::process::Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A gate in a process of its own: this test program, told to be one.
// improves: 22-S6-token-out-of-sight
#[test]
fn a_gate_that_is_killed_in_the_middle_of_a_push_loses_nothing() {
    if let Some(base) = std::env::var_os("TEROK_TEST_AS_GATE") {
        return serve(Path::new(&base));
    }
    let stage = Stage::seeded();
    let work = stage.work();
    for number in 0..3 {
        std::fs::write(work.join(format!("large-{number}")), noise(20 + number, 8 << 20)).unwrap();
    }
    stage.run_at(&work, &["add", "."]);
    stage.run_at(&work, &["commit", "-q", "-m", "large"]);
    let name = "faults::a_gate_that_is_killed_in_the_middle_of_a_push_loses_nothing";
    for pause in [5, 30, 80, 150, 250] {
        let gate = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env("TEROK_TEST_AS_GATE", stage.dir.path())
            .stdout(Stdio::null())
            .spawn()
            .map(Ending)
            .unwrap();
        let socket = stage.dir.path().join("killed.port");
        wait_until("the gate serves", || std::fs::read_to_string(&socket).is_ok_and(|t| t.ends_with('\n')));
        let port = std::fs::read_to_string(&socket).unwrap();
        let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", gate.0.id())).unwrap();
        assert!(!arguments.contains(TOKEN));
        let url = format!("http://{TOKEN}:x@127.0.0.1:{}/proj.git", port.trim());
        let known = stage.leftovers();
        let push = stage.git(&["-C", path(&work), "push", "-q", &url, "HEAD:large"]).stderr(Stdio::piped()).spawn();
        let push = std::cell::RefCell::new(push.unwrap());
        // A push may be over before we see it begin.
        wait_until("git receives", || {
            stage.leftovers().iter().any(|name| !known.contains(name))
                || push.borrow_mut().try_wait().unwrap().is_some()
        });
        std::thread::sleep(Duration::from_millis(pause));
        drop(gate);
        std::fs::remove_file(&socket).unwrap();
        let push = push.into_inner().wait_with_output().unwrap();
        wait_until("git is ended", || at_work(&stage.repository()).is_empty());
        // A client may not hear of a push that git finished all the same; it never hears of one that was not.
        let there = !stage.references("refs/heads/large").is_empty();
        assert!(there || !push.status.success(), "{}", String::from_utf8_lossy(&push.stderr));
        stage.run_at(&stage.repository(), &["fsck", "--full", "--strict", "--no-dangling"]);
        if there {
            stage.run_at(&work, &["push", "-q", "origin", ":large"]);
        }
    }
    // What a killed git left behind is removed by a push of the next day.
    for left in stage.leftovers() {
        let left = stage.repository().join("objects").join(left);
        let done = Command::new("touch").args(["-d", "2 days ago", path(&left)]).status().unwrap();
        assert!(done.success());
    }
    stage.run_at(&work, &["push", "-q", "origin", "HEAD:large"]);
    assert_eq!(stage.tip(&stage.repository(), "large"), stage.tip(&work, "HEAD"));
    stage.assert_intact();
}

fn serve(dir: &Path) {
    let config = gate::GateConfig {
        base: dir.join("mirrors"),
        scope: "proj".into(),
        token: base::secret::Secret::new(TOKEN),
        limits: Limits::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = base::socket::bind_tcp(0).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::fs::write(dir.join("killed.port"), format!("{port}\n")).unwrap();
        let gate = gate::Gate::new(config).unwrap();
        server::serve(gate, Listener::Tcp(listener), std::future::pending()).await.unwrap();
    });
}
