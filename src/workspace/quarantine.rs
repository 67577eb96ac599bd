//! Copies the objects that a container wrote into a repository of our own, from which they are fetched with checks.
//!
//! Only regular files with names that git gives to objects are copied, without following links; number and size are
//! bounded. Configuration, hooks and alternates of the container stay behind.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::file::Dir;
use mirror::git::{FRUGAL, Git};
use mirror::refs::is_object_id;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use crate::fault::{WorkspaceError, io};
use crate::private::PRIVATE;
use crate::record::Record;
use crate::refs;

/// Most bytes of objects that are brought back.
pub const MAX_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Most files of objects.
pub const MAX_FILES: usize = 200_000;

/// Most packs.
pub const MAX_PACKS: usize = 500;

const INIT: Duration = Duration::from_secs(30);
const INDEX: Duration = Duration::from_secs(300);
const NAME: &str = "quarantine";

/// A repository of our own with a container's objects; removed when dropped.
#[derive(Debug)]
pub struct Quarantine {
    /// The bare repository.
    pub path: PathBuf,
}

impl Drop for Quarantine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Makes the repository with one reference `refs/terok/N` for each commit.
///
/// # Errors
/// [`WorkspaceError::TooLarge`], [`WorkspaceError::Git`] when a commit is missing, [`WorkspaceError::Io`].
pub fn fill(dir: &Path, record: &Record, commits: &[String]) -> Result<Quarantine, WorkspaceError> {
    let path = dir.join(NAME);
    let _ = fs::remove_dir_all(&path);
    let quarantine = Quarantine { path: path.clone() };
    let format = if record.sha256 { "--object-format=sha256" } else { "--object-format=sha1" };
    let words = ["init", "--quiet", "--bare", "--template=", format, "--"].map(OsString::from);
    let words = words.into_iter().chain([path.clone().into_os_string()]);
    Git::new(words).limit(INIT).succeed("create a repository for the container's objects")?;
    set_bounds(&path)?;
    let private = dir.join(PRIVATE);
    let source = Dir::open(&private).map_err(io("open", &private))?;
    if let Ok(objects) = source.open_below(Path::new("objects")) {
        Copy { bytes: 0, files: 0 }.all(&objects, &path.join("objects"))?;
    }
    index_packs(&path)?;
    let mut alternates = Vec::new();
    for objects in &record.objects {
        alternates.extend_from_slice(objects.as_os_str().as_bytes());
        alternates.push(b'\n');
    }
    let info = path.join("objects/info");
    fs::create_dir_all(&info).map_err(io("create", &info))?;
    fs::write(info.join("alternates"), alternates).map_err(io("write", &info))?;
    let shallow = private.join("shallow");
    if source.entry_type("shallow").is_ok_and(|kind| kind == Some(FileType::RegularFile)) {
        let text = source.read(Path::new("shallow"), 16 * 1024 * 1024).map_err(io("read", &shallow))?;
        let good = text.split(|b| *b == b'\n').filter(|l| std::str::from_utf8(l).is_ok_and(is_object_id));
        let lines: Vec<u8> = good.flat_map(|line| [line, b"\n".as_slice()]).flatten().copied().collect();
        fs::write(path.join("shallow"), lines).map_err(io("write", &shallow))?;
    }
    let script: String = commits.iter().enumerate().map(|(n, id)| format!("create refs/terok/{n} {id}\n")).collect();
    Git::at(&path, ["update-ref", "--stdin"]).input(script).limit(INIT).succeed("read the container's commits")?;
    Ok(quarantine)
}

/// Writes the bounds into the configuration: the process that a fetch starts here gets none of the fetch's settings.
fn set_bounds(path: &Path) -> Result<(), WorkspaceError> {
    let config = path.join("config");
    let mut file = fs::OpenOptions::new().append(true).open(&config).map_err(io("open", &config))?;
    for (key, value) in FRUGAL {
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        writeln!(file, "[{section}]\n\t{name} = {value}").map_err(io("write", &config))?;
    }
    Ok(())
}

fn index_packs(path: &Path) -> Result<(), WorkspaceError> {
    let packs = fs::read_dir(path.join("objects/pack")).into_iter().flatten().flatten();
    let packs: Vec<PathBuf> = packs.map(|entry| entry.path()).collect();
    if packs.len() > MAX_PACKS {
        return Err(WorkspaceError::TooLarge { what: "the number of packs", limit: MAX_PACKS.to_string() });
    }
    for pack in packs {
        let words = [OsStr::new("index-pack"), pack.as_os_str()];
        Git::at(path, words).limit(INDEX).succeed("read a pack of the container")?;
    }
    Ok(())
}

/// The copying, and what it has copied so far.
struct Copy {
    bytes: u64,
    files: usize,
}

impl Copy {
    fn all(&mut self, from: &Dir, to: &Path) -> Result<(), WorkspaceError> {
        for (name, kind) in refs::list(from) {
            let Some(name) = name.to_str().filter(|_| kind == FileType::Directory) else { continue };
            let is_fan_out = name.len() == 2 && name.bytes().all(|b| b.is_ascii_hexdigit());
            if !is_fan_out && name != "pack" {
                continue;
            }
            let Ok(below) = from.open_below(Path::new(name)) else { continue };
            let target = to.join(name);
            fs::create_dir_all(&target).map_err(io("create", &target))?;
            for (file, kind) in refs::list(&below) {
                let Some(file) = file.to_str().filter(|file| is_object_file(name, file)) else { continue };
                if kind == FileType::RegularFile {
                    self.file(&below, file, &target.join(file))?;
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, from: &Dir, name: &str, to: &Path) -> Result<(), WorkspaceError> {
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(WorkspaceError::TooLarge { what: "the number of objects", limit: MAX_FILES.to_string() });
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = rustix::fs::openat2(from.as_fd(), name, flags, Mode::empty(), beneath);
        let source = File::from(opened.map_err(|error| io("open", to)(error.into()))?);
        if !source.metadata().is_ok_and(|meta| meta.is_file()) {
            return Ok(());
        }
        let left = MAX_BYTES - self.bytes;
        let mut target = File::create(to).map_err(io("create", to))?;
        // The size may change while it is copied, so the copy itself is bounded.
        let copied = std::io::copy(&mut source.take(left + 1), &mut target).map_err(io("write", to))?;
        self.bytes += copied.min(left);
        match copied > left {
            true => Err(WorkspaceError::TooLarge { what: "the size of the commits", limit: "2 GiB".into() }),
            false => Ok(()),
        }
    }
}

/// True for names of loose objects and of packs.
fn is_object_file(directory: &str, name: &str) -> bool {
    match directory {
        "pack" => {
            // The index is made again from the pack: the container's may say anything.
            name.strip_prefix("pack-").and_then(|rest| rest.strip_suffix(".pack")).is_some_and(is_object_id)
        }
        directory => is_object_id(&format!("{directory}{name}")),
    }
}
