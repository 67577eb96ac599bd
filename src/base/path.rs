//! Where the family keeps its state, configuration and sockets.
//!
//! Order, first hit wins: the caller's own variable, `TEROK_ROOT`, `paths.root` of `config.yml` (state only), the system
//! directory for real root, the user's XDG directory. Nothing here creates a directory. Refuses sub-directories that are
//! absolute or contain `..`. "Root" means uid 0 on the host: root inside a user namespace gets the user's paths.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::fault::{Fault, Kind};
use crate::{env, user};

/// Why a directory could not be named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The sub-directory could leave the namespace.
    #[error("unsafe sub-directory `{0}`: it must be relative and without `..`")]
    Subdir(String),
    /// Neither `HOME` nor the user database names a home directory.
    #[error("cannot find the home directory of uid {0}")]
    NoHome(u32),
}

impl Fault for PathError {
    fn code(&self) -> &'static str {
        match self {
            Self::Subdir(_) => "path-unsafe-subdir",
            Self::NoHome(_) => "path-no-home",
        }
    }

    fn hint(&self) -> Option<String> {
        matches!(self, Self::NoHome(_)).then(|| "set `HOME`".to_owned())
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Subdir(_) => Kind::Value,
            Self::NoHome(_) => Kind::Runtime,
        }
    }
}

/// 0: nobody pretends; 1: root; 2: not root.
static PRETENDED: AtomicU8 = AtomicU8::new(0);

/// Which set of default directories applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// True for root on the host.
    pub root: bool,
}

impl Namespace {
    /// The one of this process.
    pub fn current() -> Self {
        match PRETENDED.load(Ordering::Relaxed) {
            0 => Self { root: user::is_really_root() },
            pretended => Self { root: pretended == 1 },
        }
    }

    /// Makes [`Namespace::current`] answer `root` whoever we are, or the truth again.
    ///
    /// For whoever embeds the library and keeps its files elsewhere.
    pub fn pretend(root: Option<bool>) {
        PRETENDED.store(root.map_or(0, |root| 2 - u8::from(root)), Ordering::Relaxed);
    }

    /// State directory `subdir`; see [`state_dir`].
    ///
    /// # Errors
    /// [`PathError`].
    pub fn state_dir(self, subdir: &str, env_var: Option<&str>) -> Result<PathBuf, PathError> {
        check_subdir(subdir)?;
        if let Some(path) = own_variable(env_var) {
            return Ok(path);
        }
        if let Some(root) = env::path("TEROK_ROOT").or_else(|| self.configured_root()) {
            return Ok(join(root, subdir));
        }
        if self.root {
            return Ok(join(PathBuf::from("/var/lib/terok"), subdir));
        }
        user_base("XDG_DATA_HOME", ".local/share").map(|base| join(base.join("terok"), subdir))
    }

    /// Configuration directory `subdir`; see [`config_dir`].
    ///
    /// # Errors
    /// [`PathError`].
    pub fn config_dir(self, subdir: &str, env_var: Option<&str>) -> Result<PathBuf, PathError> {
        check_subdir(subdir)?;
        if let Some(path) = own_variable(env_var) {
            return Ok(path);
        }
        if self.root {
            return Ok(join(PathBuf::from("/etc/terok"), subdir));
        }
        user_base("XDG_CONFIG_HOME", ".config").map(|base| join(base.join("terok"), subdir))
    }

    /// Runtime directory `subdir`; see [`runtime_dir`].
    ///
    /// # Errors
    /// [`PathError`].
    pub fn runtime_dir(self, subdir: &str, env_var: Option<&str>) -> Result<PathBuf, PathError> {
        check_subdir(subdir)?;
        if let Some(path) = own_variable(env_var) {
            return Ok(path);
        }
        if self.root {
            return Ok(join(PathBuf::from("/run/terok"), subdir));
        }
        let base = match env::xdg("XDG_RUNTIME_DIR") {
            Some(base) => base,
            None => user_base("XDG_STATE_HOME", ".local/state")?,
        };
        Ok(join(base.join("terok"), subdir))
    }

    fn configured_root(self) -> Option<PathBuf> {
        let section = crate::config::section_in(self, "paths");
        let root = section.get("root")?.as_str().filter(|text| !text.is_empty())?;
        Some(resolve(&expand_home(Path::new(root))))
    }
}

/// State directory of the family, or of one part of it. `env_var`, when set, is the whole answer.
///
/// # Errors
/// [`PathError`].
pub fn state_dir(subdir: &str, env_var: Option<&str>) -> Result<PathBuf, PathError> {
    Namespace::current().state_dir(subdir, env_var)
}

/// Configuration directory; `TEROK_ROOT` and `paths.root` do not move it.
///
/// # Errors
/// [`PathError`].
pub fn config_dir(subdir: &str, env_var: Option<&str>) -> Result<PathBuf, PathError> {
    Namespace::current().config_dir(subdir, env_var)
}

/// Directory of sockets; never below `/tmp`.
///
/// # Errors
/// [`PathError`].
pub fn runtime_dir(subdir: &str, env_var: Option<&str>) -> Result<PathBuf, PathError> {
    Namespace::current().runtime_dir(subdir, env_var)
}

/// Configuration directory of the sandbox.
///
/// # Errors
/// [`PathError`].
pub fn sandbox_config_root() -> Result<PathBuf, PathError> {
    config_dir("sandbox", Some("TEROK_SANDBOX_CONFIG_DIR"))
}

/// State directory of the sandbox.
///
/// # Errors
/// [`PathError`].
pub fn sandbox_state_root() -> Result<PathBuf, PathError> {
    state_dir("sandbox", Some("TEROK_SANDBOX_STATE_DIR"))
}

/// Runtime directory of the sandbox.
///
/// # Errors
/// [`PathError`].
pub fn sandbox_runtime_root() -> Result<PathBuf, PathError> {
    runtime_dir("sandbox", Some("TEROK_SANDBOX_RUNTIME_DIR"))
}

/// Directory of the vault; leaves a notice when an outdated variable or directory is in the way.
///
/// # Errors
/// [`PathError`].
pub fn sandbox_vault_root() -> Result<PathBuf, PathError> {
    Namespace::current().vault_root()
}

impl Namespace {
    /// As [`sandbox_vault_root`].
    ///
    /// # Errors
    /// [`PathError`].
    pub fn vault_root(self) -> Result<PathBuf, PathError> {
        if let Some(path) = env::path("TEROK_VAULT_DIR") {
            return Ok(path);
        }
        if let Some(path) = env::path("TEROK_CREDENTIALS_DIR") {
            crate::notice::leave("`TEROK_CREDENTIALS_DIR` is outdated: set `TEROK_VAULT_DIR` instead");
            return Ok(path);
        }
        let vault = self.state_dir("vault", None)?;
        let old = vault.with_file_name("credentials");
        if old.is_dir() && !vault.exists() {
            crate::notice::leave(&format!(
                "credentials are still in `{}` and are not read from there: run `terok-migrate-vault`",
                old.display()
            ));
        }
        Ok(vault)
    }
}

/// Namespace configuration directory, where shield profiles live.
///
/// # Errors
/// [`PathError`].
pub fn sandbox_namespace_config_root() -> Result<PathBuf, PathError> {
    config_dir("", Some("TEROK_CONFIG_DIR"))
}

/// Directory of the port claims: variable, `paths.port_registry_dir`, `/tmp/terok-ports`.
pub fn sandbox_port_registry_dir() -> PathBuf {
    env::path("TEROK_PORT_REGISTRY_DIR")
        .or_else(|| {
            let section = crate::config::section("paths");
            let text = section.get("port_registry_dir")?.as_str()?.to_owned();
            (!text.is_empty()).then(|| expand_home(Path::new(&text)))
        })
        .unwrap_or_else(|| PathBuf::from("/tmp/terok-ports"))
}

fn own_variable(name: Option<&str>) -> Option<PathBuf> {
    let value = std::env::var_os(name?)?;
    (!value.is_empty()).then(|| expand_home(&PathBuf::from(value)))
}

fn check_subdir(subdir: &str) -> Result<(), PathError> {
    let path = Path::new(subdir);
    let safe = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    match safe && !subdir.contains('\0') {
        true => Ok(()),
        false => Err(PathError::Subdir(crate::text::sanitize_tty(subdir))),
    }
}

fn join(base: PathBuf, subdir: &str) -> PathBuf {
    if subdir.is_empty() { base } else { base.join(subdir) }
}

fn user_base(variable: &str, default: &str) -> Result<PathBuf, PathError> {
    if let Some(base) = env::xdg(variable) {
        return Ok(base);
    }
    Ok(home().ok_or(PathError::NoHome(user::effective_uid()))?.join(default))
}

/// Our home directory: `HOME`, else the user database.
pub fn home() -> Option<PathBuf> {
    env::get("HOME").map(PathBuf::from).or_else(|| {
        let uid = nix::unistd::Uid::effective();
        Some(nix::unistd::User::from_uid(uid).ok()??.dir)
    })
}

/// Replaces a leading `~` or `~user`; what cannot be replaced stays as it is.
pub fn expand_home(path: &Path) -> PathBuf {
    let mut parts = path.components();
    let first = match parts.next() {
        Some(Component::Normal(first)) if first.as_bytes().starts_with(b"~") => first,
        _ => return path.to_path_buf(),
    };
    match home_of(OsStr::from_bytes(&first.as_bytes()[1..])) {
        Some(base) if parts.as_path().as_os_str().is_empty() => base,
        Some(base) => base.join(parts.as_path()),
        None => path.to_path_buf(),
    }
}

fn home_of(name: &OsStr) -> Option<PathBuf> {
    if name.is_empty() {
        return home();
    }
    Some(nix::unistd::User::from_name(name.to_str()?).ok()??.dir)
}

/// Absolute form of `path` with links followed as far as it exists; the rest is appended with `.` and `..` folded.
pub fn resolve(path: &Path) -> PathBuf {
    let start = match path.is_absolute() {
        true => PathBuf::from("/"),
        false => std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
    };
    if path.components().any(|part| part == Component::ParentDir) {
        return resolve_by_parts(start, path);
    }
    // One walk for the whole path, and one for each part at its end that does not exist.
    let whole: PathBuf = start.join(path).components().collect();
    let mut known = whole.as_path();
    loop {
        match (known.canonicalize(), known.parent()) {
            (Ok(real), _) => {
                return real.join(whole.strip_prefix(known).unwrap_or(Path::new(""))).components().collect();
            }
            (Err(_), Some(parent)) => known = parent,
            (Err(_), None) => return whole,
        }
    }
}

/// With `..` in it, every part must be followed before the next: the parent of a link's target is meant.
fn resolve_by_parts(start: PathBuf, path: &Path) -> PathBuf {
    let mut known = start;
    for part in path.components() {
        match part {
            Component::Normal(name) => {
                known.push(name);
                if let Ok(real) = known.canonicalize() {
                    known = real;
                }
            }
            Component::ParentDir => {
                known.pop();
            }
            _ => {}
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved_as_far_as_they_exist() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(real.join("a/b")).unwrap();
        std::os::unix::fs::symlink("a/b", real.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", real.join("dangling")).unwrap();
        for (given, expected) in [
            ("a/b", "a/b"),
            ("link", "a/b"),
            ("link/x/y", "a/b/x/y"),
            ("link/./x/", "a/b/x"),
            ("link/..", "a"),
            ("link/../x", "a/x"),
            ("x/../y", "y"),
            ("dangling/x", "dangling/x"),
            ("", ""),
        ] {
            assert_eq!(resolve(&real.join(given)), real.join(expected).components().collect::<PathBuf>(), "{given}");
            let by_parts = resolve_by_parts(PathBuf::from("/"), &real.join(given));
            assert_eq!(by_parts, resolve(&real.join(given)), "{given}");
        }
        assert_eq!(resolve(Path::new("/")), Path::new("/"));
        assert_eq!(resolve(Path::new("missing/x")), std::env::current_dir().unwrap().join("missing/x"));
    }

    #[test]
    fn root_has_the_system_directories() {
        let root = Namespace { root: true };
        assert_eq!(root.config_dir("sandbox", None).unwrap(), Path::new("/etc/terok/sandbox"));
        assert_eq!(root.runtime_dir("", None).unwrap(), Path::new("/run/terok"));
    }

    #[test]
    fn unsafe_subdirectories_are_refused() {
        let any = Namespace { root: true };
        for bad in ["../x", "/x", "a/../b", "..", "a\0"] {
            assert_eq!(any.config_dir(bad, None).unwrap_err().code(), "path-unsafe-subdir", "{bad:?}");
            assert_eq!(any.config_dir(bad, None).unwrap_err().kind(), Kind::Value);
        }
        assert!(any.config_dir("a/b", None).is_ok());
    }

    #[test]
    fn homes() {
        assert_eq!(expand_home(Path::new("~root/x")), Path::new("/root/x"));
        assert_eq!(expand_home(Path::new("~no-such-user-x/y")), Path::new("~no-such-user-x/y"));
        assert_eq!(expand_home(Path::new("/a/~/b")), Path::new("/a/~/b"));
        assert_eq!(expand_home(Path::new("~/x")), home().unwrap().join("x"));
        assert_eq!(expand_home(Path::new("~")), home().unwrap());
    }

    #[test]
    fn resolving_follows_what_exists() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, dir.path().join("link")).unwrap();
        assert_eq!(resolve(&dir.path().join("link/no/../new/.")), real.join("new"));
    }
}
