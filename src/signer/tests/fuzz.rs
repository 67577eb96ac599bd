//! Ten thousand byte streams that no client would send, and those that once were interesting: no panic, no hang, and
//! nothing but whole answers.
//!
//! A stream is what comes after the token. `corpus` files are replayed first; a failure prints the seed and the stream.
//! `TEROK_FUZZ_SEED` sets the seed.

use std::path::Path;
use std::time::Duration;

use signer::{Access, Agent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stage::{Key, SCOPE, SUBJECT, Stage, owner, sign_request, strings};

const INPUTS: usize = 10_000;
const SEED: u64 = 0x7e0c_0006;
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/corpus/agent-frames");
/// Stands in corpus files for the blob of a key that the agent has.
const BLOB: &[u8] = b"@BLOB@";

/// xorshift64*: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.roll() as u8).collect()
    }
}

/// One message, right or nearly so.
fn message(dice: &mut Dice, blob: &[u8]) -> Vec<u8> {
    let noise = dice.bytes(200);
    let flags = [0, 2, 4, 6, dice.roll() as u32][dice.below(5)];
    let body = match dice.below(6) {
        0 => vec![11],
        1 => sign_request(blob, &noise, flags),
        2 => sign_request(&noise, &noise, flags),
        3 => [&[13][..], &noise].concat(),
        4 => [&[[17, 18, 19, 22, 23, 25, 27][dice.below(7)]][..], &strings(&[blob, &noise])].concat(),
        _ => noise,
    };
    strings(&[&body])
}

fn damage(dice: &mut Dice, stream: &mut Vec<u8>) {
    for _ in 0..dice.below(4) {
        let at = dice.below(stream.len());
        match dice.below(5) {
            0 if !stream.is_empty() => stream[at] = dice.roll() as u8,
            1 if !stream.is_empty() => stream[at] ^= 1 << dice.below(8),
            2 => stream.truncate(at),
            3 => {
                let extra = dice.bytes(12);
                stream.splice(at..at, extra);
            }
            _ => {
                let end = (at + dice.below(40)).min(stream.len());
                stream.drain(at..end);
            }
        }
    }
}

/// Sends `stream` in pieces and reads to the end; what came back must be whole answers of known types.
async fn survive(agent: &Agent, stream: &[u8], dice: &mut Dice) -> Result<usize, String> {
    let (ours, theirs) = tokio::io::duplex(1 + dice.below(4096));
    let (mut reading, mut writing) = tokio::io::split(ours);
    let piece = 1 + dice.below(512);
    let sending = async {
        for part in stream.chunks(piece) {
            if writing.write_all(part).await.is_err() {
                break;
            }
        }
        let _ = writing.shutdown().await;
    };
    let mut said = Vec::new();
    let serving = agent.converse(theirs, "fuzz");
    let all = async { tokio::join!(serving, sending, reading.read_to_end(&mut said)).2 };
    let read = tokio::time::timeout(Duration::from_secs(60), all).await;
    read.map_err(|_| "it hangs".to_owned())?.map_err(|error| error.to_string())?;
    answers(&said)
}

fn answers(mut said: &[u8]) -> Result<usize, String> {
    let mut count = 0;
    while !said.is_empty() {
        let (length, rest) = said.split_first_chunk().ok_or("a torn length")?;
        let length = u32::from_be_bytes(*length) as usize;
        let body = rest.get(..length).ok_or("a torn answer")?;
        let fits = match body.first() {
            Some(5) => length == 1,
            Some(12 | 14) => length > 4,
            _ => false,
        };
        if !fits {
            return Err(format!("an answer of type {:?} with {length} bytes", body.first()));
        }
        (said, count) = (&rest[length..], count + 1);
    }
    Ok(count)
}

fn corpus(blob: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = std::fs::read_dir(Path::new(CORPUS))
        .expect("the corpus is there")
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, filled(&std::fs::read(&path).unwrap(), blob))
        })
        .filter(|(name, _)| name.ends_with(".bin"))
        .collect();
    found.sort();
    found
}

fn filled(stream: &[u8], blob: &[u8]) -> Vec<u8> {
    match stream.windows(BLOB.len()).position(|window| window == BLOB) {
        Some(at) => [&stream[..at], blob, &stream[at + BLOB.len()..]].concat(),
        None => stream.to_vec(),
    }
}

#[tokio::test]
#[allow(clippy::print_stdout, reason = "a figure for whoever runs it with --nocapture")]
async fn no_stream_makes_it_panic_or_hang() {
    let key = Key::ed25519();
    let stage = Stage::vault();
    stage.add(SCOPE, "k", &key);
    let agent = stage.agent(Access::Scope(SCOPE.into()));
    let seed = std::env::var("TEROK_FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED);
    let mut dice = Dice(seed | 1);
    let known = corpus(&key.blob);
    assert!(known.len() >= 10, "{CORPUS}");
    for (name, stream) in &known {
        survive(&agent, stream, &mut dice).await.unwrap_or_else(|why| panic!("{name}: {why}"));
    }
    let mut answered = 0;
    for number in 0..INPUTS {
        let mut stream = match dice.below(3) {
            0 => known[dice.below(known.len())].1.clone(),
            _ => (0..1 + dice.below(4)).flat_map(|_| message(&mut dice, &key.blob)).collect(),
        };
        damage(&mut dice, &mut stream);
        let outcome = survive(&agent, &stream, &mut dice).await;
        answered += outcome.unwrap_or_else(|why| panic!("{why}; seed {seed}, input {number}: {stream:02x?}"));
    }
    println!("{INPUTS} streams, {answered} answers, seed {seed}");
    // Otherwise the inputs are too wild to get past the first byte.
    assert!(answered > INPUTS / 2, "{answered}");
}

#[tokio::test]
async fn no_greeting_makes_it_panic_or_hang() {
    let key = Key::ed25519();
    let stage = Stage::vault();
    stage.add(SCOPE, "k", &key);
    let token = stage.token(SCOPE, SUBJECT);
    let agent = stage.agent(Access::Tokens(owner()));
    let mut dice = Dice(SEED);
    let mut admitted = 0;
    for number in 0..INPUTS / 5 {
        let mut stream = strings(&[token.as_bytes()]);
        damage(&mut dice, &mut stream);
        stream.extend(strings(&[&[11]]));
        let outcome = survive(&agent, &stream, &mut dice).await;
        let count = outcome.unwrap_or_else(|why| panic!("{why}; input {number}: {stream:02x?}"));
        let whole = stream.starts_with(&strings(&[token.as_bytes()]));
        assert!(whole || count == 0, "input {number} got in: {stream:02x?}");
        admitted += count;
    }
    assert!(admitted > 0);
}
