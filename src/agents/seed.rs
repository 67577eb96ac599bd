//! A workspace filled from the host's clone cache before its container starts.
//!
//! Invariants: only a workspace that holds nothing but the new-task marker is filled, and no link in it is followed;
//! git never runs in a workspace: the origin is rewritten in a private copy that is then moved in; a cache is not copied
//! while it is being refreshed; a failure leaves the workspace as it was.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::file::Dir;
use base::lock::Lock;
use base::process::Run;

/// Name of the file that marks a workspace as new.
pub const MARKER: &str = ".new-task-marker";
const COPY_LIMIT: Duration = Duration::from_secs(300);
/// How long a refresh of the cache is waited for; after that the container clones by itself.
const LOCK_LIMIT: Duration = Duration::from_secs(120);
const GIT_LIMIT: Duration = Duration::from_secs(10);

/// Fills `workspace` from `cache`; true when it holds a repository afterwards. A failure is told in `warnings`.
pub fn seed(workspace: &Path, cache: &Path, origin: Option<&str>, warnings: &mut Vec<String>) -> bool {
    if !is_fresh(workspace) {
        return false;
    }
    let _held = match hold(cache, LOCK_LIMIT) {
        Ok(Some(held)) => held,
        Ok(None) => return false,
        Err(error) => {
            warnings.push(format!("cannot seed `{}`: the clone cache is in use: {error}", workspace.display()));
            return false;
        }
    };
    let staging = match staging_beside(workspace) {
        Ok(path) => path,
        Err(error) => {
            warnings.push(format!("cannot seed `{}`: {error}", workspace.display()));
            return false;
        }
    };
    let outcome = copy(cache, &staging, COPY_LIMIT).and_then(|()| {
        if let Some(url) = origin {
            set_origin(&staging, url, warnings);
        }
        move_in(&staging, workspace)
    });
    let _ = fs::remove_dir_all(&staging);
    if let Err(why) = &outcome {
        warnings.push(format!("cannot seed `{}` from the clone cache: {why}", workspace.display()));
        empty(workspace);
    }
    outcome.is_ok()
}

/// Keeps the cache from being refreshed; `None` when there is none. The lock is the one that refreshing takes.
fn hold(cache: &Path, limit: Duration) -> io::Result<Option<Lock>> {
    let name = cache.file_name().unwrap_or_default().to_string_lossy();
    let file = cache.with_file_name(format!(".{name}.lock"));
    let there = || is_plain_dir(&cache.join(".git"));
    // While it is replaced there is no cache for a moment, but there is the lock.
    if !there() && !file.exists() {
        return Ok(None);
    }
    let held = Lock::acquire(&file, limit)?;
    Ok(there().then_some(held))
}

fn is_plain_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

fn is_fresh(workspace: &Path) -> bool {
    let Ok(mut listing) = fs::read_dir(workspace) else { return false };
    is_plain_dir(workspace) && listing.all(|entry| entry.is_ok_and(|e| e.file_name() == MARKER))
}

/// A private directory on the same file system, so that moving is renaming.
fn staging_beside(workspace: &Path) -> io::Result<PathBuf> {
    let parent = workspace.parent().unwrap_or(Path::new("."));
    let path = parent.join(format!(".terok-seed-{}", base::ident::random_hex(6)));
    base::file::create_private_dir(&path)?;
    Ok(path)
}

fn copy(from: &Path, to: &Path, limit: Duration) -> Result<(), String> {
    let source = from.join(".");
    let argv =
        ["cp".as_ref(), "--reflink=auto".as_ref(), "-a".as_ref(), "--".as_ref(), source.as_os_str(), to.as_os_str()];
    match Run::new(argv).limit(limit).output() {
        Ok(output) if output.ok() && is_plain_dir(&to.join(".git")) => Ok(()),
        Ok(output) if output.ok() => Err("the copy holds no repository".into()),
        Ok(output) => Err(output.complaint()),
        Err(error) => Err(error.to_string()),
    }
}

fn set_origin(staging: &Path, url: &str, warnings: &mut Vec<String>) {
    let argv: [&OsStr; 9] = [
        "git".as_ref(),
        "-C".as_ref(),
        staging.as_os_str(),
        "--git-dir=.git".as_ref(),
        "remote".as_ref(),
        "set-url".as_ref(),
        "--".as_ref(),
        "origin".as_ref(),
        url.as_ref(),
    ];
    // Of our environment git gets where programs are: another variable could name another repository.
    let mut git = Run::new(argv).bare_env().env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for name in ["PATH", "GIT_EXEC_PATH"] {
        if let Some(value) = std::env::var_os(name) {
            git = git.env(name, value);
        }
    }
    let problem = match git.limit(GIT_LIMIT).output() {
        Ok(output) if output.ok() => return,
        Ok(output) => output.complaint(),
        Err(error) => error.to_string(),
    };
    let address = base::text::redact_userinfo(url);
    warnings.push(format!(
        "cannot set the origin of the seeded workspace to `{address}`: {}",
        base::text::redact_userinfo(&problem)
    ));
}

/// Renames every entry into the workspace, the repository itself last.
fn move_in(staging: &Path, workspace: &Path) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let (from, to) = (Dir::open(staging).map_err(text)?, Dir::open(workspace).map_err(text)?);
    let mut names: Vec<_> = fs::read_dir(staging).map_err(text)?.flatten().map(|entry| entry.file_name()).collect();
    names.sort_by_key(|name| name == ".git");
    for name in names.iter().filter(|name| *name != MARKER) {
        rustix::fs::renameat_with(from.as_fd(), name, to.as_fd(), name, rustix::fs::RenameFlags::NOREPLACE)
            .map_err(|error| text(error.into()))?;
    }
    Ok(())
}

/// Takes everything but the marker out again, so that the container can clone.
fn empty(workspace: &Path) {
    let Ok(listing) = fs::read_dir(workspace) else { return };
    for entry in listing.flatten().filter(|entry| entry.file_name() != MARKER) {
        let _ = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(entry.path()),
            _ => fs::remove_file(entry.path()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(dir: &Path, args: &[&str]) -> String {
        let mut argv = vec!["git", "-C", dir.to_str().unwrap(), "-c", "user.name=n", "-c", "user.email=e"];
        argv.extend(args);
        let output = Run::new(argv).output().unwrap();
        assert!(output.ok(), "{}", output.complaint());
        output.text().trim().to_owned()
    }

    fn bench() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (cache, workspace) = (dir.path().join("cache"), dir.path().join("task/workspace"));
        fs::create_dir_all(&cache).unwrap();
        fs::create_dir_all(&workspace).unwrap();
        git(&cache, &["init", "-q"]);
        fs::write(cache.join("file"), "x").unwrap();
        git(&cache, &["add", "file"]);
        git(&cache, &["commit", "-q", "-m", "m"]);
        git(&cache, &["remote", "add", "origin", "https://h/old"]);
        (dir, cache, workspace)
    }

    #[test]
    fn a_fresh_workspace_is_filled() {
        let (_dir, cache, workspace) = bench();
        fs::write(workspace.join(MARKER), "").unwrap();
        let mut warnings = Vec::new();
        assert!(seed(&workspace, &cache, Some("https://h/new"), &mut warnings) && warnings.is_empty());
        assert_eq!(git(&workspace, &["remote", "get-url", "origin"]), "https://h/new");
        assert_eq!(git(&cache, &["remote", "get-url", "origin"]), "https://h/old");
        assert!(workspace.join(MARKER).exists() && workspace.join("file").exists());
        assert_eq!(fs::read_dir(workspace.parent().unwrap()).unwrap().count(), 1);
        assert!(!seed(&workspace, &cache, None, &mut warnings), "it is not fresh any more");
    }

    #[test]
    fn a_workspace_with_content_is_left_alone() {
        let (dir, cache, workspace) = bench();
        std::os::unix::fs::symlink(dir.path(), workspace.join("file")).unwrap();
        assert!(!seed(&workspace, &cache, None, &mut Vec::new()));
        assert_eq!(fs::read_dir(&workspace).unwrap().count(), 1);
        let nowhere = dir.path().join("none");
        assert!(!seed(&nowhere, &cache, None, &mut Vec::new()) && !seed(&workspace, &nowhere, None, &mut Vec::new()));
    }

    #[test]
    fn a_cache_that_is_being_refreshed_is_waited_for() {
        let (dir, cache, workspace) = bench();
        let away = dir.path().join("away");
        let held = Lock::try_acquire(&dir.path().join(".cache.lock")).unwrap().unwrap();
        fs::rename(&cache, &away).unwrap();
        assert_eq!(hold(&cache, Duration::from_millis(20)).unwrap_err().kind(), io::ErrorKind::TimedOut);
        std::thread::scope(|scope| {
            let seeding = scope.spawn(|| seed(&workspace, &cache, None, &mut Vec::new()));
            std::thread::sleep(Duration::from_millis(100));
            assert!(!seeding.is_finished() && fs::read_dir(&workspace).unwrap().count() == 0);
            fs::rename(&away, &cache).unwrap();
            drop(held);
            assert!(seeding.join().unwrap());
        });
        assert!(workspace.join("file").exists());
    }

    #[test]
    fn without_a_cache_nothing_is_left_beside_it() {
        let (dir, _, workspace) = bench();
        assert!(!seed(&workspace, &dir.path().join("none"), None, &mut Vec::new()));
        assert!(!dir.path().join(".none.lock").exists());
    }

    #[test]
    fn a_failed_copy_leaves_an_empty_workspace() {
        let (dir, cache, workspace) = bench();
        fs::write(workspace.join(MARKER), "").unwrap();
        assert!(copy(&cache, &dir.path().join("copy"), Duration::ZERO).is_err());
        fs::write(workspace.join("half"), "").unwrap();
        empty(&workspace);
        let left: Vec<_> = fs::read_dir(&workspace).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, [MARKER]);
    }
}
