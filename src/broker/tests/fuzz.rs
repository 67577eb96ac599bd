//! Ten thousand hostile requests each: heads and paths as raw bytes into a live broker, and phantom tokens.
//!
//! A program of its own, because what it makes the broker log is no good neighbour. The seed is printed;
//! `TEROK_FUZZ_SEED` sets it. Corpora are replayed first and are what the inputs are made of.

// Seeds and counts are for whoever reads the test's output.
#![allow(clippy::print_stdout)]

#[allow(dead_code, unused_imports)]
mod stage;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use broker::{CODEX_SHARED_OAUTH_MARKER, Markers, Owner, PHANTOM_CREDENTIALS_MARKER};
use serde_json::json;

use stage::{PHANTOM, REAL, Stage};

const INPUTS: usize = 10_000;
const TIME_LIMIT: Duration = Duration::from_secs(300);

struct Dice(u64);

impl Dice {
    fn new(name: &str) -> Self {
        let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = std::env::var("TEROK_FUZZ_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(clock);
        println!("{name}: seed {seed}");
        Self(seed | 1)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides.max(1)
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &'a [Box<T>]) -> &'a T {
        &from[self.roll(from.len())]
    }

    /// The corpus first, then what can be made of it.
    fn input(&mut self, round: usize, seeds: &[Box<[u8]>], words: &[Box<[u8]>]) -> Vec<u8> {
        match seeds.get(round) {
            Some(seed) => seed.to_vec(),
            None => {
                let seed = self.roll(seeds.len());
                self.spoil(&seeds[seed], seeds, words)
            }
        }
    }

    /// A copy with a few bytes changed, doubled, removed, or replaced by a piece of another input.
    fn spoil(&mut self, input: &[u8], others: &[Box<[u8]>], words: &[Box<[u8]>]) -> Vec<u8> {
        let mut out = input.to_vec();
        for _ in 0..=self.roll(4) {
            let at = self.roll(out.len() + 1);
            let end = (at + self.roll(24)).min(out.len());
            match self.roll(6) {
                0 if at < out.len() => out[at] = self.roll(256) as u8,
                1 => drop(out.drain(at..end)),
                2 => {
                    let piece = out[at..end].to_vec();
                    out.splice(at..at, piece);
                }
                3 => drop(out.splice(at..end, self.pick(words).to_vec())),
                4 => {
                    let other = self.pick(others);
                    let from = self.roll(other.len() + 1);
                    let piece = other[from..(from + 64).min(other.len())].to_vec();
                    out.splice(at..end, piece);
                }
                _ => out.insert(at, b" \r\n\t:/%.@\0"[self.roll(10)]),
            }
        }
        out
    }
}

fn corpus(name: &str) -> Vec<Box<[u8]>> {
    let dir = format!("{}/../../tests/fixtures/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read(file).unwrap().into_boxed_slice()).collect()
}

fn words(list: &[&str]) -> Vec<Box<[u8]>> {
    list.iter().map(|word| word.as_bytes().into()).collect()
}

/// An upstream that reads what comes, checks every head for what must never be in it, and counts them.
fn upstream(port_of_evil: u16) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, counter) = (stream.unwrap(), counter.clone());
            std::thread::spawn(move || {
                let mut piece = [0; 4096];
                let mut text = Vec::new();
                while let Ok(size) = stream.read(&mut piece) {
                    if size == 0 {
                        return;
                    }
                    text.extend_from_slice(&piece[..size]);
                    // What comes after the head is the client's own body, and may say anything.
                    let Some(end) = text.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
                    let head = String::from_utf8_lossy(&text[..end + 2]).to_lowercase();
                    let good = head.matches(&format!("authorization: bearer {REAL}")).count() == 1
                        && head.contains(&format!("\r\nhost: 127.0.0.1:{port}\r\n"))
                        && !head.contains(&format!("\r\nhost: 127.0.0.1:{port_of_evil}"))
                        && head.split(' ').nth(1).is_some_and(|target| target.starts_with('/'));
                    counter.fetch_add(if good { 1 } else { 1 << 32 }, Ordering::SeqCst);
                    if !good {
                        println!("a bad head reached the upstream:\n{head}");
                    }
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    return;
                }
            });
        }
    });
    (port, count)
}

#[test]
fn hostile_heads_and_paths() {
    let evil = TcpListener::bind("127.0.0.1:0").unwrap();
    let evil_port = evil.local_addr().unwrap().port();
    let (port, count) = upstream(evil_port);
    let stage = Stage::new(json!({"p": {"upstream": format!("http://127.0.0.1:{port}")}}));
    let address = format!("127.0.0.1:{evil_port}");
    let seeds: Vec<Box<[u8]>> = corpus("http-head")
        .iter()
        .map(|seed| String::from_utf8_lossy(seed).replace("EVIL", &address).into_bytes().into_boxed_slice())
        .chain(corpus("http-head"))
        .collect();
    let words = words(&[
        &format!("http://{address}/"),
        &format!("//{address}"),
        &format!("@{address}"),
        &address,
        "Host: ",
        "\r\n",
        "\r\n\r\n",
        "..",
        "%2e%2e",
        "/../",
        "HTTP/1.1",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 3\r\n",
        "Connection: authorization\r\n",
        PHANTOM,
        "\\",
        "%",
        "?",
        "#",
    ]);
    let mut dice = Dice::new("heads");
    let began = Instant::now();
    for round in 0..INPUTS + seeds.len() {
        let input = dice.input(round, &seeds, &words);
        let mut client = stage.client();
        let stream = client.0.get_mut();
        let _ = stream.write_all(&input);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let over = !matches!(&ended, Err(e) if e.kind() == std::io::ErrorKind::WouldBlock);
        assert!(over, "no end after {:?}", String::from_utf8_lossy(&input));
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&input));
        assert!(!answer.windows(REAL.len()).any(|w| w == REAL.as_bytes()));
        assert!(began.elapsed() < TIME_LIMIT, "too slow");
    }
    let passed = count.load(Ordering::SeqCst);
    assert!(passed >> 32 == 0, "the credential went out in a head that should not exist");
    assert!(passed > 100, "{passed} requests reached the upstream; the inputs are too wild");
    evil.set_nonblocking(true).unwrap();
    assert!(evil.accept().is_err(), "somebody called the foreign authority");
    assert_eq!(stage.get("/after").status(), 200);
    println!("{INPUTS} heads in {:?}, {passed} forwarded", began.elapsed());
}

#[test]
fn hostile_tokens() {
    let (port, count) = upstream(0);
    let route = json!({"upstream": format!("http://127.0.0.1:{port}")});
    let owner = Owner::new("proj", "task");
    let none = Markers { allowed: Some(vec![]), ..Markers::default() };
    let stage = Stage::with(json!({"p": route, "claude": route, "codex": route}), owner, none);
    stage.vault.grant("terok-p-00000000000000000000000000000002", "other", "task", "p");
    let seeds = corpus("phantom-token");
    let words = words(&[
        PHANTOM,
        "terok-p-00000000000000000000000000000002",
        "terok-p-",
        "Bearer ",
        "token ",
        PHANTOM_CREDENTIALS_MARKER,
        CODEX_SHARED_OAUTH_MARKER,
        "'",
        "\"",
        "--",
        "%",
        "_",
        "*",
        " ",
        "0",
    ]);
    let mut dice = Dice::new("tokens");
    let began = Instant::now();
    let (mut client, mut admitted) = (stage.client(), 0);
    for round in 0..INPUTS + seeds.len() {
        let input = dice.input(round, &seeds, &words);
        // One header line; what would end it is another test's.
        let value: Vec<u8> = input.into_iter().filter(|b| !matches!(b, b'\r' | b'\n' | 0)).collect();
        let header = ["Authorization", "X-Api-Key", "Private-Token"][dice.roll(3)];
        // At once: a byte that no header may hold is answered, and the connection closed, as soon as it is seen.
        client.send([format!("GET /x HTTP/1.1\r\nHost: x\r\n{header}: ").as_bytes(), &value, b"\r\n\r\n"].concat());
        let reply = client.reply(false);
        let text = String::from_utf8_lossy(&value);
        let text = text.trim();
        let token = text.split_once(' ').map_or(text, |(_, rest)| rest.trim_start());
        match reply.status() {
            200 => {
                assert_eq!(token, PHANTOM, "{text:?}");
                admitted += 1;
            }
            401 => assert!(token != PHANTOM || !value.is_ascii(), "{text:?}"),
            // A byte that no header may hold.
            400 => {
                assert!(value.iter().any(|b| (*b < 32 && *b != b'\t') || *b == 127), "{text:?}");
                client = stage.client();
            }
            other => panic!("{other} for {text:?}"),
        }
        assert!(began.elapsed() < TIME_LIMIT, "too slow");
    }
    assert_eq!(count.load(Ordering::SeqCst), admitted);
    assert!(admitted > 0);
    println!("{INPUTS} tokens in {:?}, {admitted} admitted", began.elapsed());
}
