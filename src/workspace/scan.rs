//! Looks through a directory, after a container worked in it, for what would make the next git on the host run something.
//!
//! The scan follows no links, runs nothing, and is bounded in entries, depth and what it reports. It is a warning and no
//! protection: entries beyond the bounds are not seen, and the report says so. What did not change since the start of the
//! run is left out, by the time of change that the kernel keeps and no program sets.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::text::{clean_label, command_line};

use mirror::git::{Git, Reach};

use crate::record::Record;
use crate::source::{self, DOT_GIT};

/// Most entries that are looked at.
const MAX_ENTRIES: usize = 200_000;
/// Deepest directory that is looked at.
const MAX_DEPTH: usize = 40;
/// Most findings that are listed.
const MAX_LISTED: usize = 20;
/// Largest `.gitattributes` that is read.
const MAX_ATTRIBUTES: u64 = 1024 * 1024;
/// Longest path that is shown.
const MAX_SHOWN: usize = 200;
const LIST: Duration = Duration::from_secs(30);
/// Keys of drivers, by which a file of attributes can make git run a program of the user.
const DRIVER_KEYS: &[(&str, &[&str])] =
    &[("filter", &["clean", "smudge", "process"]), ("diff", &["textconv", "command"]), ("merge", &["driver"])];
/// Parts of a git directory that git obeys.
const OBEYED: &[&str] = &["config", "config.worktree", "commondir", "hooks", "info/attributes"];

/// Something that git on the host would obey.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Path below the directory.
    path: PathBuf,
    /// Description.
    what: String,
}

/// Findings of a scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Findings {
    /// Findings in the order of their paths.
    found: Vec<Finding>,
    /// True when the bounds were reached.
    incomplete: bool,
}

/// The warning about what a container left in the user's directory; `None` when there is nothing to warn of.
pub fn after(record: &Record) -> Option<String> {
    warning(&record.folder, &scan(&record.folder, &drivers(&record.git_dir), record.started))
}

/// The user's drivers, as `filter.lfs`, from the configuration of the repository and the user.
fn drivers(git_dir: &Path) -> Vec<String> {
    let list = ["--list", "--name-only", "-z"];
    let git = match source::is_git_dir(git_dir) {
        true => Git::at(git_dir, ["config"].into_iter().chain(list)),
        false => Git::new(["config", "--global"].into_iter().chain(list)),
    };
    let output = git.reach(&Reach::User { personal: false }).limit(LIST).run().ok().filter(base::process::Output::ok);
    let text = output.map(|output| output.text()).unwrap_or_default();
    let mut found: Vec<String> = text.split('\0').filter_map(driver).collect();
    found.sort();
    found.dedup();
    found
}

fn driver(key: &str) -> Option<String> {
    let (section, rest) = key.split_once('.')?;
    let (name, last) = rest.rsplit_once('.')?;
    let known = DRIVER_KEYS.iter().any(|(known, keys)| *known == section && keys.contains(&last));
    known.then(|| format!("{section}.{name}"))
}

/// True when the entry itself changed since `start`, in seconds since 1970.
fn is_newer(path: &Path, start: i64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.ctime() >= start)
}

/// True when something changed that git obeys in a git directory.
fn is_newer_repository(path: &Path, start: i64) -> bool {
    let hooks = fs::read_dir(path.join("hooks")).into_iter().flatten().flatten().map(|entry| entry.path());
    OBEYED.iter().map(|name| path.join(name)).chain(hooks.take(100)).any(|part| is_newer(&part, start))
}

/// Scans `folder` for what changed since `start`; its own `.git` is left out.
fn scan(folder: &Path, drivers: &[String], start: i64) -> Findings {
    let mut findings = Findings::default();
    let mut waiting = vec![(folder.to_owned(), 0_usize)];
    let mut seen = 0;
    while let Some((directory, depth)) = waiting.pop() {
        if depth > MAX_DEPTH {
            findings.incomplete = true;
            continue;
        }
        if depth > 0 && source::is_git_dir(&directory) && is_newer_repository(&directory, start) {
            add(&mut findings, folder, &directory, "a bare repository, whose settings git obeys inside of it");
        }
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MAX_ENTRIES {
                findings.incomplete = true;
                return sorted(findings);
            }
            let (path, name) = (entry.path(), entry.file_name());
            let Ok(kind) = entry.file_type() else { continue };
            if name.eq_ignore_ascii_case(DOT_GIT) {
                let is_new = if kind.is_dir() { is_newer_repository(&path, start) } else { is_newer(&path, start) };
                if depth > 0 && is_new {
                    add(&mut findings, folder, &path, dot_git(kind));
                }
            } else if kind.is_dir() {
                waiting.push((path, depth + 1));
            } else if name == ".gitattributes" && kind.is_file() && is_newer(&path, start) {
                for driver in named_drivers(&path, drivers) {
                    add(&mut findings, folder, &path, &format!("attributes that use your driver `{driver}`"));
                }
            }
        }
    }
    sorted(findings)
}

fn dot_git(kind: fs::FileType) -> &'static str {
    match () {
        () if kind.is_dir() => "a nested repository, whose settings and hooks git obeys inside of it",
        () if kind.is_symlink() => "a link to a repository elsewhere",
        () => "a file that leads git to a repository elsewhere",
    }
}

fn add(findings: &mut Findings, folder: &Path, path: &Path, what: &str) {
    let path = path.strip_prefix(folder).unwrap_or(path).to_owned();
    findings.found.push(Finding { path, what: what.to_owned() });
}

fn sorted(mut findings: Findings) -> Findings {
    findings.found.sort();
    findings
}

/// The user's drivers that an attributes file names.
fn named_drivers(file: &Path, drivers: &[String]) -> Vec<String> {
    if drivers.is_empty() {
        return Vec::new();
    }
    let text = base::file::read_regular(file, MAX_ATTRIBUTES).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let named = |driver: &&String| {
        driver.split_once('.').is_some_and(|(kind, name)| words.iter().any(|word| *word == format!("{kind}={name}")))
    };
    drivers.iter().filter(named).cloned().collect()
}

/// One warning that names everything, several lines; `None` when there is nothing to warn of.
fn warning(folder: &Path, findings: &Findings) -> Option<String> {
    if findings.found.is_empty() {
        return None;
    }
    let mut lines = vec![format!(
        "Warning: git on this host would run or obey what is in `{}`; look before you use git there:",
        clean_label(&folder.to_string_lossy(), MAX_SHOWN)
    )];
    for finding in findings.found.iter().take(MAX_LISTED) {
        let path = clean_label(&finding.path.to_string_lossy(), MAX_SHOWN);
        lines.push(format!("  {path}: {}", clean_label(&finding.what, MAX_SHOWN)));
    }
    let more = findings.found.len().saturating_sub(MAX_LISTED);
    if more > 0 {
        let find = command_line(["find".as_ref(), folder.as_os_str(), "-mindepth".as_ref(), "2".as_ref()]);
        lines.push(format!("  and {more} more; list them with: {find} -name .git"));
    }
    if findings.incomplete {
        lines.push("  the directory is too large to be looked through completely".to_owned());
    }
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_git_obeys_is_named_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for path in [".git/objects", "a/.git/hooks", "bare/objects", "bare/refs", "bare/hooks", "plain"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        fs::write(at("bare/HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::create_dir_all(at("sub")).unwrap();
        fs::write(at("sub/.git"), "gitdir: ../evil\n").unwrap();
        std::os::unix::fs::symlink("/nonexistent", at("plain/.GIT")).unwrap();
        fs::write(at(".gitattributes"), "*.bin filter=lfs diff=lfs\n* text\n").unwrap();
        std::os::unix::fs::symlink(dir.path(), at("loop")).unwrap();
        let drivers = ["filter.lfs".to_owned(), "diff.word".to_owned()];
        let findings = scan(dir.path(), &drivers, 0);
        let paths: Vec<_> = findings.found.iter().map(|f| f.path.to_str().unwrap().to_owned()).collect();
        assert_eq!(paths, [".gitattributes", "a/.git", "bare", "plain/.GIT", "sub/.git"]);
        let text = warning(dir.path(), &findings).unwrap();
        assert!(text.contains("`filter.lfs`") && !text.contains("diff.word") && text.lines().count() == 6, "{text}");
        fs::remove_file(at(".gitattributes")).unwrap();
        assert_eq!(warning(dir.path(), &scan(&at("plain/x"), &drivers, 0)), None);
        assert_eq!(scan(dir.path(), &drivers, i64::MAX).found, []);
        assert_eq!(driver("filter.my.lfs.clean").as_deref(), Some("filter.my.lfs"));
        assert_eq!(driver("diff.external"), None);
    }
}
