//! Figures of the vault: what opening it costs beside the key derivation, and what one request asks of it.
//!
//! The key derivation is a fixed amount of work that the file format prescribes; it is measured on its own, by SQLCipher
//! with a vault of one empty page, and subtracted. Both alternate, so that whatever else the machine does hits both.
//!
//! `cargo bench -p terok-vault` runs it; `TEROK_BENCH_QUICK=1` makes it short. The exit status is 1 when a bar is missed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

mod report;

use base::secret::Secret;
use report::{Report, median, percentile, quick};
use rusqlite::Connection;
use serde_json::{Map, Value, json};
use vault::Store;
use vault::passphrase::{self, Tiers};

const PASSPHRASE: &str = "a passphrase of usual length";
/// What a busy operator's vault holds.
const PROVIDERS: usize = 12;
const TOKENS: usize = 2000;

fn main() -> ExitCode {
    let quick = quick();
    let folder = std::env::temp_dir().join(format!("terok-bench-vault-{}", std::process::id()));
    base::file::create_private_dir(&folder).expect("a folder");
    let mut report = Report::default();
    let site = Site::new(&folder);
    site.unlocking(&mut report, if quick { 7 } else { 31 });
    site.requests(&mut report, if quick { 2_000 } else { 40_000 });
    let _ = std::fs::remove_dir_all(&folder);
    report.verdict()
}

struct Site {
    vault: PathBuf,
    empty: PathBuf,
    session: PathBuf,
    tokens: Vec<String>,
}

impl Site {
    fn new(folder: &Path) -> Self {
        let site = Self {
            vault: folder.join("credentials.db"),
            empty: folder.join("empty.db"),
            session: folder.join("vault.passphrase"),
            tokens: Vec::new(),
        };
        derive(&site.empty).execute_batch("CREATE TABLE t (x)").expect("one page");
        passphrase::write_session_file(&site.session, &Secret::new(PASSPHRASE)).expect("a session file");
        let store = Store::open(&site.vault, &Secret::new(PASSPHRASE)).expect("a vault");
        for n in 0..PROVIDERS {
            store.store_credential("default", &format!("provider{n}"), &record()).expect("a credential");
        }
        store.begin().expect("a transaction");
        let token = |n: usize| store.create_token("project", &format!("task{n}"), "default", "provider3");
        let tokens = (0..TOKENS).map(|n| token(n).expect("a token")).collect();
        store.end(true).expect("kept");
        Self { tokens, ..site }
    }

    /// From the session file to the first answer, without the key derivation.
    fn unlocking(&self, report: &mut Report, rounds: usize) {
        let tiers = Tiers { session_file: Some(self.session.clone()), ..Tiers::default() };
        let (mut ours, mut derivations) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            derivations.push(timed(|| {
                let connection = derive(&self.empty);
                connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(())).expect("a page");
            }));
            ours.push(timed(|| {
                let (secret, _) = passphrase::resolve(&tiers).expect("a tier").expect("a passphrase");
                let store = passphrase::handover::open(&self.vault, &secret).expect("an open vault");
                assert!(store.lookup_token(&self.tokens[0]).expect("an answer").is_some());
            }));
        }
        let added: Vec<f64> =
            ours.iter().zip(&derivations).map(|(a, b)| (a.as_secs_f64() - b.as_secs_f64()) * 1e3).collect();
        let added = median(added);
        let whole = median(ours.iter().map(|t| t.as_secs_f64() * 1e3));
        let against = format!("whole {whole:.0} ms, key derivation {:.0} ms", whole - added);
        report.bar("vault, unlock without key derivation", "10 ms", &format!("{added:.1} ms"), &against, added <= 10.0);
    }

    /// What the broker asks for every request: whose token it is, and the credential behind it. Nothing is cached.
    fn requests(&self, report: &mut Report, rounds: usize) {
        let store = Store::open(&self.vault, &Secret::new(PASSPHRASE)).expect("an open vault");
        let mut times = Vec::with_capacity(rounds);
        for n in 0..rounds {
            let token = &self.tokens[(n * 7919) % TOKENS];
            times.push(timed(|| {
                let row = store.lookup_token(token).expect("an answer").expect("a known token");
                let found = store.load_credential(&row.credential_set, &row.provider).expect("an answer");
                assert!(found.is_some());
            }));
        }
        let p50 = median(times.iter().map(|t| t.as_secs_f64() * 1e6));
        let p99 = percentile(times.iter().map(|t| t.as_secs_f64() * 1e6), 0.99);
        let against = format!("{TOKENS} tokens, {PROVIDERS} credentials, p99 {p99:.0} µs");
        report.bar("vault, token and credential per request", "30 µs", &format!("{p50:.1} µs"), &against, p50 <= 30.0);
        store.revoke_tokens("project", "task5").expect("revoked");
        assert!(store.lookup_token(&self.tokens[5]).expect("an answer").is_none(), "revoking acts at once");
    }
}

fn record() -> Map<String, Value> {
    let Value::Object(record) = json!({"type": "api_key", "key": "sk-".to_owned() + &"k".repeat(100)}) else {
        unreachable!("an object");
    };
    record
}

/// A keyed connection as the format prescribes it, and nothing more.
fn derive(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("a file");
    connection.pragma_update(None, "key", PASSPHRASE).expect("a key");
    connection.pragma_update(None, "cipher_compatibility", 4).expect("a format");
    connection
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}
