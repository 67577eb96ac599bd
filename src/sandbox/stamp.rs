//! The setup stamp: which package versions the last complete set-up was made with, and whether they still fit.
//!
//! Invariant: reading never changes anything and takes well under a millisecond, since every front end asks at its start.
//! Versions compare as PEP 440 says; texts that are no versions compare as texts.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base::fault::{Fault, Kind};
use base::file;
use pep440_rs::Version;
use serde_json::{Value, json};

/// Distributions whose versions are recorded.
pub const PACKAGES: [&str; 5] = ["terok", "terok-executor", "terok-sandbox", "terok-shield", "terok-clearance"];
const SCHEMA: u64 = 1;
const LIMIT: u64 = 1 << 20;

/// Package name to version.
pub type Versions = BTreeMap<String, String>;

/// What a front end should do about set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Ok,
    /// Set up for the first time.
    FirstRun,
    /// Set up again: the stamp cannot be read.
    StampCorrupt,
    /// Stop: a package is older than the one that set up.
    Downgrade,
    /// Set up again: a package is newer.
    Update,
}

impl Verdict {
    /// The name front ends know.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::FirstRun => "first_run",
            Self::StampCorrupt => "stamp_corrupt",
            Self::Downgrade => "stale_after_downgrade",
            Self::Update => "stale_after_update",
        }
    }
}

/// Why the stamp could not be written or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} setup stamp `{}`", .path.display())]
pub struct StampError {
    verb: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Fault for StampError {
    fn code(&self) -> &'static str {
        "stamp-io"
    }

    fn kind(&self) -> Kind {
        Kind::Os
    }
}

/// Versions of the recorded distributions found in the directories of a Python path; the first hit of each name counts.
pub fn installed(python_path: &[PathBuf]) -> Versions {
    let mut found = Versions::new();
    for dir in python_path {
        let Ok(entries) = std::fs::read_dir(dir) else {
            continue;
        };
        let mut here = Versions::new();
        for entry in entries.flatten() {
            if let Some((name, version)) = distribution(&entry) {
                here.entry(name).or_insert(version);
            }
        }
        for (name, version) in here {
            found.entry(name).or_insert(version);
        }
    }
    found
}

fn distribution(entry: &std::fs::DirEntry) -> Option<(String, String)> {
    let file_name = entry.file_name();
    let (name, _) = file_name.to_str()?.strip_suffix(".dist-info")?.split_once('-')?;
    let name = name.to_ascii_lowercase().replace(['_', '.'], "-");
    if !PACKAGES.contains(&name.as_str()) {
        return None;
    }
    let about = std::fs::read_to_string(entry.path().join("METADATA")).ok()?;
    let version = about.lines().find_map(|line| line.strip_prefix("Version:"))?;
    Some((name, version.trim().to_owned()))
}

/// Compares the stamp at `path` with what is installed now.
pub fn verdict(path: &Path, installed: &Versions) -> Verdict {
    if !path.exists() {
        return Verdict::FirstRun;
    }
    let Some(stamped) = read(path) else {
        return Verdict::StampCorrupt;
    };
    let order = |name: &String, then: &String| installed.get(name).map(|now| compare(now, then));
    let all: Vec<_> = stamped.iter().map(|(name, then)| order(name, then)).collect();
    if all.iter().any(|order| order.is_none_or(|o| o.is_lt())) {
        Verdict::Downgrade
    } else if all.iter().flatten().any(|order| order.is_gt()) {
        Verdict::Update
    } else {
        Verdict::Ok
    }
}

/// The order of two versions.
pub fn compare(a: &str, b: &str) -> std::cmp::Ordering {
    match (Version::from_str(a), Version::from_str(b)) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

fn read(path: &Path) -> Option<Versions> {
    let about = path.metadata().ok()?;
    if !about.is_file() || about.len() > LIMIT {
        return None;
    }
    let stamp: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    if stamp.get("version")?.as_u64()? != SCHEMA {
        return None;
    }
    let packages = stamp.get("packages")?.as_object()?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Some(packages.iter().map(|(name, version)| (name.clone(), text(version))).collect())
}

/// Records `packages` as set up at `completed_at` (UTC, ISO 8601, seconds); parents are made.
///
/// # Errors
/// [`StampError`]; an old stamp is untouched then.
pub fn write(path: &Path, packages: &Versions, completed_at: &str) -> Result<(), StampError> {
    let stamp = json!({"completed_at": completed_at, "packages": packages, "version": SCHEMA});
    let mut text = serde_json::to_string_pretty(&stamp).unwrap_or_default();
    text.push('\n');
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)
        .and_then(|()| file::write_atomic(path, text.as_bytes(), file::PUBLIC))
        .map_err(|source| StampError { verb: "write", path: path.to_owned(), source })
}

/// Removes the stamp; true when there was one.
///
/// # Errors
/// [`StampError`].
pub fn clear(path: &Path) -> Result<bool, StampError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(StampError { verb: "remove", path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(pairs: &[(&str, &str)]) -> Versions {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn verdicts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/setup.stamp");
        let now = versions(&[("terok-sandbox", "0.1.0"), ("terok-shield", "0.7.0")]);
        assert_eq!(verdict(&path, &now), Verdict::FirstRun);
        for (stamped, wanted) in [
            (&[("terok-sandbox", "0.1.0")][..], Verdict::Ok),
            (&[("terok-sandbox", "0.1")], Verdict::Ok),
            (&[("terok-sandbox", "0.1.0rc1")], Verdict::Update),
            (&[("terok-sandbox", "0.0.124a20")], Verdict::Update),
            (&[("terok-sandbox", "0.10.0")], Verdict::Downgrade),
            (&[("terok-sandbox", "0.0.9"), ("terok-shield", "0.7.1")], Verdict::Downgrade),
            (&[("terok", "0.8.0")], Verdict::Downgrade),
            (&[("terok-sandbox", "not-a-version")], Verdict::Downgrade),
        ] {
            write(&path, &versions(stamped), "2026-01-02T03:04:05+00:00").unwrap();
            assert_eq!(verdict(&path, &now), wanted, "{stamped:?}");
        }
        for corrupt in ["", "[]", "{\"version\": 2, \"packages\": {}}", "{\"version\": 1, \"packages\": []}", "{"] {
            std::fs::write(&path, corrupt).unwrap();
            assert_eq!(verdict(&path, &now), Verdict::StampCorrupt, "{corrupt}");
        }
        assert!(clear(&path).unwrap() && !clear(&path).unwrap());
        std::fs::create_dir(&path).unwrap();
        assert_eq!(verdict(&path, &now), Verdict::StampCorrupt);
    }

    #[test]
    fn versions_come_from_the_first_metadata() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (root, dir, version) in [
            (&first, "terok_sandbox-0.1.0.dist-info", "0.1.0"),
            (&second, "terok_sandbox-9.dist-info", "9"),
            (&second, "terok-0.8.0.dist-info", "0.8.0"),
            (&second, "terok_rs-1.dist-info", "1"),
        ] {
            let dir = root.path().join(dir);
            std::fs::create_dir(&dir).unwrap();
            std::fs::write(dir.join("METADATA"), format!("Metadata-Version: 2.1\nName: x\nVersion: {version}\n"))
                .unwrap();
        }
        std::fs::create_dir(second.path().join("terok_shield-1.dist-info")).unwrap();
        let path = [first.path().to_owned(), "/no/such".into(), second.path().to_owned()];
        assert_eq!(installed(&path), versions(&[("terok-sandbox", "0.1.0"), ("terok", "0.8.0")]));
    }
}
