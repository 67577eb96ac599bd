//! The OCI hook that starts a container's supervisor: installing it, and proving before a launch that podman will run it.
//!
//! Podman says nothing when a hook's program is missing, when its directory is not listed, or when `CONTAINERS_CONF`
//! hides the list; the container then simply runs unsupervised. So [`check`] looks at all of it before every launch.
//! Invariants: files appear whole, the program before the descriptors that name it; installing again changes nothing;
//! uninstalling removes these files only, and never sidecars, logs or pid files.

use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::fault::{Fault, Kind};
use base::process::Run;
use serde_json::{Value, json};

pub use crate::hookconf::{Conf, ConfFault};
pub use crate::hooksweep::{Word, discard, kill_all_supervisors, sweep, tell_all_supervisors};

/// The stages that the hook serves.
pub const STAGES: [&str; 2] = ["createRuntime", "poststop"];
/// The name of the installed program.
pub const PROGRAM: &str = "terok-supervisor";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Files of earlier versions that the program replaces.
const OUTDATED: [&str; 2] = ["supervisor_hook.py", "_supervisor_state.py"];
const PROGRAM_LIMIT: u64 = 256 * 1024 * 1024;

/// Why the hook is not installed, or would not run.
#[derive(Debug, thiserror::Error)]
pub enum HookFault {
    /// A file could not be written, read or removed.
    #[error("cannot {doing} `{}`", .path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A descriptor is missing or says something else.
    #[error("the hook descriptor `{}` {why}", .path.display())]
    Descriptor {
        /// The descriptor.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// The program is missing or cannot run.
    #[error("the hook program `{}` {why}", .path.display())]
    Program {
        /// The program.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Podman's configuration.
    #[error(transparent)]
    Conf(#[from] ConfFault),
}

impl Fault for HookFault {
    fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "hook-file",
            Self::Descriptor { .. } => "hook-descriptor",
            Self::Program { .. } => "hook-program",
            Self::Conf(inner) => inner.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File { .. } => None,
            Self::Descriptor { .. } | Self::Program { .. } => {
                Some("install the hooks with `terok-executor setup`".into())
            }
            Self::Conf(inner) => inner.hint(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::File { .. } => Kind::Os,
            Self::Descriptor { .. } | Self::Program { .. } => Kind::Runtime,
            Self::Conf(inner) => inner.kind(),
        }
    }
}

/// Where one installation lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The state root.
    pub state_root: PathBuf,
    /// The directory podman reads hooks from.
    pub hooks_dir: PathBuf,
}

impl Layout {
    /// The usual place below a state root.
    pub fn below(state_root: &Path) -> Self {
        Self { state_root: state_root.to_owned(), hooks_dir: state_root.join("hooks") }
    }

    /// The installed program.
    pub fn program(&self) -> PathBuf {
        self.hooks_dir.join(PROGRAM)
    }

    /// The installed daemon, which the program starts.
    pub fn daemon(&self) -> PathBuf {
        self.hooks_dir.join(base::pid::SUPERVISOR_DAEMON)
    }

    /// The path whose presence in a command line marks a supervisor; a link to the program.
    pub fn wrapper(&self) -> PathBuf {
        self.state_root.join(base::pid::SUPERVISOR_IDENTITY)
    }

    /// The descriptor of a stage.
    pub fn descriptor(&self, stage: &str) -> PathBuf {
        self.hooks_dir.join(format!("terok-sandbox-supervisor-{stage}.json"))
    }

    fn descriptor_content(&self, stage: &str) -> Value {
        json!({
            "version": "1.0.0",
            "hook": {"path": self.program(), "args": ["supervisor_hook", stage]},
            "when": {"annotations": {wire::sidecar::ANNOTATION: ".+"}},
            "stages": [stage],
        })
    }
}

/// Installs the hook: the program and the daemon that lies beside `executable`, identity link, one descriptor per stage,
/// and the entry in podman's configuration.
///
/// # Errors
/// [`HookFault`]; what was written before the failure stays and does no harm.
pub fn install(layout: &Layout, executable: &Path, conf: &Conf) -> Result<(), HookFault> {
    base::file::create_private_dir(&layout.hooks_dir).map_err(doing("create", &layout.hooks_dir))?;
    // The program last: it answers for the version of both.
    let daemon = executable.with_file_name(base::pid::SUPERVISOR_DAEMON);
    for (from, to) in [(daemon.as_path(), layout.daemon()), (executable, layout.program())] {
        let content = base::file::read_regular(from, PROGRAM_LIMIT);
        put(&to, &content.map_err(doing("read the supervisor program", from))?, 0o755)?;
    }
    link(&layout.wrapper(), &layout.program())?;
    for stage in STAGES {
        let text = format!("{:#}\n", layout.descriptor_content(stage));
        put(&layout.descriptor(stage), text.as_bytes(), base::file::PUBLIC)?;
    }
    for name in OUTDATED {
        remove(&layout.hooks_dir.join(name))?;
    }
    conf.list(&layout.hooks_dir)?;
    Ok(())
}

/// Removes what [`install`] wrote, except the entry in podman's configuration; a directory without hooks is harmless.
///
/// # Errors
/// The first [`HookFault::File`]; the other files are removed all the same.
pub fn uninstall(layout: &Layout) -> Result<(), HookFault> {
    // Descriptors first: without the program podman would skip them in silence.
    let mut files: Vec<PathBuf> = STAGES.iter().map(|stage| layout.descriptor(stage)).collect();
    files.extend([layout.program(), layout.daemon(), layout.wrapper()]);
    files.extend(OUTDATED.map(|name| layout.hooks_dir.join(name)));
    let mut first = None;
    for file in files {
        first = first.or(remove(&file).err());
    }
    let _ = std::fs::remove_dir(&layout.hooks_dir);
    first.map_or(Ok(()), Err)
}

/// Proves that podman, called from this environment, will run the hook: descriptors, program and its version, the entry
/// in the configuration that podman will read. Takes a few milliseconds; the program is run once.
///
/// # Errors
/// [`HookFault`] naming the one thing that is off.
pub fn check(state_root: &Path) -> Result<(), HookFault> {
    check_layout(&Layout::below(state_root), &Conf::detect())
}

/// As [`check`], for any place and configuration.
///
/// # Errors
/// [`HookFault`].
pub fn check_layout(layout: &Layout, conf: &Conf) -> Result<(), HookFault> {
    for stage in STAGES {
        check_descriptor(layout, stage)?;
    }
    check_file(&layout.daemon())?;
    check_program(&layout.program())?;
    conf.require(&layout.hooks_dir)?;
    Ok(())
}

fn check_descriptor(layout: &Layout, stage: &str) -> Result<(), HookFault> {
    let path = layout.descriptor(stage);
    let text = match base::file::read_regular(&path, 64 * 1024) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(HookFault::Descriptor { path, why: "does not exist" });
        }
        Err(error) => return Err(doing("read", &path)(error)),
    };
    let found: Option<Value> = serde_json::from_slice(&text).ok();
    if found.as_ref() != Some(&layout.descriptor_content(stage)) {
        let why = "is not the one that this version installs";
        return Err(HookFault::Descriptor { path, why });
    }
    Ok(())
}

fn refuse(path: &Path, why: impl Into<String>) -> Result<(), HookFault> {
    Err(HookFault::Program { path: path.to_owned(), why: why.into() })
}

fn check_file(path: &Path) -> Result<(), HookFault> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => refuse(path, "does not exist"),
        Err(error) => Err(doing("look at", path)(error)),
        Ok(meta) if !meta.is_file() => refuse(path, "is not a plain file"),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => refuse(path, "is not executable"),
        Ok(_) => Ok(()),
    }
}

fn check_program(path: &Path) -> Result<(), HookFault> {
    check_file(path)?;
    let argv = [path.as_os_str(), "--version".as_ref()];
    let output = match Run::new(argv).limit(Duration::from_secs(5)).output() {
        Ok(output) => output,
        Err(error) => return refuse(path, format!("cannot run: {error}")),
    };
    let said = output.text();
    if !output.ok() || said.trim() != format!("{PROGRAM} {VERSION}") {
        let said = base::text::sanitize_tty(said.trim());
        return refuse(path, format!("is not of version {VERSION}: it says `{said}`"));
    }
    Ok(())
}

fn doing(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> HookFault {
    let path = path.to_owned();
    move |source| HookFault::File { doing, path: path.clone(), source }
}

/// Writes a file anew unless it says the same already.
fn put(path: &Path, content: &[u8], mode: u32) -> Result<(), HookFault> {
    let same = |meta: std::fs::Metadata| {
        meta.is_file()
            && meta.permissions().mode() & 0o777 == mode
            && base::file::read_regular(path, PROGRAM_LIMIT).is_ok_and(|old| old == content)
    };
    if std::fs::symlink_metadata(path).is_ok_and(same) {
        return Ok(());
    }
    base::file::write_atomic(path, content, mode).map_err(doing("write", path))
}

fn link(path: &Path, target: &Path) -> Result<(), HookFault> {
    if std::fs::read_link(path).is_ok_and(|there| there == target) {
        return Ok(());
    }
    let temporary = path.with_extension(format!("{}.tmp", base::ident::random_hex(4)));
    let made = symlink(target, &temporary).and_then(|()| std::fs::rename(&temporary, path));
    made.map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        doing("write", path)(error)
    })
}

fn remove(path: &Path) -> Result<(), HookFault> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(doing("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Layout, Conf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::below(&dir.path().join("state"));
        let conf = Conf::only(&dir.path().join("config/containers/containers.conf"));
        let program = dir.path().join("built");
        let script = format!("#!/bin/sh\necho {PROGRAM} {VERSION}\n");
        std::fs::write(&program, script).unwrap();
        std::fs::write(program.with_file_name(base::pid::SUPERVISOR_DAEMON), "daemon").unwrap();
        (dir, layout, conf, program)
    }

    fn refusal(layout: &Layout, conf: &Conf) -> String {
        base::fault::explain(&check_layout(layout, conf).unwrap_err())
    }

    #[test]
    fn installed_twice_checked_and_removed() {
        let (_dir, layout, conf, program) = place();
        assert!(refusal(&layout, &conf).contains("does not exist"));
        for _ in 0..2 {
            install(&layout, &program, &conf).unwrap();
            check_layout(&layout, &conf).unwrap();
        }
        let names = std::fs::read_dir(&layout.hooks_dir).unwrap().count();
        assert_eq!(names, 4, "two programs and two descriptors, no temporary file");
        let text = std::fs::read_to_string(layout.descriptor("poststop")).unwrap();
        assert!(text.contains("\"supervisor_hook\"") && text.contains("\"stages\""));
        assert_eq!(std::fs::canonicalize(layout.wrapper()).unwrap(), std::fs::canonicalize(layout.program()).unwrap());
        std::fs::create_dir(layout.state_root.join("sidecar")).unwrap();
        uninstall(&layout).unwrap();
        uninstall(&layout).unwrap();
        assert!(!layout.hooks_dir.exists() && !layout.wrapper().is_symlink());
        assert!(layout.state_root.join("sidecar").exists());
    }

    #[test]
    fn whatever_podman_would_skip_in_silence_is_found() {
        let (dir, layout, conf, program) = place();
        install(&layout, &program, &conf).unwrap();
        let installed = layout.program();
        let set_mode = |mode| {
            std::fs::set_permissions(&installed, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set_mode(0o644);
        assert!(refusal(&layout, &conf).contains("is not executable"));
        set_mode(0o755);
        std::fs::write(&installed, "#!/bin/sh\necho terok-supervisor 0.0.1\n").unwrap();
        assert!(refusal(&layout, &conf).contains("`terok-supervisor 0.0.1`"));
        for program in [installed, layout.daemon()] {
            std::fs::remove_file(&program).unwrap();
            let text = refusal(&layout, &conf);
            assert!(text.contains("does not exist\nhint: ") && text.contains(program.to_str().unwrap()), "{text}");
            install(&layout, &dir.path().join("built"), &conf).unwrap();
        }
        install(&layout, &program, &conf).unwrap();
        std::fs::write(layout.descriptor("createRuntime"), "{}").unwrap();
        assert!(refusal(&layout, &conf).contains("createRuntime.json"));
        install(&layout, &program, &conf).unwrap();
        let other = Conf::only(&dir.path().join("other.conf"));
        assert!(refusal(&layout, &other).contains("other.conf"));
    }
}
