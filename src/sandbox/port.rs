//! Which loopback ports are whose: claims of all users of this host, in one shared directory.
//!
//! Each user has a file `<user>.json` (key to port, readable by everybody, owned by that user) and a lock file next to it.
//! A claim holds for a key until it is released, also across processes of the same user. Invariants: the directory is
//! hostile ground, so links, foreign owners, odd files and large files do not count, and work is bounded. A claim is a
//! promise between programs of this family; the later bind is what really reserves a port. Refuses a directory that is a
//! link.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::fault::{Fault, Kind};
use base::lock::Lock;
use base::{file, user};
use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, socket};

/// A larger claim file does not count.
const FILE_LIMIT: u64 = 16384;
/// So many other users are consulted, and so many directory entries looked at.
const USERS_LIMIT: usize = 256;
const ENTRIES_LIMIT: usize = 4096;
/// How long another process of ours may take for its claim.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The shared directory is not one we can trust.
    #[error("cannot use port registry directory `{}`: it is {reason}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// `symlinked` or `not a directory`.
        reason: &'static str,
    },
    /// The shared directory could not be made.
    #[error("cannot create port registry directory `{}`", .path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// The number is outside 1–65535.
    #[error("cannot claim port {port} for `{key}`: not a valid port number")]
    Invalid {
        /// What the port is for.
        key: String,
        /// The number.
        port: i64,
    },
    /// Another key of ours has it.
    #[error("cannot claim port {port} for `{key}`: already held by {holder}")]
    Held {
        /// What the port is for.
        key: String,
        /// The port.
        port: u16,
        /// The other key.
        holder: String,
    },
    /// Another user has it.
    #[error("cannot claim port {port} for `{key}`: claimed by another user")]
    Foreign {
        /// What the port is for.
        key: String,
        /// The port.
        port: u16,
    },
    /// Some program listens there.
    #[error("cannot claim port {port} for `{key}`: unavailable, something uses it already")]
    Busy {
        /// What the port is for.
        key: String,
        /// The port.
        port: u16,
    },
    /// No port is left.
    #[error("cannot find a free port for `{key}` between {first} and {last}")]
    Exhausted {
        /// What the port is for.
        key: String,
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
    },
    /// The port of an earlier run cannot be kept.
    #[error("cannot keep port {port} for `{key}`, which `{}` records", .backup.display())]
    Saved {
        /// What the port is for.
        key: &'static str,
        /// The port.
        port: i64,
        /// The record.
        backup: PathBuf,
        /// Why not.
        #[source]
        source: Box<PortError>,
    },
}

impl Fault for PortError {
    fn code(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "port-directory-unsafe",
            Self::Create { .. } => "port-directory-create",
            Self::Invalid { .. } => "port-invalid",
            Self::Held { .. } => "port-held",
            Self::Foreign { .. } => "port-foreign",
            Self::Busy { .. } => "port-busy",
            Self::Exhausted { .. } => "port-exhausted",
            Self::Saved { .. } => "port-saved",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Directory { .. } => Some("set `TEROK_PORT_REGISTRY_DIR` to a directory of yours".into()),
            Self::Exhausted { .. } => Some("widen `network.port_range_start` and `network.port_range_end`".into()),
            Self::Saved { backup, .. } => Some(format!("delete `{}` to get new ports", backup.display())),
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

/// How firmly a caller wants one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Any port; a given number is where the search begins.
    Any,
    /// This one, and it must be free.
    Fixed,
    /// This one; our own service may be listening there already.
    Ours,
    /// The one recorded for this key, in use or not (our own container may publish it); else as [`Wish::Any`].
    Kept,
}

/// Directory and range that claims are made in.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The shared directory.
    pub dir: PathBuf,
    /// First and last port that may be given out.
    pub range: (u16, u16),
}

impl Ground {
    /// The directory and range that environment and configuration name.
    pub fn configured() -> Self {
        Self { dir: base::path::sandbox_port_registry_dir(), range: base::setting::port_range() }
    }
}

type Claims = BTreeMap<String, u16>;

/// The claims of this process.
#[derive(Debug, Default)]
pub struct Registry {
    held: Mutex<Claims>,
}

impl Registry {
    fn held(&self) -> MutexGuard<'_, Claims> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims a port for `key`; a key this process holds keeps its port, whatever is asked.
    ///
    /// # Errors
    /// [`PortError`]; nothing is claimed then.
    pub fn claim(&self, ground: &Ground, key: &str, port: Option<i64>, wish: Wish) -> Result<u16, PortError> {
        let mut held = self.held();
        if let Some(port) = held.get(key) {
            return Ok(*port);
        }
        ensure_dir(&ground.dir)?;
        let own = OwnFile::open(&ground.dir);
        let recorded = own.read();
        let mut others = recorded.clone();
        others.extend(held.iter().map(|(key, port)| (key.clone(), *port)));
        others.remove(key);
        let foreign = foreign_claims(&ground.dir);
        let chosen = match (port, wish) {
            (Some(port), Wish::Fixed | Wish::Ours) => fixed(key, port, wish, &others, &foreign)?,
            (wanted, Wish::Kept) if kept(key, wanted, &recorded, &foreign).is_some() => recorded[key],
            _ => {
                let from = port.or(recorded.get(key).map(|port| i64::from(*port)));
                search(ground, key, from, &others, &foreign)?
            }
        };
        held.insert(key.to_owned(), chosen);
        own.update(|claims| claims.extend(held.iter().map(|(key, port)| (key.clone(), *port))));
        Ok(chosen)
    }

    /// Gives the port of `key` back, whichever process of ours claimed it. Unknown keys are no error.
    pub fn release(&self, ground: &Ground, key: &str) {
        let mut held = self.held();
        held.remove(key);
        if ensure_dir(&ground.dir).is_ok() {
            OwnFile::open(&ground.dir).update(|claims| {
                claims.remove(key);
            });
        }
    }

    /// Forgets what this process holds; files stay.
    pub fn reset(&self) {
        self.held().clear();
    }
}

fn fixed(key: &str, port: i64, wish: Wish, others: &Claims, foreign: &HashSet<u16>) -> Result<u16, PortError> {
    let valid = u16::try_from(port).ok().filter(|port| *port > 0);
    let key = key.to_owned();
    let Some(number) = valid else {
        return Err(PortError::Invalid { key, port });
    };
    if let Some((holder, _)) = others.iter().find(|(_, held)| **held == number) {
        let holder = holder.clone();
        return Err(PortError::Held { key, port: number, holder });
    }
    if foreign.contains(&number) {
        return Err(PortError::Foreign { key, port: number });
    }
    if wish == Wish::Fixed && !is_free(number) {
        return Err(PortError::Busy { key, port: number });
    }
    Ok(number)
}

/// The port recorded for `key`, when that is the wanted one and nobody else claims it.
fn kept(key: &str, wanted: Option<i64>, recorded: &Claims, foreign: &HashSet<u16>) -> Option<u16> {
    let port = *recorded.get(key)?;
    (wanted.is_none_or(|wanted| wanted == i64::from(port)) && !foreign.contains(&port)).then_some(port)
}

fn search(
    ground: &Ground,
    key: &str,
    from: Option<i64>,
    others: &Claims,
    foreign: &HashSet<u16>,
) -> Result<u16, PortError> {
    let (first, last) = ground.range;
    let start = from.and_then(|port| u16::try_from(port).ok());
    let start = start.filter(|port| (first..=last).contains(port)).unwrap_or(first);
    let taken: HashSet<u16> = others.values().copied().collect();
    (start..=last)
        .chain(first..start)
        .find(|port| !taken.contains(port) && !foreign.contains(port) && is_free(*port))
        .ok_or_else(|| PortError::Exhausted { key: key.to_owned(), first, last })
}

/// Whether a program could bind the port on loopback now; no address reuse, so a port in linger counts as busy.
pub fn is_free(port: u16) -> bool {
    let Ok(probe) = socket(AddressFamily::INET, SocketType::STREAM, None) else {
        return false;
    };
    bind(&probe, &SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn ensure_dir(dir: &Path) -> Result<(), PortError> {
    let refuse = |reason| Err(PortError::Directory { path: dir.to_owned(), reason });
    match dir.symlink_metadata() {
        Ok(about) if about.is_symlink() => refuse("symlinked"),
        Ok(about) if !about.is_dir() => refuse("not a directory"),
        Ok(_) => Ok(()),
        Err(_) => create_shared(dir).map_err(|source| PortError::Create { path: dir.to_owned(), source }),
    }
}

fn create_shared(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        // The umask applies to mkdir, so the shared mode needs a step of its own.
        Ok(()) => std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o1777)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Our own claim file, locked as long as the value lives (when the lock can be had).
struct OwnFile {
    dir: PathBuf,
    name: String,
    _turn: Option<Lock>,
}

impl OwnFile {
    fn open(dir: &Path) -> Self {
        let user = user_label(user::effective_uid());
        let turn = Lock::acquire(&dir.join(format!("{user}.lock")), PATIENCE).ok();
        Self { dir: dir.to_owned(), name: format!("{user}.json"), _turn: turn }
    }

    fn read(&self) -> Claims {
        read_claims(&self.dir, &self.name, user::effective_uid()).unwrap_or_default()
    }

    /// Rewrites the file; a failure is no reason to refuse the port.
    fn update(&self, change: impl FnOnce(&mut Claims)) {
        let mut claims = self.read();
        let before = claims.clone();
        change(&mut claims);
        if claims == before {
            return;
        }
        let text = serde_json::to_vec(&claims).unwrap_or_default();
        let written = file::Dir::open(&self.dir).and_then(|dir| dir.write_atomic(&self.name, &text, file::PUBLIC));
        if let Err(error) = written {
            base::notice::leave(&format!("port claims could not be recorded in `{}`: {error}", self.dir.display()));
        }
    }
}

fn user_label(uid: u32) -> String {
    user::name_of(uid).unwrap_or_else(|| format!("uid-{uid}"))
}

/// `None` when the file is not a small regular file of that owner with a flat object of ports.
fn read_claims(dir: &Path, name: &str, owner: u32) -> Option<Claims> {
    let path = dir.join(name);
    let about = path.symlink_metadata().ok()?;
    if !about.is_file() || about.uid() != owner || about.len() > FILE_LIMIT {
        return None;
    }
    let bytes = file::read_regular(&path, FILE_LIMIT).ok()?;
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&bytes).ok()?;
    let ports = members.into_iter().filter_map(|(key, port)| {
        let port = u16::try_from(port.as_u64()?).ok()?;
        Some((key, port))
    });
    Some(ports.collect())
}

/// Ports in the files of other users. A file counts when it belongs to the user it is named after.
fn foreign_claims(dir: &Path) -> HashSet<u16> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return HashSet::new();
    };
    let (me, mut seen, mut taken) = (user::effective_uid(), 0, HashSet::new());
    for entry in entries.take(ENTRIES_LIMIT).flatten() {
        let name = entry.file_name();
        let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".json")) else {
            continue;
        };
        let Ok(about) = entry.metadata() else {
            continue;
        };
        if about.uid() == me || user_label(about.uid()) != stem {
            continue;
        }
        if let Some(claims) = read_claims(dir, &format!("{stem}.json"), about.uid()) {
            taken.extend(claims.into_values());
            seen += 1;
        }
        if seen == USERS_LIMIT {
            break;
        }
    }
    taken
}

#[cfg(test)]
#[path = "port_test.rs"]
mod tests;
