//! A migration from the oldest layout, killed at random moments while another opener races with it: the next opening
//! finishes it, and every key, record and token is there.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base::secret::Secret;

use crate::key::{PrivateKey, fingerprint_of};
use crate::store::{Store, connect};

const POINTS: usize = 30;
const KEYS: usize = 24;
const VICTIM: &str = "TEROK_TEST_VAULT_VICTIM";
const SEED: u64 = 20_261_122;

fn secret() -> Secret {
    Secret::new("pass")
}

/// What the child process does: opening the vault that the environment names.
#[test]
fn victim() {
    if let Some(path) = std::env::var_os(VICTIM) {
        let _ = Store::open(Path::new(&path), &secret());
    }
}

fn spawn(path: &Path) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "killed::victim", "--test-threads=1"]).env(VICTIM, path);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A vault as version 0 wrote it: keys as OpenSSH text with a hexadecimal fingerprint, tokens bound to a task.
fn oldest(path: &Path) -> Vec<String> {
    let store = Store::open(path, &secret()).unwrap();
    for number in 0..20 {
        let record = serde_json::json!({"type": "api_key", "key": format!("k{number}"), "extra": [number]});
        store.store_credential("default", &format!("p{number:02}"), record.as_object().unwrap()).unwrap();
        store.create_token("proj", &format!("t{number}"), "default", "p00").unwrap();
    }
    let keys: Vec<PrivateKey> = (0..KEYS).map(|_| PrivateKey::generate("ed25519").unwrap()).collect();
    let raw = connect(path, &secret()).unwrap();
    raw.execute_batch(
        "ALTER TABLE proxy_tokens RENAME COLUMN subject TO task;
         ALTER TABLE ssh_keys RENAME COLUMN private_der TO private_pem; PRAGMA user_version = 0",
    )
    .unwrap();
    for (number, key) in keys.iter().enumerate() {
        let (text, blob) = (key.to_openssh().unwrap(), key.public_blob().unwrap());
        raw.execute(
            "INSERT INTO ssh_keys (key_type, private_pem, public_blob, comment, fingerprint) VALUES (?1, ?2, ?3, 'c', ?4)",
            rusqlite::params!["ed25519", text.as_bytes(), blob, format!("{number:064x}")],
        )
        .unwrap();
        raw.execute("INSERT INTO ssh_key_assignments (scope, key_id) VALUES ('proj', ?1)", [raw.last_insert_rowid()])
            .unwrap();
    }
    let mut names: Vec<String> = keys.iter().map(|key| fingerprint_of(&key.public_blob().unwrap())).collect();
    names.sort();
    names
}

fn below(state: &mut u64, limit: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % limit.max(1)
}

fn assert_whole(path: &Path, names: &[String]) {
    let store = Store::open(path, &secret()).unwrap();
    let integrity: String = store.with(|c| c.query_row("PRAGMA integrity_check", [], |row| row.get(0))).unwrap();
    let version: i64 = store.with(|c| c.query_row("PRAGMA user_version", [], |row| row.get(0))).unwrap();
    assert_eq!((integrity.as_str(), version), ("ok", crate::schema::VERSION));
    let mut found: Vec<String> = Vec::new();
    for key in store.load_ssh_keys_for_scope("proj").unwrap() {
        PrivateKey::from_pkcs8(&key.private_der).unwrap();
        found.push(key.fingerprint.clone());
    }
    found.sort();
    assert_eq!(found, names);
    assert_eq!(store.list_credentials("default").unwrap().len(), 20);
    assert!(store.load_credential("default", "p07").unwrap().unwrap().contains_key("extra"));
    assert_eq!(store.list_tokens().unwrap().iter().filter(|token| token.row.subject == "t7").count(), 1);
}

/// Appends to the file that the suite's sum is made of, when there is one.
fn hand_over(kills: usize, slowest: Duration) {
    use std::io::Write;
    let Some(place) = std::env::var_os("TEROK_KILL_FIGURES") else { return };
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(place).unwrap();
    let slowest = slowest.as_secs_f64();
    writeln!(file, r#"{{"victim": "vault: migration", "kills": {kills}, "slowest": {slowest:.3}}}"#).unwrap();
}

// improves: 21-2.2-one-migration
#[test]
fn a_killed_migration_is_finished_by_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("oldest.db");
    let names = oldest(&template);
    let copy = |number: usize| {
        let path = dir.path().join(format!("{number}.db"));
        std::fs::copy(&template, &path).unwrap();
        path
    };
    let started = Instant::now();
    spawn(&copy(0)).wait().unwrap();
    let mut usual = started.elapsed();
    assert_whole(&dir.path().join("0.db"), &names);
    let (mut dice, mut killed, mut slowest) = (SEED, 0, Duration::ZERO);
    for number in 1..=4 * POINTS {
        if killed == POINTS {
            break;
        }
        let path = copy(number);
        let mut victims = vec![spawn(&path)];
        if number % 4 == 0 {
            victims.push(spawn(&path));
        }
        // The second half of a life: before that the key is being derived, and the file not touched.
        let half = u64::try_from(usual.as_micros() / 2).unwrap();
        std::thread::sleep(Duration::from_micros(half + below(&mut dice, half)));
        let in_time = victims[0].try_wait().unwrap().is_none();
        for victim in &mut victims {
            let _ = victim.kill();
            victim.wait().unwrap();
        }
        killed += usize::from(in_time);
        usual = usual.mul_f64(if in_time { 1.03 } else { 0.93 });
        let began = Instant::now();
        assert_whole(&path, &names);
        slowest = slowest.max(began.elapsed());
        std::fs::remove_file(&path).unwrap();
    }
    #[allow(clippy::print_stdout)] // a figure is what it is for
    {
        println!("seed {SEED}: {killed} migrations killed, slowest opening after it {slowest:?}");
    }
    assert!(killed >= POINTS * 3 / 4, "only {killed} kills were in time");
    hand_over(killed, slowest);
}
