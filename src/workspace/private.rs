//! Makes the private git directory of one container.
//!
//! It has the user's branches, tags and index, and a configuration of its own. Objects are not copied: the user's object
//! directories are its alternates, mounted read-only.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mirror::git::Git;
use serde::Serialize;

use crate::fault::{WorkspaceError, io};
use crate::record::Record;
use crate::source::{self, DOT_GIT, Kind, Source};
use crate::{config, record, refs, store};

/// Where the container finds the user's directory.
pub const WORKSPACE: &str = "/workspace";
/// Where the container finds the user's objects, one directory for each number.
pub const OBJECTS: &str = "/run/terok-objects";
/// Where the container finds its git directory when `.git` is a file.
pub const GIT_DIR: &str = "/run/terok-git";
/// Name of the git directory in a workspace.
pub const PRIVATE: &str = "git";
/// Name of the copy of the branches at the start.
pub const INITIAL: &str = "refs.initial";

const QUERY: Duration = Duration::from_secs(60);
/// Files of the git directory that describe its state and are copied when they exist.
const FILES: &[&str] = &["MERGE_HEAD", "MERGE_MODE", "MERGE_MSG", "CHERRY_PICK_HEAD", "REVERT_HEAD", "index"];
/// Files of the common git directory that are copied when they exist.
const COMMON_FILES: &[&str] = &["shallow", "info/attributes", "info/exclude", "info/sparse-checkout"];

/// A request for a workspace.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// State directory of the sandbox.
    pub state_dir: &'a Path,
    /// The container.
    pub container: &'a str,
    /// Identifier of the run.
    pub run: &'a str,
    /// The user's directory.
    pub folder: &'a Path,
    /// Other host directories that the container gets.
    pub others: &'a [PathBuf],
    /// True when the user's own branch must not be moved.
    pub branch_only: bool,
}

/// One mount that belongs to the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Path on the host.
    pub host_path: PathBuf,
    /// Path in the container.
    pub container_path: String,
    /// True when the container cannot write there.
    pub read_only: bool,
}

impl Mount {
    fn new(host_path: impl Into<PathBuf>, container_path: impl Into<String>, read_only: bool) -> Self {
        Self { host_path: host_path.into(), container_path: container_path.into(), read_only }
    }
}

/// Makes the private git directory; the mounts that put it in place of the user's.
///
/// # Errors
/// [`WorkspaceError`]; nothing is left then.
pub fn prepare(request: &Request<'_>) -> Result<Vec<Mount>, WorkspaceError> {
    let source = source::inspect(request.folder)?;
    refuse_second_way(&source, request.others)?;
    let hidden = hidden(&source)?;
    let dir = store::of(request.state_dir, request.container)?;
    let parent = store::directory(request.state_dir);
    base::file::create_private_dir(&parent).map_err(io("create", &parent))?;
    let _lock = store::hold(&dir)?;
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(io("remove", &dir))?;
    }
    let made = make(&dir, &source, request).and_then(|()| mounts(&dir, &source, &hidden));
    if made.is_err() {
        let _ = fs::remove_dir_all(&dir);
    }
    made
}

/// Refuses other mounts through which the container would reach the user's git directory.
fn refuse_second_way(source: &Source, others: &[PathBuf]) -> Result<(), WorkspaceError> {
    for other in others {
        let real = base::path::resolve(other);
        if [&source.git_dir, &source.common].iter().any(|dir| dir.starts_with(&real) || real.starts_with(dir)) {
            let shown = base::text::sanitize_tty(&other.to_string_lossy());
            let why = format!("the container would reach its git directory through `{shown}` as well");
            return Err(WorkspaceError::refused(&source.folder, why));
        }
    }
    Ok(())
}

/// Names of entries of the user's directory, other than `.git`, that hold its git directory, as in `.bare`.
fn hidden(source: &Source) -> Result<Vec<PathBuf>, WorkspaceError> {
    let mut found: Vec<PathBuf> = Vec::new();
    if source.kind != Kind::Link {
        return Ok(found);
    }
    for dir in [&source.git_dir, &source.common] {
        let Ok(relative) = dir.strip_prefix(&source.folder) else { continue };
        let mut parts = relative.components();
        let first = parts.next().map(|part| PathBuf::from(part.as_os_str()));
        // A mount point cannot be renamed, but a directory above it can.
        if dir.parent().is_none_or(|parent| parent != source.folder) && dir == &source.common {
            return Err(WorkspaceError::refused(&source.folder, "its git directory lies deep inside it"));
        }
        found.extend(first.filter(|name| !found.contains(name)));
    }
    Ok(found)
}

fn make(dir: &Path, source: &Source, request: &Request<'_>) -> Result<(), WorkspaceError> {
    let git = dir.join(PRIVATE);
    for path in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info"] {
        let path = git.join(path);
        fs::create_dir_all(&path).map_err(io("create", &path))?;
    }
    base::file::create_private_dir(dir).map_err(io("create", dir))?;
    let write = |name: &str, text: &[u8]| {
        let path = git.join(name);
        fs::write(&path, text).map_err(io("write", &path))
    };
    let mut record = Record {
        container: request.container.to_owned(),
        run: request.run.to_owned(),
        folder: source.folder.clone(),
        kind: source.kind,
        git_dir: source.git_dir.clone(),
        objects: source.objects.clone(),
        branch: Some("main".to_owned()),
        base: None,
        sha256: false,
        branch_only: request.branch_only,
        made_dot_git: false,
        started: now(),
        brought: Default::default(),
        ended: false,
    };
    if source.is_repository() {
        let packed = packed_refs(&source.git_dir)?;
        write("packed-refs", &packed)?;
        let initial = dir.join(INITIAL);
        fs::write(&initial, &packed).map_err(io("write", &initial))?;
        record.sha256 = config::is_sha256(&source.git_dir)?;
        record.branch = branch(&source.git_dir)?;
        record.base = match &record.branch {
            Some(branch) => refs::parse(&packed).remove(branch),
            None => Some(commit(&source.git_dir)?),
        };
        write("config", config::text(&config::read(&source.git_dir)?, record.sha256).as_bytes())?;
        copy_files(source, &git)?;
    } else {
        write("config", config::text(&[], false).as_bytes())?;
    }
    let head = match (&record.branch, &record.base) {
        (None, Some(commit)) => format!("{commit}\n"),
        (branch, _) => format!("ref: refs/heads/{}\n", branch.as_deref().unwrap_or("main")),
    };
    write("HEAD", head.as_bytes())?;
    let numbers = (0..source.objects.len()).map(|n| format!("{OBJECTS}/{n}\n"));
    write("objects/info/alternates", numbers.collect::<String>().as_bytes())?;
    let dot_git = source.folder.join(DOT_GIT);
    if source.kind == Kind::Absent && fs::symlink_metadata(&dot_git).is_err() {
        fs::create_dir(&dot_git).map_err(io("create", &dot_git))?;
        record.made_dot_git = true;
    }
    record::write(dir, &record)
}

/// Seconds since 1970, by the clock that file systems use.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // The file systems' clock may lie a moment behind.
    now.map_or(0, |passed| passed.as_secs() as i64 - 1)
}

/// The user's branches, tags and remote branches in the form of `packed-refs`.
fn packed_refs(git_dir: &Path) -> Result<Vec<u8>, WorkspaceError> {
    // Symbolic references have an empty third field, so they stand apart.
    let format = "--format=%(objectname) %(refname)%(if)%(symref)%(then) symbolic%(end)";
    let words = ["for-each-ref", format, "refs/heads", "refs/tags", "refs/remotes"];
    let output = Git::at(git_dir, words).limit(QUERY).succeed("list the repository's branches")?;
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let plain = lines.filter(|line| !line.is_empty() && !line.ends_with(b" symbolic"));
    Ok(plain.flat_map(|line| [line, b"\n".as_slice()]).flatten().copied().collect())
}

/// The branch that is checked out; `None` for a detached `HEAD`.
fn branch(git_dir: &Path) -> Result<Option<String>, WorkspaceError> {
    let output = Git::at(git_dir, ["symbolic-ref", "--quiet", "HEAD"]).limit(QUERY).run()?;
    let text = output.text();
    let name = text.trim_end().strip_prefix(mirror::refs::HEADS).filter(|name| mirror::refs::is_branch(name));
    Ok(name.map(str::to_owned))
}

fn commit(git_dir: &Path) -> Result<String, WorkspaceError> {
    let words = ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"];
    let output = Git::at(git_dir, words).limit(QUERY).succeed("read the commit that is checked out")?;
    Ok(output.text().trim().to_owned())
}

fn copy_files(source: &Source, git: &Path) -> Result<(), WorkspaceError> {
    let entries = fs::read_dir(&source.git_dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let shared: Vec<_> = entries.filter(|name| name.to_string_lossy().starts_with("sharedindex.")).collect();
    let own = FILES.iter().map(OsStr::new).chain(shared.iter().map(|name| name.as_os_str()));
    let sparse = [OsStr::new("info/sparse-checkout")];
    let common = COMMON_FILES.iter().map(OsStr::new);
    let pairs = common.map(|name| (&source.common, name)).chain(own.chain(sparse).map(|name| (&source.git_dir, name)));
    for (from, name) in pairs {
        let path = from.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file()) {
            fs::copy(&path, git.join(name)).map_err(io("copy", &path))?;
        }
    }
    Ok(())
}

fn mounts(dir: &Path, source: &Source, hidden: &[PathBuf]) -> Result<Vec<Mount>, WorkspaceError> {
    let (git, dot_git) = (dir.join(PRIVATE), format!("{WORKSPACE}/{DOT_GIT}"));
    let mut mounts = Vec::new();
    if source.kind == Kind::Link {
        let link = dir.join("link");
        fs::write(&link, format!("gitdir: {GIT_DIR}\n")).map_err(io("write", &link))?;
        mounts.push(Mount::new(git, GIT_DIR, false));
        mounts.push(Mount::new(link, dot_git, true));
    } else {
        mounts.push(Mount::new(git, dot_git, false));
    }
    let empty = dir.join("empty");
    fs::create_dir_all(&empty).map_err(io("create", &empty))?;
    for name in hidden {
        mounts.push(Mount::new(&empty, format!("{WORKSPACE}/{}", name.display()), true));
    }
    let nothing = dir.join("nothing");
    fs::write(&nothing, b"").map_err(io("write", &nothing))?;
    for (number, objects) in source.objects.iter().enumerate() {
        let inside = format!("{OBJECTS}/{number}");
        mounts.push(Mount::new(objects, &inside, true));
        if objects.join("info/alternates").is_file() {
            // Its paths are the host's; git in the container would complain about each of them.
            mounts.push(Mount::new(&nothing, format!("{inside}/info/alternates"), true));
        }
    }
    Ok(mounts)
}
