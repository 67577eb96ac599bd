//! Limits how often a vendor is asked for a new token of one login, across all supervisors of a user.
//!
//! Without it, each container would refresh a shared login that its vendor rejects again and again. The file is stored
//! next to the vault and written under the login's lock.
//!
//! Invariants: the file is 0600 and holds hashes of tokens, counts and times; an entry counts for its token alone, so a
//! new login starts without a pause; a missing or damaged file means no pause.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::endpoint::now;
use crate::lease;

const SIZE_LIMIT: u64 = 4096;
/// Longest pause; an entry that ends later was written by a clock that has been set back since.
pub const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// The pause after the first refresh of a rejected login.
const FIRST: Duration = Duration::from_secs(300);

/// Why a login pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its refresh token was not accepted, or the vendor could not be asked.
    Failed,
    /// An upstream rejected its access token.
    Rejected,
}

impl Cause {
    fn key(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Rejected => "rejected",
        }
    }
}

/// The file of one login, next to the vault.
pub fn path(vault: &Path, set: &str, provider: &str) -> PathBuf {
    vault.with_file_name(format!(".backoff-{}-{}", lease::component(set), lease::component(provider)))
}

/// True while the login with this token pauses.
pub fn is_resting(path: &Path, cause: Cause, token: &str) -> bool {
    let end = entry(path, cause, token).and_then(|entry| entry["until"].as_f64()).unwrap_or(0.0);
    let now = now();
    now < end && end <= now + LONGEST.as_secs_f64()
}

/// How often in a row the login has come to this token for this cause.
pub fn count(path: &Path, cause: Cause, token: &str) -> u32 {
    let count = entry(path, cause, token).and_then(|entry| entry["count"].as_u64()).unwrap_or(0);
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Notes that the login with this token pauses. A disk that takes nothing costs the limit, not the login.
pub fn note(path: &Path, cause: Cause, token: &str, count: u32, pause: Duration) {
    let mut entries = read(path);
    let until = now() + pause.min(LONGEST).as_secs_f64();
    entries.insert(cause.key().into(), json!({"token": fingerprint(token), "count": count, "until": until}));
    write(path, &entries);
}

/// Ends the pause for this cause.
pub fn forget(path: &Path, cause: Cause) {
    let mut entries = read(path);
    if entries.remove(cause.key()).is_some() {
        write(path, &entries);
    }
}

/// The pause after so many refreshes in a row of tokens that an upstream rejected.
pub fn pause_after_rejections(count: u32) -> Duration {
    (FIRST * 2_u32.pow(count.saturating_sub(1).min(10))).min(LONGEST)
}

fn entry(path: &Path, cause: Cause, token: &str) -> Option<Value> {
    let entry = read(path).remove(cause.key())?;
    (entry["token"].as_str() == Some(&fingerprint(token))).then_some(entry)
}

fn read(path: &Path) -> Map<String, Value> {
    let content = base::file::read_regular(path, SIZE_LIMIT).unwrap_or_default();
    serde_json::from_slice(&content).unwrap_or_default()
}

fn write(path: &Path, entries: &Map<String, Value>) {
    let done = if entries.is_empty() {
        std::fs::remove_file(path)
    } else {
        base::file::write_private(path, json!(entries).to_string().as_bytes())
    };
    if let Err(error) = done {
        tracing::warn!(%error, path = %path.display(), "cannot write how long a login pauses");
    }
}

fn fingerprint(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn pause_counts_for_its_token_and_cause() {
        let dir = tempfile::tempdir().unwrap();
        let file = path(&dir.path().join("credentials.db"), "default", "claude");
        assert!(!is_resting(&file, Cause::Failed, "t") && count(&file, Cause::Failed, "t") == 0);
        note(&file, Cause::Failed, "t", 3, Duration::from_secs(60));
        note(&file, Cause::Rejected, "a", 1, Duration::from_secs(60));
        assert!(is_resting(&file, Cause::Failed, "t") && count(&file, Cause::Failed, "t") == 3);
        for (cause, token) in [(Cause::Failed, "other"), (Cause::Rejected, "t")] {
            assert!(!is_resting(&file, cause, token) && count(&file, cause, token) == 0);
        }
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        forget(&file, Cause::Failed);
        assert!(!is_resting(&file, Cause::Failed, "t") && is_resting(&file, Cause::Rejected, "a"));
        forget(&file, Cause::Rejected);
        assert!(!file.exists());
    }

    #[test]
    fn ended_and_damaged_entries_pause_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        note(&file, Cause::Failed, "t", 3, Duration::ZERO);
        assert!(!is_resting(&file, Cause::Failed, "t") && count(&file, Cause::Failed, "t") == 3);
        let token = fingerprint("t");
        let far = json!({"failed": {"token": token, "count": 1, "until": now() + LONGEST.as_secs_f64() * 2.0}});
        for content in [far.to_string(), "{".into(), "[]".into(), r#"{"failed": 7}"#.into(), "x".repeat(5000)] {
            std::fs::write(&file, content).unwrap();
            assert!(!is_resting(&file, Cause::Failed, "t"));
        }
    }

    #[test]
    fn pauses_after_rejections_grow() {
        let seconds: Vec<_> = [1, 2, 3, 7, 8, 100].map(|n| pause_after_rejections(n).as_secs()).into();
        assert_eq!(seconds, [300, 600, 1200, 19_200, 21_600, 21_600]);
    }
}
