//! What a killed git leaves behind: lock files that stop everybody after it, and halves of packs.
//!
//! Invariant: a lock file goes only when no process that could hold it is alive, or when it is older than any operation of
//! ours may take; temporary files go when they are a day old.

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A lock file older than this belongs to nobody.
const ANCIENT: Duration = Duration::from_secs(6 * 3600);
/// Temporary files older than this are rubbish.
const RUBBISH: Duration = Duration::from_secs(24 * 3600);
/// How much later than its process a lock may seem to have been made.
const SLACK: Duration = Duration::from_millis(250);
/// Deepest nesting of reference names that is looked at.
const DEPTH: usize = 64;

/// Removes what killed processes left in the mirror; returns the lock files that went.
///
/// The caller holds the mirror's lock: nobody else removes or, by a synchronisation, creates any.
pub fn clean(mirror: &Path) -> Vec<PathBuf> {
    let mut locks = Vec::new();
    collect(&mirror.join("refs"), DEPTH, &is_lock, &mut locks);
    collect(&mirror.join("logs"), DEPTH, &is_lock, &mut locks);
    collect(&mirror.join("objects/info"), 1, &is_lock, &mut locks);
    collect(mirror, 0, &is_lock, &mut locks);
    locks.extend(Some(mirror.join("objects/pack/multi-pack-index.lock")).filter(|lock| lock.exists()));
    let mut rubbish = Vec::new();
    collect(
        &mirror.join("objects/pack"),
        0,
        &|name| name.starts_with(b"tmp_") || name.starts_with(b".tmp-"),
        &mut rubbish,
    );
    rubbish.retain(|file| age(file).is_some_and(|age| age > RUBBISH));
    rubbish.iter().for_each(|file| drop(fs::remove_file(file)));
    if locks.is_empty() {
        return locks;
    }
    let eldest = eldest(mirror);
    locks.retain(|lock| age(lock).is_some_and(|age| orphaned(age, eldest)) && fs::remove_file(lock).is_ok());
    locks
}

/// A lock belongs to nobody when everybody who could hold it came later.
fn orphaned(lock: Duration, eldest: Option<Duration>) -> bool {
    lock > ANCIENT || eldest.is_none_or(|process| lock > process + SLACK)
}

fn is_lock(name: &[u8]) -> bool {
    // The second one is the draft that is written while the first one's `packed-refs.lock` is held.
    name.ends_with(b".lock") || name == b"packed-refs.new"
}

fn age(file: &Path) -> Option<Duration> {
    let changed = fs::symlink_metadata(file).ok()?.modified().ok()?;
    SystemTime::now().duration_since(changed).ok()
}

/// Files below `dir` whose names fit; links are not followed.
fn collect(dir: &Path, depth: usize, fits: &dyn Fn(&[u8]) -> bool, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => collect(&entry.path(), depth - 1, fits, found),
            Ok(kind) if kind.is_file() && fits(entry.file_name().as_bytes()) => found.push(entry.path()),
            _ => {}
        }
    }
}

/// How long the oldest process that works in the mirror, or has its path on its command line, has been running.
fn eldest(mirror: &Path) -> Option<Duration> {
    let Ok(real) = fs::canonicalize(mirror) else { return Some(ANCIENT) };
    let Ok(processes) = fs::read_dir("/proc") else { return Some(ANCIENT) };
    let own = std::process::id().to_string();
    let other = |entry: &DirEntry| entry.file_name() != OsStr::new(&own);
    let paths = processes.flatten().filter(other).map(|entry| entry.path());
    paths.filter(|process| concerns(process, &real, mirror)).map(|process| running(&process).unwrap_or(ANCIENT)).max()
}

/// Time since a process was started.
fn running(process: &Path) -> Option<Duration> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let ticks: u64 = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
    let uptime: f64 = fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?.parse().ok()?;
    let second = rustix::param::clock_ticks_per_second() as f64;
    Duration::try_from_secs_f64(uptime - ticks as f64 / second).ok()
}

fn concerns(process: &Path, real: &Path, named: &Path) -> bool {
    if fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(real)) {
        return true;
    }
    let Ok(line) = fs::read(process.join("cmdline")) else { return false };
    let is_git = line.split(|b| *b == 0).next().is_some_and(|program| {
        let name = program.rsplit(|b| *b == b'/').next().unwrap_or_default();
        name.starts_with(b"git")
    });
    let has = |path: &Path| {
        let path = path.as_os_str().as_bytes();
        !path.is_empty() && line.windows(path.len()).any(|window| window == path)
    };
    is_git && (has(real) || has(named))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn mirror() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let mirror = dir.path().join("p.git");
        assert!(Command::new("git").args(["init", "-q", "--bare"]).arg(&mirror).status().unwrap().success());
        (dir, mirror)
    }

    #[test]
    fn locks_of_the_dead_go_and_those_of_the_living_stay() {
        let (_dir, mirror) = mirror();
        fs::create_dir_all(mirror.join("refs/heads/a")).unwrap();
        let locks = ["packed-refs.new", "HEAD.lock", "refs/heads/a/b.lock"].map(|lock| mirror.join(lock));
        locks.iter().for_each(|lock| fs::write(lock, "").unwrap());
        let mut git = Command::new("git");
        let mut living =
            git.arg("-C").arg(&mirror).args(["cat-file", "--batch"]).stdin(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert!(clean(&mirror).is_empty() && locks.iter().all(|lock| lock.exists()));
        drop(living.stdin.take());
        living.wait().unwrap();
        assert_eq!(clean(&mirror).len(), 3);
        assert!(orphaned(Duration::from_secs(10), Some(Duration::from_secs(7))));
        assert!(!orphaned(Duration::from_secs(10), Some(Duration::from_secs(10))));
        assert!(locks.iter().all(|lock| !lock.exists()));
    }

    #[test]
    fn halves_of_packs_go_after_a_day() {
        let (_dir, mirror) = mirror();
        let (young, old) = (mirror.join("objects/pack/tmp_pack_a"), mirror.join("objects/pack/tmp_pack_b"));
        let kept = mirror.join("objects/pack/pack-1.pack");
        [&young, &old, &kept].iter().for_each(|file| fs::write(file, "").unwrap());
        let past = SystemTime::now() - Duration::from_secs(25 * 3600);
        [&old, &kept]
            .iter()
            .for_each(|file| fs::File::options().write(true).open(file).unwrap().set_modified(past).unwrap());
        clean(&mirror);
        assert!(young.exists() && kept.exists() && !old.exists());
    }
}
