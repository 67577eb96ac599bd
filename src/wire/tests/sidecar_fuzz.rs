//! Ten thousand spoilt sidecars: none makes the parser panic or hang, and whatever it accepts is safe to use for paths,
//! sockets and environments.
//!
//! Inputs are made from the corpus (`tests/fixtures/corpus/sidecar`, replayed as it is first) by a generator whose seed
//! is `TEROK_FUZZ_SEED` or fixed; a failure names it and the input.

use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wire::sidecar::{AMBIENT, IpcMode, Sidecar};

const INPUTS: usize = 10_000;
const SEED: u64 = 0x7465_726f_6b01;
/// No single input may take longer, even in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(2);
const KEYS: [&str; 23] = [
    "container_name",
    "ipc_mode",
    "db_path",
    "runtime_dir",
    "scope_id",
    "project_id",
    "task_id",
    "tcp_port",
    "ssh_signer_port",
    "gate_port",
    "gate_base_path",
    "gate_token",
    "gate_scope",
    "token_scope",
    "token_subject",
    "credential_set",
    "shared_logins",
    "dossier_path",
    "environment",
    "",
    "container_name ",
    "__proto__",
    "db_path\u{0}",
];

/// A small generator (xorshift64*): the same seed gives the same inputs on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/corpus/sidecar");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// A value that some member might not expect.
fn odd_value(dice: &mut Dice) -> Value {
    let texts = [
        "",
        " ",
        ".",
        "..",
        "/",
        "//",
        "a/b",
        "../x",
        "/a/../../etc",
        "\0",
        "/a\0b",
        "\u{202e}gpj",
        "c\n",
        "-x",
        "tcp",
        "socket",
        "TCP",
        "0",
        "65536",
        "-1",
        "8080",
        " 8080 ",
        "+80",
        "1e3",
        "0x50",
        "%2e%2e",
        "C:\\x",
        "/proc/self/fd/0",
    ];
    match dice.below(12) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!([]),
        3 => json!({}),
        4 => json!(dice.next()),
        5 => json!(-1),
        6 => json!(0.5),
        7 => json!("x".repeat(dice.below(5000))),
        8 => json!([*dice.pick(&texts), 1]),
        9 => json!({*dice.pick(&AMBIENT): *dice.pick(&texts), "LD_PRELOAD": "/evil.so"}),
        10 => json!([*dice.pick(&texts)]),
        _ => json!(*dice.pick(&texts)),
    }
}

/// Changes members of a valid object, so that the text stays JSON and single checks are met.
fn spoil_members(dice: &mut Dice, text: &[u8]) -> Vec<u8> {
    let Ok(Value::Object(mut members)) = serde_json::from_slice(text) else {
        return spoil_bytes(dice, text);
    };
    for _ in 0..=dice.below(2) {
        let key = (*dice.pick(&KEYS)).to_owned();
        if dice.below(5) == 0 {
            members.remove(&key);
        } else {
            members.insert(key, odd_value(dice));
        }
    }
    Value::Object(members).to_string().into_bytes()
}

/// Changes bytes without regard to what they mean.
fn spoil_bytes(dice: &mut Dice, text: &[u8]) -> Vec<u8> {
    let pieces: [&[u8]; 12] = [
        b"{",
        b"}",
        b"[",
        b"\"",
        b"\\u0000",
        b"\\ud800",
        b"\xff\xfe",
        b"null",
        b"1e999",
        b",,",
        b"{\"container_name\":",
        b"\\",
    ];
    let mut bytes = text.to_vec();
    for _ in 0..=dice.below(6) {
        let place = dice.below(bytes.len() + 1);
        match dice.below(6) {
            0 if place < bytes.len() => bytes[place] = u8::try_from(dice.below(256)).unwrap(),
            1 => bytes.truncate(place),
            2 => {
                let end = (place + dice.below(40)).min(bytes.len());
                bytes.drain(place..end);
            }
            3 => {
                let (start, end) = (dice.below(place + 1), place);
                let copy = bytes[start..end].to_vec();
                bytes.splice(place..place, copy);
            }
            4 => {
                let times = 1 + dice.below(400);
                bytes.splice(place..place, dice.pick(&pieces).repeat(times));
            }
            _ => {
                bytes.splice(place..place, dice.pick(&pieces).to_vec());
            }
        }
    }
    bytes
}

fn plain_absolute(path: &Path) -> bool {
    path.is_absolute() && !path.to_str().is_none_or(|text| text.contains('\0'))
}

/// What everybody who holds a parsed sidecar relies on.
fn check(sidecar: &Sidecar) -> Result<(), &'static str> {
    let name = Path::new(&sidecar.container_name);
    if !matches!(name.components().collect::<Vec<_>>()[..], [Component::Normal(part)] if part == name.as_os_str()) {
        return Err("the container's name is more or less than one path component");
    }
    if sidecar.container_runtime_dir().parent() != Some(&sidecar.runtime_dir.join("run")) {
        return Err("the container's directory is not directly below `run`");
    }
    let optional = [&sidecar.gate_base_path, &sidecar.dossier_path];
    let paths = [&sidecar.db_path, &sidecar.runtime_dir].into_iter().chain(optional.into_iter().flatten());
    if !paths.into_iter().all(|path| plain_absolute(path)) {
        return Err("a path is not absolute or has a null byte");
    }
    if [sidecar.tcp_port, sidecar.ssh_signer_port, sidecar.gate_port].contains(&Some(0)) {
        return Err("port 0");
    }
    if !sidecar.environment.iter().all(|(name, value)| AMBIENT.contains(&name.as_str()) && !value.contains('\0')) {
        return Err("a variable that a sidecar must not set");
    }
    if sidecar.gate_token.as_deref() == Some("") {
        return Err("an empty gate token");
    }
    let texts =
        [&sidecar.scope_id, &sidecar.project_id, &sidecar.task_id, &sidecar.token_scope, &sidecar.token_subject];
    if texts.iter().any(|text| text.contains('\0')) {
        return Err("a null byte in a label");
    }
    if Sidecar::parse(sidecar.to_json().as_bytes()).ok().as_ref() != Some(&written(sidecar.clone())) {
        return Err("writing and reading it again gives another one");
    }
    Ok(())
}

/// What is left of a sidecar once it is written: ports only in TCP mode, the gate only with its place and token.
fn written(mut sidecar: Sidecar) -> Sidecar {
    if sidecar.gate_base_path.is_none() || sidecar.gate_token.is_none() {
        (sidecar.gate_base_path, sidecar.gate_token, sidecar.gate_port) = (None, None, None);
    }
    if sidecar.ipc_mode == IpcMode::Socket {
        (sidecar.tcp_port, sidecar.ssh_signer_port, sidecar.gate_port) = (None, None, None);
    }
    sidecar
}

fn examine(input: &[u8], origin: &str) -> bool {
    let started = Instant::now();
    let parsed = Sidecar::parse(input);
    assert!(started.elapsed() < LIMIT, "{origin}: {:?} for {}", started.elapsed(), String::from_utf8_lossy(input));
    match parsed {
        Ok(sidecar) => {
            let verdict = check(&sidecar);
            assert!(verdict.is_ok(), "{origin}: {verdict:?} for {}", String::from_utf8_lossy(input));
            true
        }
        Err(error) => {
            // The text names a member and never shows what was in it.
            assert!(error.to_string().len() < 200, "{origin}: {error}");
            false
        }
    }
}

fn is_good(path: &Path) -> bool {
    path.file_name().unwrap().to_string_lossy().starts_with("good")
}

#[test]
fn spoilt_sidecars_are_refused_or_safe() {
    let corpus = corpus();
    assert!(corpus.len() >= 10, "the corpus is gone");
    for (path, text) in &corpus {
        let accepted = examine(text, &path.display().to_string());
        assert_eq!(accepted, is_good(path), "{}", path.display());
    }
    let seed = std::env::var("TEROK_FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED);
    let mut dice = Dice(seed | 1);
    let good: Vec<_> = corpus.iter().filter(|(path, _)| is_good(path)).cloned().collect();
    let mut accepted = 0;
    for number in 0..INPUTS {
        // Mostly something good to begin with, so that what lies behind the first checks is met too.
        let source = if dice.below(4) == 0 { &corpus } else { &good };
        let text = &dice.pick(source).1;
        let input = if dice.below(3) == 0 { spoil_bytes(&mut dice, text) } else { spoil_members(&mut dice, text) };
        accepted += usize::from(examine(&input, &format!("seed {seed}, input {number}")));
    }
    #[allow(clippy::print_stdout)] // a figure is what it is for
    {
        println!("sidecars: seed {seed}, {INPUTS} inputs, {accepted} accepted, {} in the corpus", corpus.len());
    }
    // A generator that only makes rubbish, or only what is fine, tests nothing.
    assert!((INPUTS / 20..INPUTS * 19 / 20).contains(&accepted), "{accepted} of {INPUTS} accepted");
}
