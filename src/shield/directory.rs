//! The state directory of one container: the files that are its policy, and what the supervisor notes there.
//!
//! Invariants: the directory is private to its owner and reached without following a link; every file is 0600 and
//! replaced as a whole; whoever changes the policy holds the lock, writes the file first and changes the kernel after.
//! A file that is missing is an empty one. Malformed lines are skipped and reported, never guessed at.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::file::Dir;
use base::lock::Lock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::entry::{Entry, parse_lines, parse_range};
use crate::fault::ShieldError;
use crate::name::Name;
use crate::policy::{NameEntry, Origin, Policy, PublishedProtocol, RangeEntry, ServicePort};
use crate::state::ShieldState;
use crate::symbol::Symbol;

const MAX_FILE: u64 = 4 * 1024 * 1024;
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Places where no state directory can be.
const SYSTEM: [&str; 11] =
    ["/etc", "/proc", "/sys", "/dev", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/root"];
/// How a container sees its host: slirp4netns for both families, and pasta.
const DEFAULT_GATEWAYS: [&str; 3] = ["10.0.2.2", "fd00::2", "169.254.1.2"];
/// The longest name that fits a kernel comment as a whole.
const MAX_ENTRY_NAME: usize = 120;

/// Names of the files.
pub mod file {
    /// Literal addresses of the profiles.
    pub const PROFILE_ALLOWED: &str = "profile.allowed";
    /// Names and symbols of the profiles.
    pub const PROFILE_DOMAINS: &str = "profile.domains";
    /// Addresses that were allowed.
    pub const LIVE_ALLOWED: &str = "live.allowed";
    /// Names that were allowed.
    pub const LIVE_DOMAINS: &str = "live.domains";
    /// Addresses that were denied.
    pub const DENY_LIST: &str = "deny.list";
    /// Names that were denied.
    pub const DENIED_DOMAINS: &str = "denied.domains";
    /// TCP ports of the host, one per line.
    pub const LOOPBACK_PORTS: &str = "loopback.ports";
    /// Addresses under which the container sees its host, one per line.
    pub const GATEWAYS: &str = "gateway.addresses";
    /// Ports of the container: `tcp 8080`, one per line.
    pub const PUBLISHED_PORTS: &str = "published.ports";
    /// Address to name, for addresses that came from a name.
    pub const PROVENANCE: &str = "provenance.json";
    /// Symbol to names, as found in the image.
    pub const SYMBOLS: &str = "symbols.json";
    /// Settings of the supervisor.
    pub const SETTINGS: &str = "settings.json";
    /// The container's id, 12 digits.
    pub const CONTAINER: &str = "container.id";
    /// The container's first process, `pid:start`.
    pub const INIT: &str = "init";
    /// Open questions.
    pub const QUESTIONS: &str = "questions.json";
    /// Bytes by name.
    pub const TRAFFIC: &str = "traffic.json";
    /// Result of the start probes.
    pub const PROBES: &str = "probes.json";
    /// The state that the operator wants, one word.
    pub const STATE: &str = "state";
    /// The rules as text, for reading.
    pub const RULESET: &str = "ruleset.nft";
    /// The lock.
    pub const LOCK: &str = "lock";
}

/// Files that earlier versions left and that mean nothing any more.
pub const OBSOLETE: [&str; 5] = ["dnsmasq.conf", "dnsmasq.pid", "dnsmasq.log", "reader.pid", "reader.log"];

/// Settings of one container's firewall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Seconds for which an undecided connection waits, 0 to 120; 0 refuses at once.
    pub hold_s: u32,
    /// MiB that may go to one name or direct destination; 0 for no limit.
    pub upload_limit_mib: u64,
    /// False writes no audit log.
    pub audit_enabled: bool,
    /// True lets TLS connections with an encrypted hello pass by their outer name.
    pub allow_ech: bool,
    /// True for a krun guest, which has a loopback interface of its own.
    pub krun: bool,
    /// True lets connections wait although no subscriber says that it can answer: the operator uses the command line.
    pub hold_always: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hold_s: 30,
            upload_limit_mib: 256,
            audit_enabled: true,
            allow_ech: false,
            krun: false,
            hold_always: false,
        }
    }
}

impl Settings {
    /// The time for which a connection waits.
    pub fn hold(&self) -> Duration {
        Duration::from_secs(u64::from(self.hold_s.min(120)))
    }

    /// The upload limit in bytes.
    pub fn budget(&self) -> Option<u64> {
        (self.upload_limit_mib > 0).then(|| self.upload_limit_mib.saturating_mul(1024 * 1024))
    }
}

/// An open state directory.
#[derive(Debug)]
pub struct StateDirectory {
    dir: Dir,
    path: PathBuf,
}

impl StateDirectory {
    /// Opens a directory that an annotation or sidecar names, which is hostile input.
    ///
    /// # Errors
    /// [`ShieldError::Directory`] with the broken rule.
    pub fn open(path: &Path) -> Result<Self, ShieldError> {
        let bad = |why| ShieldError::Directory { path: path.to_owned(), why };
        if !path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
            return Err(bad("it is not an absolute path without `..`"));
        }
        let resolved = path.canonicalize().map_err(|_| bad("it does not exist"))?;
        if [path, &resolved].iter().any(|place| SYSTEM.iter().any(|system| place.starts_with(system))) {
            return Err(bad("it is in a directory of the system"));
        }
        let meta = std::fs::symlink_metadata(path).map_err(|_| bad("it cannot be read"))?;
        if !meta.is_dir() {
            return Err(bad("it is a link or no directory"));
        }
        let dir = Dir::open(path).map_err(|_| bad("it cannot be opened"))?;
        let opened = rustix::fs::fstat(dir.as_fd()).map_err(|_| bad("it cannot be read"))?;
        if (opened.st_dev, opened.st_ino) != (meta.dev(), meta.ino()) {
            return Err(bad("it was replaced while it was opened"));
        }
        if opened.st_uid != base::user::effective_uid() {
            return Err(bad("it belongs to another user"));
        }
        if opened.st_mode & 0o022 != 0 {
            return Err(bad("others may write there"));
        }
        Ok(Self { dir, path: path.to_owned() })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The descriptor.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Takes the lock for a change.
    ///
    /// # Errors
    /// [`ShieldError::File`] after five seconds.
    pub fn lock(&self) -> Result<Lock, ShieldError> {
        Lock::acquire(&self.path.join(file::LOCK), LOCK_WAIT).map_err(|source| self.fault("lock", file::LOCK, source))
    }

    /// The text of a file; empty without one.
    ///
    /// # Errors
    /// [`ShieldError::File`] for a link, a file that is too large, or trouble with the disk.
    pub fn text(&self, name: &str) -> Result<String, ShieldError> {
        match self.dir.read(Path::new(name), MAX_FILE) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(source) => Err(self.fault("read", name, source)),
        }
    }

    /// Replaces a file.
    ///
    /// # Errors
    /// [`ShieldError::File`]; the old content is untouched then.
    pub fn write(&self, name: &str, content: &str) -> Result<(), ShieldError> {
        self.dir.write_atomic(name, content.as_bytes(), 0o600).map_err(|source| self.fault("write", name, source))
    }

    /// Reads JSON; the default without a file or when it does not parse, which is returned as false.
    ///
    /// # Errors
    /// As [`StateDirectory::text`].
    pub fn json<T: DeserializeOwned + Default>(&self, name: &str) -> Result<(T, bool), ShieldError> {
        let text = self.text(name)?;
        if text.trim().is_empty() {
            return Ok((T::default(), true));
        }
        Ok(serde_json::from_str(&text).map_or_else(|_| (T::default(), false), |value| (value, true)))
    }

    /// Replaces a file by JSON.
    ///
    /// # Errors
    /// As [`StateDirectory::write`].
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), ShieldError> {
        let text = serde_json::to_string_pretty(value).map_err(|error| self.fault("write", name, error.into()))?;
        self.write(name, &(text + "\n"))
    }

    /// The state that the operator wants: `up` unless the file says otherwise.
    ///
    /// # Errors
    /// As [`StateDirectory::text`].
    pub fn wanted_state(&self) -> Result<ShieldState, ShieldError> {
        let text = self.text(file::STATE)?;
        let state = ShieldState::parse(text.trim()).filter(|state| ShieldState::WITH_RULES.contains(state));
        Ok(state.unwrap_or(ShieldState::Up))
    }

    /// Notes the state that the operator wants.
    ///
    /// # Errors
    /// As [`StateDirectory::write`].
    pub fn want_state(&self, state: ShieldState) -> Result<(), ShieldError> {
        self.write(file::STATE, &format!("{}\n", state.word()))
    }

    /// Removes files of earlier versions. No process that they name is signalled.
    pub fn remove_obsolete(&self) {
        for name in OBSOLETE {
            let _ = self.dir.remove_file(name);
        }
    }

    /// The settings.
    ///
    /// # Errors
    /// As [`StateDirectory::text`].
    pub fn settings(&self) -> Result<Settings, ShieldError> {
        Ok(self.json(file::SETTINGS)?.0)
    }

    /// Reads the policy, and what could not be used of it.
    ///
    /// # Errors
    /// [`ShieldError::File`]: a policy that cannot be read is no empty policy.
    pub fn policy(&self) -> Result<(Policy, Vec<ShieldError>), ShieldError> {
        let mut errors = Vec::new();
        let provenance: BTreeMap<String, String> = self.strict_json(file::PROVENANCE)?;
        let literal = |entry: &RangeEntry| !provenance.contains_key(&entry.range.to_string());
        let mut lines = |name: &str| -> Result<Vec<Entry>, ShieldError> {
            let (entries, malformed) = parse_lines(&self.text(name)?);
            errors.extend(malformed);
            Ok(entries)
        };
        let mut denied = ranges(&lines(file::DENY_LIST)?, Origin::Live);
        let mut allowed = ranges(&lines(file::PROFILE_ALLOWED)?, Origin::Profile);
        allowed.extend(ranges(&lines(file::LIVE_ALLOWED)?, Origin::Live));
        allowed.retain(|entry| literal(entry) && !denied.iter().any(|other| other.range == entry.range));
        denied.retain(literal);
        let denied_names = names(&lines(file::DENIED_DOMAINS)?, Origin::Live, &BTreeMap::new());
        let symbols = self.strict_json(file::SYMBOLS)?;
        let mut allowed_names = names(&lines(file::PROFILE_DOMAINS)?, Origin::Profile, &symbols);
        allowed_names.extend(names(&lines(file::LIVE_DOMAINS)?, Origin::Live, &symbols));
        allowed_names.retain(|entry| !denied_names.iter().any(|other| other.name == entry.name));
        let policy = Policy {
            container: self.text(file::CONTAINER)?.trim().to_owned(),
            allowed,
            denied,
            allowed_names,
            denied_names,
            services: self.services()?,
            published: published(&self.text(file::PUBLISHED_PORTS)?),
            budget: self.settings()?.budget(),
        };
        Ok((policy, errors))
    }

    /// JSON that is part of the policy: a damaged file must not silently open or close anything.
    fn strict_json<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, ShieldError> {
        let (value, parsed) = self.json(name)?;
        let damaged = || std::io::Error::new(std::io::ErrorKind::InvalidData, "it is no valid JSON");
        if parsed { Ok(value) } else { Err(self.fault("read", name, damaged())) }
    }

    fn services(&self) -> Result<Vec<ServicePort>, ShieldError> {
        let listed = self.text(file::GATEWAYS)?;
        let mut gateways: Vec<IpAddr> = listed.lines().filter_map(|line| line.trim().parse().ok()).collect();
        if gateways.is_empty() {
            gateways = DEFAULT_GATEWAYS.iter().filter_map(|text| text.parse().ok()).collect();
        }
        let ports = self.text(file::LOOPBACK_PORTS)?;
        let ports = ports.lines().filter_map(|line| line.trim().parse().ok()).filter(|port: &u16| *port > 0);
        Ok(ports.flat_map(|port| gateways.iter().map(move |address| ServicePort { address: *address, port })).collect())
    }

    /// Notes an allowance or a denial, for good. The caller changes the kernel afterwards.
    ///
    /// Allowing takes the target off the list of denials, and the other way round. True when a file changed.
    ///
    /// # Errors
    /// [`ShieldError::File`], or [`ShieldError::Entry`] for a symbol.
    pub fn record(&self, entry: &Entry, allow: bool) -> Result<bool, ShieldError> {
        let _lock = self.lock()?;
        let (open, closed) = match entry {
            Entry::Name(_) => (file::LIVE_DOMAINS, file::DENIED_DOMAINS),
            Entry::Range(_) => (file::LIVE_ALLOWED, file::DENY_LIST),
            Entry::Symbol(_) => {
                let why = "a symbol belongs into a profile".to_owned();
                return Err(ShieldError::Entry { text: entry.to_string(), why });
            }
        };
        let (gaining, losing) = if allow { (open, closed) } else { (closed, open) };
        // After a crash between the two the target is on both lists, and so denied.
        let mut changed = self.set_line(gaining, entry, true)?;
        changed |= self.set_line(losing, entry, false)?;
        Ok(changed)
    }

    fn set_line(&self, name: &str, entry: &Entry, listed: bool) -> Result<bool, ShieldError> {
        let text = self.text(name)?;
        let is_entry = |line: &&str| Entry::parse(line.trim()).is_ok_and(|known| known == *entry);
        if text.lines().any(|line| is_entry(&line)) == listed {
            return Ok(false);
        }
        let mut lines: Vec<String> = text.lines().filter(|line| !is_entry(line)).map(str::to_owned).collect();
        if listed {
            lines.push(entry.to_string());
        }
        let content: String = lines.into_iter().map(|line| line + "\n").collect();
        self.write(name, &content).map(|()| true)
    }

    fn fault(&self, verb: &'static str, name: &str, source: std::io::Error) -> ShieldError {
        ShieldError::File { verb, path: self.path.join(name), source }
    }
}

fn ranges(entries: &[Entry], origin: Origin) -> Vec<RangeEntry> {
    let range = |entry: &Entry| match entry {
        Entry::Range(range) => Some(RangeEntry { range: *range, origin }),
        _ => None,
    };
    entries.iter().filter_map(range).collect()
}

fn names(entries: &[Entry], origin: Origin, symbols: &BTreeMap<String, Vec<String>>) -> Vec<NameEntry> {
    let mut out: Vec<NameEntry> = Vec::new();
    let mut push = |name: Name| {
        if name.as_str().len() <= MAX_ENTRY_NAME && !out.iter().any(|known| known.name == name) {
            out.push(NameEntry { name, origin });
        }
    };
    for entry in entries {
        match entry {
            Entry::Name(name) => push(name.clone()),
            Entry::Symbol(symbol) => resolve(*symbol, symbols).into_iter().for_each(&mut push),
            Entry::Range(_) => {}
        }
    }
    out
}

fn resolve(symbol: Symbol, symbols: &BTreeMap<String, Vec<String>>) -> Vec<Name> {
    let hosts = symbols.get(symbol.name()).map(Vec::as_slice).unwrap_or_default();
    hosts.iter().filter_map(|host| Name::parse(host).ok()).collect()
}

fn published(text: &str) -> Vec<(PublishedProtocol, u16)> {
    let mut ports: Vec<_> = text.lines().filter_map(parse_published).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn parse_published(line: &str) -> Option<(PublishedProtocol, u16)> {
    let (protocol, port) = line.trim().split_once(' ')?;
    let protocol = match protocol {
        "tcp" => PublishedProtocol::Tcp,
        "udp" => PublishedProtocol::Udp,
        _ => return None,
    };
    port.trim().parse().ok().filter(|port| *port > 0).map(|port| (protocol, port))
}

/// Checks a container id and cuts it to its first 12 digits.
///
/// # Errors
/// [`ShieldError::Container`].
pub fn short_id(id: &str) -> Result<String, ShieldError> {
    let plain = (12..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain { Ok(id[..12].to_owned()) } else { Err(ShieldError::Container(base::text::sanitize_tty(id))) }
}

/// True for a text that is one literal address or network.
pub fn is_literal(text: &str) -> bool {
    parse_range(text).is_some()
}
