//! The audit trail of one broker: one JSON line per request, in the container's own file and in the file of all.
//!
//! Invariants:
//! - no request fails or waits because of its audit line;
//! - a container has a file of its own, `<audit path without extension>.d/<scope and subject>.jsonl`, so that it cannot
//!   push another container's lines out of the trail;
//! - the file of all gets a copy of every line, up to a rate that no container exceeds in normal use;
//! - requests that fail before an upstream answers are listed up to a number per interval; the rest is counted, and one
//!   line per outcome states the `count`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use vault::Owner;
use wire::audit::AuditLine;

use crate::auditfile::{self, AuditFile};
use crate::lease;

/// The file of all is rotated beyond this.
const SHARED_LIMIT: u64 = 64 * 1024 * 1024;
/// The file of one container is rotated beyond this: some 7000 lines, and as many in the rotated part.
const OWN_LIMIT: u64 = 2 * 1024 * 1024;
/// Files of containers that are kept.
const MOST_FILES: usize = 256;
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// Longest name of a container's file without its hash and ending.
const LONGEST_NAME: usize = 120;

/// The time for which requests are counted together.
const INTERVAL: Duration = Duration::from_secs(60);
/// Requests without a valid token that are listed per interval and outcome.
const LISTED_UNAUTHENTICATED: u32 = 8;
/// Other failed requests that are listed per interval and outcome.
const LISTED_FAILED: u32 = 60;
/// Copies to the file of all: at once, and further ones per interval.
const COPIES_AT_ONCE: u32 = 600;
const COPIES_PER_INTERVAL: u32 = 120;
/// The outcome of the line that states how many lines were not copied.
const NOT_COPIED: &str = "not_copied";

/// Writes the audit trail; without a path it does nothing.
pub struct Audit {
    trail: Option<Mutex<Trail>>,
}

struct Trail {
    own: Option<AuditFile>,
    /// The directory of `own`, until it is prepared.
    dir: Option<PathBuf>,
    shared: AuditFile,
    interval_start: Instant,
    /// Failed requests of this interval by outcome.
    failed: BTreeMap<&'static str, Failed>,
    copies_left: u32,
    not_copied: u64,
}

#[derive(Default)]
struct Failed {
    listed: u32,
    count: u64,
    /// The newest of those that are only counted.
    newest: AuditLine,
}

impl Audit {
    /// Prepares the trail of `owner`'s container with `path` as the file of all. Opens no file.
    pub fn new(path: Option<PathBuf>, owner: &Owner) -> Self {
        Self { trail: path.map(|path| Mutex::new(Trail::new(path, owner))) }
    }

    /// Appends one line, or counts it; its time stamp is set here.
    pub fn write(&self, line: AuditLine) {
        let Some(mut trail) = self.lock() else { return };
        trail.start_interval_when_due();
        if let Some(mut line) = trail.listed(line) {
            line.ts = base::clock::iso(SystemTime::now());
            trail.append(&line);
        }
    }

    /// Writes the counts of every interval; never ends.
    pub async fn write_counts(&self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Some(mut trail) = self.lock() {
                trail.start_interval_when_due();
            }
        }
    }

    /// Writes the counts of the interval so far.
    pub fn flush(&self) {
        if let Some(mut trail) = self.lock() {
            trail.flush();
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, Trail>> {
        Some(self.trail.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Trail {
    fn new(path: PathBuf, owner: &Owner) -> Self {
        let own = match owner {
            Owner::Container { scope, subject } => Some(AuditFile::own(own_path(&path, scope, subject), OWN_LIMIT)),
            Owner::Unknown | Owner::Everyone => None,
        };
        Self {
            own,
            dir: Some(own_dir(&path)),
            shared: AuditFile::shared(path, SHARED_LIMIT),
            interval_start: Instant::now(),
            failed: BTreeMap::new(),
            copies_left: COPIES_AT_ONCE,
            not_copied: 0,
        }
    }

    /// The line when it is to be listed; otherwise it is counted.
    fn listed(&mut self, line: AuditLine) -> Option<AuditLine> {
        let most = match line.outcome {
            "ok" => return Some(line),
            "missing_token" | "invalid_token" => LISTED_UNAUTHENTICATED,
            _ => LISTED_FAILED,
        };
        let failed = self.failed.entry(line.outcome).or_default();
        if failed.listed < most {
            failed.listed += 1;
            return Some(line);
        }
        failed.count += 1;
        failed.newest = line;
        None
    }

    /// Appends a line to the container's file, and its copy to the file of all.
    fn append(&mut self, line: &AuditLine) {
        let text = line.to_line();
        if self.own.is_some()
            && let Some(dir) = self.dir.take()
        {
            prepare_directory(&dir);
        }
        let is_kept = self.own.as_mut().is_some_and(|own| own.append(&text));
        if !is_kept {
            self.shared.append(&text);
        } else if self.copies_left > 0 {
            self.copies_left -= 1;
            self.shared.append(&text);
        } else {
            self.not_copied += 1;
        }
    }

    fn start_interval_when_due(&mut self) {
        if self.interval_start.elapsed() >= INTERVAL {
            self.flush();
            self.interval_start = Instant::now();
            self.copies_left = COPIES_AT_ONCE.min(self.copies_left + COPIES_PER_INTERVAL);
        }
    }

    fn flush(&mut self) {
        let ts = base::clock::iso(SystemTime::now());
        for failed in std::mem::take(&mut self.failed).into_values().filter(|failed| failed.count > 0) {
            // Which paths a client made up is not worth a line each.
            let (method, path, count) = (String::new(), String::new(), Some(failed.count));
            self.append(&AuditLine { ts: ts.clone(), method, path, count, duration_ms: 0, ..failed.newest });
        }
        let count = std::mem::take(&mut self.not_copied);
        if count > 0 {
            let line = AuditLine { ts, outcome: NOT_COPIED, count: Some(count), ..AuditLine::default() };
            self.shared.append(&line.to_line());
        }
    }
}

fn own_dir(path: &Path) -> PathBuf {
    path.with_extension("d")
}

/// The file of one container, next to the file of all.
fn own_path(path: &Path, scope: &str, subject: &str) -> PathBuf {
    let name = lease::component(&format!("{scope}\0{subject}"));
    let (readable, hash) = name.rsplit_once('-').unwrap_or((&name, ""));
    let readable = &readable[..readable.len().min(LONGEST_NAME)];
    own_dir(path).join(format!("{readable}-{hash}.jsonl"))
}

/// Makes the directory of the containers' files and removes those that are over the limits.
fn prepare_directory(dir: &Path) {
    let made = base::file::create_private_dir(dir);
    if let Err(error) = made.and_then(|()| auditfile::remove_unused(dir, MOST_FILES, MOST_BYTES)) {
        tracing::warn!(%error, path = %dir.display(), "cannot use the directory of the audit files");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    struct Host(tempfile::TempDir);

    impl Host {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("credential_audit.jsonl")
        }

        fn audit(&self, scope: &str) -> Audit {
            Audit::new(Some(self.path()), &Owner::new(scope, "task"))
        }

        fn shared(&self) -> Vec<Value> {
            lines(&self.path())
        }

        fn own(&self, scope: &str) -> Vec<Value> {
            lines(&own_path(&self.path(), scope, "task"))
        }
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn line(outcome: &'static str) -> AuditLine {
        AuditLine { outcome, path: format!("/{}", "x".repeat(1000)), ..AuditLine::default() }
    }

    // holds: audit-trail-per-container
    #[test]
    fn flood_of_one_container_leaves_the_lines_of_another() {
        let host = Host::new();
        host.audit("victim").write(AuditLine { path: "/marker".into(), ..line("ok") });
        let flood = host.audit("flood");
        for _ in 0..30_000 {
            flood.write(line("invalid_token"));
        }
        for _ in 0..1000 {
            flood.write(line("endpoint_denied"));
            flood.write(line("upstream_error"));
        }
        drop(flood);
        assert_eq!((&host.own("victim")[0]["path"], host.own("victim").len()), (&"/marker".into(), 1));
        assert_eq!(host.shared()[0]["path"], "/marker");
        let size = std::fs::metadata(host.path()).unwrap().len();
        assert!(size < 200 * 1024, "32 000 refused requests take {size} bytes of the file of all");
        let counted: Vec<_> = host.own("flood").into_iter().filter(|line| line.get("count").is_some()).collect();
        let found: Vec<_> = counted.iter().map(|line| (line["outcome"].as_str().unwrap(), &line["count"])).collect();
        let expected =
            [("endpoint_denied", &940.into()), ("invalid_token", &29_992.into()), ("upstream_error", &940.into())];
        assert_eq!(found, expected);
        assert!(counted.iter().all(|line| line["path"] == ""));
    }

    // holds: audit-trail-per-container
    #[test]
    fn flood_of_answered_requests_stays_in_the_own_file() {
        let host = Host::new();
        let flood = host.audit("flood");
        for _ in 0..10_000 {
            flood.write(line("ok"));
        }
        drop(flood);
        let shared = host.shared();
        assert_eq!(shared.len(), 601);
        assert_eq!((&shared[600]["outcome"], &shared[600]["count"]), (&"not_copied".into(), &9400.into()));
        let own = own_path(&host.path(), "flood", "task");
        let size = std::fs::metadata(&own).unwrap().len();
        assert!(size <= OWN_LIMIT + 512 * 1200, "{size}");
        assert_eq!(std::fs::read_dir(own.parent().unwrap()).unwrap().count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn counts_are_written_once_per_interval() {
        let host = Host::new();
        let audit = std::sync::Arc::new(host.audit("a"));
        let writer = audit.clone();
        tokio::spawn(async move { writer.write_counts().await });
        for _ in 0..10 {
            audit.write(line("missing_token"));
        }
        assert_eq!(host.own("a").len(), 8);
        tokio::time::sleep(INTERVAL * 2).await;
        assert_eq!((host.own("a").len(), &host.own("a")[8]["count"]), (9, &2.into()));
        tokio::time::sleep(INTERVAL * 3).await;
        audit.write(line("missing_token"));
        assert_eq!((host.own("a").len(), host.shared().len()), (10, 10));
    }

    #[test]
    fn names_of_containers_differ_and_are_bounded() {
        let path = Path::new("/v/credential_audit.jsonl");
        let name = |scope: &str, subject: &str| own_path(path, scope, subject).to_str().unwrap().to_owned();
        assert!(name("proj", "task").starts_with("/v/credential_audit.d/proj_task-"));
        assert_ne!(name("a", "b/c"), name("a/b", "c"));
        assert_ne!(name(&"x".repeat(300), "1"), name(&"x".repeat(300), "2"));
        assert!(name("../..", &"é".repeat(500)).len() < 180);
    }

    #[test]
    fn own_file_that_fails_leaves_the_file_of_all() {
        let host = Host::new();
        std::fs::write(host.0.path().join("credential_audit.d"), "in the way").unwrap();
        let audit = host.audit("a");
        for _ in 0..700 {
            audit.write(line("ok"));
        }
        assert_eq!(host.shared().len(), 700);
    }
}
