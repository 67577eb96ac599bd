//! A mirror comes into being complete or not at all.
//!
//! Invariants: it is made beside its place and renamed into it; what stands in its place is never deleted, only moved
//! aside under a dated name that no container can ask for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fault::{MirrorError, io};
use crate::git::Git;
use crate::hold::{self, Listener, sibling};
use crate::upstream::Upstream;
use crate::{config, pull};

const INIT: Duration = Duration::from_secs(30);

/// What became of the mirror's place.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// A new mirror was made.
    pub created: bool,
    /// Where the old one is now.
    pub moved_aside: Option<PathBuf>,
}

/// Makes sure that there is a mirror, with the upstream's content when it is new. `force` moves an existing one aside.
///
/// `branch` is what `HEAD` stands for in a mirror without an upstream.
///
/// # Errors
/// [`MirrorError`]; after a failure the place is as it was, or empty when the old mirror was to go.
pub fn prepare(
    mirror: &Path,
    upstream: Option<&Upstream>,
    branch: Option<&str>,
    force: bool,
    listener: Listener<'_>,
) -> Result<Prepared, MirrorError> {
    let parent = mirror.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(io("create", parent))?;
    let _lock = hold::hold(mirror, listener)?;
    sweep(mirror);
    let mut prepared = Prepared::default();
    if force && mirror.is_dir() || is_remnant(mirror)? {
        prepared.moved_aside = Some(move_aside(mirror)?);
    }
    if mirror.is_dir() {
        if upstream.is_none() {
            config::write(mirror, None)?;
            pull::settle_head(mirror, None)?;
        }
        return Ok(prepared);
    }
    let young = sibling(mirror, &format!("new-{}", base::ident::random_hex(4)));
    let made = make(&young, upstream, branch, listener)
        .and_then(|()| fs::rename(&young, mirror).map_err(io("create", mirror)))
        .and_then(|()| write_through(parent));
    if let Err(error) = made {
        let _ = fs::remove_dir_all(&young);
        return Err(error);
    }
    prepared.created = true;
    Ok(prepared)
}

fn make(
    young: &Path,
    upstream: Option<&Upstream>,
    branch: Option<&str>,
    listener: Listener<'_>,
) -> Result<(), MirrorError> {
    let Some(upstream) = upstream else {
        init(young, branch, false)?;
        return complete(young, None);
    };
    let failed = |error: MirrorError| match error {
        MirrorError::NoGit => error,
        MirrorError::Git { complaint, .. } => MirrorError::Clone(complaint),
        other => MirrorError::Clone(base::fault::explain(&other)),
    };
    let listing = upstream.list(listener).map_err(failed)?;
    let head = listing.head.as_deref().and_then(|head| std::str::from_utf8(head).ok());
    let head = head.and_then(|head| head.strip_prefix(crate::refs::HEADS)).or(branch);
    init(young, head, listing.is_sha256())?;
    pull::fill(young, upstream, &listing, listener).map_err(failed)?;
    complete(young, Some(upstream.address.plain()))
}

/// Gives the new mirror its lasting configuration, and the disk everything at once.
fn complete(young: &Path, address: Option<&str>) -> Result<(), MirrorError> {
    config::write(young, address)?;
    if address.is_some() {
        crate::objects::record(young)?;
    }
    settle_on_disk(young)
}

fn init(young: &Path, branch: Option<&str>, sha256: bool) -> Result<(), MirrorError> {
    let branch = branch.filter(|branch| crate::refs::is_branch(branch)).unwrap_or("main");
    let format = if sha256 { "sha256" } else { "sha1" };
    let mut words: Vec<std::ffi::OsString> = ["init", "--quiet", "--bare", "--template="].map(Into::into).into();
    words.push(format!("--initial-branch={branch}").into());
    words.push(format!("--object-format={format}").into());
    words.extend(["--".into(), young.into()]);
    let output = Git::new(words).limit(INIT).run()?;
    match output.ok() {
        true => config::begin(young),
        false => Err(MirrorError::Init(output.complaint())),
    }
}

/// True for what an interrupted creation of another program left: parts of a repository that git does not recognise.
fn is_remnant(mirror: &Path) -> Result<bool, MirrorError> {
    if fs::symlink_metadata(mirror).is_err() {
        return Ok(false);
    }
    if !mirror.is_dir() {
        return Err(MirrorError::NotMirror(mirror.to_owned()));
    }
    let output = Git::at(mirror, ["rev-parse", "--is-bare-repository"]).run()?;
    if output.ok() && output.text().trim() == "true" {
        return Ok(false);
    }
    let names: Vec<String> = fs::read_dir(mirror)
        .map_err(io("read", mirror))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let part = |name: &String| {
        matches!(
            name.as_str(),
            "objects" | "refs" | "HEAD" | "config" | "branches" | "hooks" | "info" | "description" | "packed-refs"
        )
    };
    match !output.ok() && names.iter().all(part) {
        true => Ok(true),
        false => Err(MirrorError::NotMirror(mirror.to_owned())),
    }
}

/// Moves what is in the mirror's place to a name beside it that says when.
fn move_aside(mirror: &Path) -> Result<PathBuf, MirrorError> {
    let name = mirror.file_name().unwrap_or_default().to_string_lossy();
    let now = base::clock::compact(std::time::SystemTime::now());
    for attempt in 0..100 {
        let number = if attempt == 0 { String::new() } else { format!("-{attempt}") };
        let aside = mirror.with_file_name(format!("{name}.before-{now}{number}"));
        if fs::symlink_metadata(&aside).is_ok() {
            continue;
        }
        fs::rename(mirror, &aside).map_err(io("move aside", mirror))?;
        return Ok(aside);
    }
    Err(io("move aside", mirror)(std::io::ErrorKind::AlreadyExists.into()))
}

/// Removes what creations that were killed left beside the mirror; the lock says that none is going on.
fn sweep(mirror: &Path) {
    let Some(prefix) = sibling(mirror, "new-").file_name().map(|name| name.to_string_lossy().into_owned()) else {
        return;
    };
    let Ok(entries) = fs::read_dir(mirror.parent().unwrap_or(Path::new("."))) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// Writes everything below a directory through to the disk, the directory last.
fn settle_on_disk(dir: &Path) -> Result<(), MirrorError> {
    for entry in fs::read_dir(dir).map_err(io("read", dir))?.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => settle_on_disk(&entry.path())?,
            Ok(kind) if kind.is_file() => write_through(&entry.path())?,
            _ => {}
        }
    }
    write_through(dir)
}

fn write_through(path: &Path) -> Result<(), MirrorError> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(io("write", path))
}
