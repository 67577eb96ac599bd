//! Lists the host paths that `hostdir` protects, and our own directories that containers may have.

use std::path::{Path, PathBuf};

use crate::hostdir::{Protected, Reach};
use crate::spec::{Place, RunSpec};

/// System directories, and how much of each is refused.
const SYSTEM: &[(&str, Reach)] = &[
    ("/bin", Reach::Tree),
    ("/boot", Reach::Tree),
    ("/etc", Reach::Tree),
    ("/home", Reach::Itself),
    ("/lib", Reach::Tree),
    ("/lib64", Reach::Tree),
    ("/mnt", Reach::Itself),
    ("/media", Reach::Itself),
    ("/nix/store", Reach::Tree),
    ("/opt", Reach::Itself),
    ("/proc", Reach::Tree),
    ("/sbin", Reach::Tree),
    ("/srv", Reach::Itself),
    ("/sys", Reach::Tree),
    ("/tmp", Reach::Itself),
    ("/usr", Reach::Tree),
    ("/var", Reach::Itself),
    ("/var/backups", Reach::Tree),
    ("/var/cache", Reach::Tree),
    ("/var/db", Reach::Tree),
    ("/var/lib", Reach::Tree),
    ("/var/log", Reach::Tree),
    ("/var/mail", Reach::Tree),
    ("/var/spool", Reach::Tree),
    ("/var/tmp", Reach::Itself),
];
/// System directories of which some parts are places for users' files.
const SYSTEM_BUT: &[(&str, &[&str])] = &[("/dev", &["shm"]), ("/run", &["media"])];

/// Paths below a home directory that hold keys, logins, or programs that start by themselves.
const PRIVATE: &[(&str, &str)] = &[
    (".ssh", "the directory of SSH keys"),
    (".gnupg", "the directory of GnuPG keys"),
    (".pki", "a store of certificates and keys"),
    (".local/share/keyrings", "the desktop's keyring"),
    (".local/share/kwalletd", "the desktop's keyring"),
    (".password-store", "a password store"),
    (".config/op", "a password manager's directory"),
    (".config/keepassxc", "a password manager's directory"),
    (".config/Bitwarden", "a password manager's directory"),
    (".config/Bitwarden CLI", "a password manager's directory"),
    (".aws", "a cloud login"),
    (".azure", "a cloud login"),
    (".oci", "a cloud login"),
    (".config/gcloud", "a cloud login"),
    (".config/doctl", "a cloud login"),
    (".config/hcloud", "a cloud login"),
    (".config/rclone", "a cloud login"),
    (".terraform.d", "a cloud login"),
    (".vault-token", "a cloud login"),
    (".kube", "a cluster login"),
    (".docker", "a registry login"),
    (".config/gh", "a login of a git host"),
    (".config/glab-cli", "a login of a git host"),
    (".config/hub", "a login of a git host"),
    (".config/tea", "a login of a git host"),
    (".config/git", "git's own configuration"),
    (".git-credentials", "stored git credentials"),
    (".netrc", "stored network logins"),
    (".npmrc", "a package registry login"),
    (".pypirc", "a package registry login"),
    (".cargo/credentials.toml", "a package registry login"),
    (".gem/credentials", "a package registry login"),
    (".claude", "an agent's own login"),
    (".codex", "an agent's own login"),
    (".gemini", "an agent's own login"),
    (".config/github-copilot", "an agent's own login"),
    (".mozilla", "a browser's profiles"),
    (".thunderbird", "a mail program's profiles"),
    (".config/google-chrome", "a browser's profiles"),
    (".config/chromium", "a browser's profiles"),
    (".config/BraveSoftware", "a browser's profiles"),
    (".config/microsoft-edge", "a browser's profiles"),
    (".config/vivaldi", "a browser's profiles"),
    (".config/autostart", "programs that start by themselves"),
    (".config/systemd", "programs that start by themselves"),
    (".local/share/systemd", "programs that start by themselves"),
    (".config/containers", "podman's configuration"),
    (".local/share/containers", "podman's storage"),
    (".config/terok", "our own configuration"),
    (".local/share/terok", "our own state"),
];
/// Uids of people: those of services and of `nobody` are left out.
const PEOPLE: std::ops::Range<u32> = 1000..65_534;

/// The protected paths of this host, and the exceptions of a launch.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// Protected paths.
    pub protected: Vec<Protected>,
    /// Our own home directories, links resolved.
    pub homes: Vec<PathBuf>,
    /// Directories that we made for containers: they pass.
    pub own: Vec<PathBuf>,
}

impl Roots {
    /// The roots of this process, with what the launch of `spec` may have.
    pub fn detect(place: &Place, spec: Option<&RunSpec>) -> Self {
        Self::of(place, spec, homes())
    }

    /// The roots for these homes of our own.
    pub(crate) fn of(place: &Place, spec: Option<&RunSpec>, homes: Vec<PathBuf>) -> Self {
        let mut roots = Self { homes, ..Self::default() };
        roots.add_system();
        roots.add_homes();
        roots.add_own_state(place);
        roots.add_podman();
        roots.add_exceptions(place, spec);
        roots
    }

    fn add(&mut self, path: &Path, reach: Reach, what: &'static str) {
        let path = base::path::resolve(path);
        if path != Path::new("/") && !self.protected.iter().any(|known| known.path == path && known.reach == reach) {
            self.protected.push(Protected { path, reach, what, open: &[] });
        }
    }

    fn add_system(&mut self) {
        for (path, reach) in SYSTEM {
            // On systems that merge directories, `/home` is a link: its target is what users mount.
            self.add(Path::new(path), *reach, "a directory of the system");
        }
        for (path, open) in SYSTEM_BUT {
            let what = "a directory of the system";
            self.protected.push(Protected { path: path.into(), reach: Reach::Tree, what, open });
        }
    }

    fn add_homes(&mut self) {
        for home in self.homes.clone() {
            self.add(&home, Reach::Itself, "your home directory");
            for (below, what) in PRIVATE {
                self.add(&home.join(below), Reach::Tree, what);
            }
        }
        for home in others(&std::fs::read_to_string("/etc/passwd").unwrap_or_default()) {
            let real = base::path::resolve(&home);
            if !self.homes.iter().any(|own| own.starts_with(&real)) {
                self.add(&real, Reach::Tree, "another user's home directory");
            }
        }
    }

    fn add_own_state(&mut self, place: &Place) {
        self.add(&place.state_dir, Reach::Tree, "our own state");
        self.add(&place.runtime_dir, Reach::Tree, "our own sockets");
        let state = [
            base::path::state_dir("", None),
            base::path::sandbox_state_root(),
            base::path::state_dir("executor", Some("TEROK_EXECUTOR_STATE_DIR")),
            base::path::state_dir("core", Some("TEROK_STATE_DIR")),
        ];
        state.iter().flatten().for_each(|path| self.add(path, Reach::Tree, "our own state"));
        if let Ok(vault) = base::path::sandbox_vault_root() {
            self.add(&vault, Reach::Tree, "the vault");
        }
        let config = [
            base::path::config_dir("", None),
            base::path::sandbox_config_root(),
            base::path::sandbox_namespace_config_root(),
        ];
        config.iter().flatten().for_each(|path| self.add(path, Reach::Tree, "our own configuration"));
        let runtime = [base::path::runtime_dir("", None), base::path::sandbox_runtime_root()];
        runtime.iter().flatten().for_each(|path| self.add(path, Reach::Tree, "our own sockets"));
        if let Some(live) = live_dir() {
            self.add(&live, Reach::Itself, "the directory of all tasks");
            self.add(&live.join("mounts"), Reach::Itself, "the agents' shared directories");
            self.add(&live.join("tasks"), Reach::Itself, "the directory of all tasks");
        }
    }

    fn add_podman(&mut self) {
        let config = base::env::xdg("XDG_CONFIG_HOME").into_iter().map(|base| base.join("containers"));
        config.for_each(|path| self.add(&path, Reach::Tree, "podman's configuration"));
        let data = base::env::xdg("XDG_DATA_HOME").into_iter().map(|base| base.join("containers"));
        let storage: Vec<PathBuf> = data.chain(self.storage_roots()).collect();
        storage.iter().for_each(|path| self.add(path, Reach::Tree, "podman's storage"));
    }

    /// The directories that `storage.conf` names.
    fn storage_roots(&self) -> Vec<PathBuf> {
        let own = base::env::xdg("XDG_CONFIG_HOME").or_else(|| Some(base::path::home()?.join(".config")));
        let files = own
            .map(|base| base.join("containers/storage.conf"))
            .into_iter()
            .chain(["/etc/containers/storage.conf", "/usr/share/containers/storage.conf"].map(PathBuf::from));
        let mut found = Vec::new();
        for file in files {
            let Ok(Some(document)) = podman::conffile::load(&file) else { continue };
            for key in ["graphroot", "runroot", "rootless_storage_path"] {
                let text = document.get("storage").and_then(|t| t.get(key)).and_then(|value| value.as_str());
                // A path with variables depends on the account; the default location is protected anyway.
                let path = text.filter(|text| text.starts_with('/') && !text.contains('$')).map(PathBuf::from);
                found.extend(path);
            }
        }
        found
    }

    /// Directories that a launch makes for its container, below protected ones.
    fn add_exceptions(&mut self, place: &Place, spec: Option<&RunSpec>) {
        let mut own = vec![place.state_dir.join("bridges")];
        for projects in base::path::config_dir("projects", None).into_iter().chain(user_projects()) {
            let entries = std::fs::read_dir(&projects).into_iter().flatten().flatten();
            let mounts = entries.map(|entry| entry.path().join("mounts")).filter(|path| path.is_dir());
            own.extend(mounts.flat_map(|path| children(&path)));
        }
        if let Some(live) = live_dir() {
            own.extend(children(&live.join("mounts")));
            own.extend(children(&live.join("tasks")).iter().flat_map(|project| children(project)));
        }
        if let Some(spec) = spec {
            own.push(place.container_runtime_dir(&spec.container_name));
            own.push(place.state_dir.join("workspaces").join(&spec.container_name));
            own.push(place.run_state(&spec.container_name));
            let task = base::path::resolve(&spec.task_dir);
            // A task directory that is, or is above, something protected is a mistake of the caller.
            if spec.task_dir.is_absolute() && !self.protected.iter().any(|root| root.path.starts_with(&task)) {
                own.push(task);
            }
        }
        self.own.extend(own.iter().map(|path| base::path::resolve(path)).filter(|path| path != Path::new("/")));
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    // Links are left out: what they lead to is judged by itself.
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// Our home directories: the one that `HOME` names and the account's own.
fn homes() -> Vec<PathBuf> {
    let uid = base::user::effective_uid();
    let account = passwd(&std::fs::read_to_string("/etc/passwd").unwrap_or_default())
        .find(|(owner, _)| *owner == uid)
        .map(|(_, home)| home);
    let mut homes: Vec<PathBuf> = base::path::home().into_iter().chain(account).collect();
    homes.retain(|home| home.is_absolute() && home != Path::new("/"));
    homes.iter_mut().for_each(|home| *home = base::path::resolve(home));
    homes.dedup();
    homes
}

/// Home directories of the other people and of root.
fn others(table: &str) -> Vec<PathBuf> {
    let uid = base::user::effective_uid();
    let people = passwd(table).filter(|(owner, _)| *owner != uid && (*owner == 0 || PEOPLE.contains(owner)));
    people.map(|(_, home)| home).filter(|home| home.components().count() > 1).collect()
}

fn passwd(table: &str) -> impl Iterator<Item = (u32, PathBuf)> {
    table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        Some((fields.get(2)?.parse().ok()?, PathBuf::from(fields.get(5).filter(|home| home.starts_with('/'))?)))
    })
}

fn live_dir() -> Option<PathBuf> {
    let configured = || configured("sandbox_live_dir");
    base::env::path("TEROK_SANDBOX_LIVE_DIR")
        .or_else(configured)
        .or_else(|| base::path::state_dir("sandbox-live", None).ok())
}

fn user_projects() -> Option<PathBuf> {
    configured("user_projects_dir")
}

/// A directory of section `paths` of the configuration.
fn configured(key: &str) -> Option<PathBuf> {
    let section = base::config::section("paths");
    let text = section.get(key)?.as_str().filter(|text| !text.is_empty())?;
    Some(base::path::expand_home(Path::new(text)))
}
