//! Every environment variable the product reads on the host, in one table, and the only way to read them.
//!
//! Invariants: an empty value counts as unset, except where the table says that presence decides. Reading a name that is
//! not in the table is a programming error and panics in debug builds, so the documentation made from it is complete.

use std::ffi::OsString;
use std::path::PathBuf;

/// How a variable's value is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A file or directory; a leading `~` is expanded.
    Path,
    /// Free text.
    Text,
    /// Being set decides, whatever the value is.
    Presence,
}

/// One variable.
#[derive(Clone, Copy, Debug)]
pub struct Var {
    /// Its name.
    pub name: &'static str,
    /// How it is read.
    pub form: Form,
    /// What it changes, in one sentence.
    pub purpose: &'static str,
}

const fn var(name: &'static str, form: Form, purpose: &'static str) -> Var {
    Var { name, form, purpose }
}

/// The table, sorted by name.
pub const VARS: &[Var] = &[
    var(
        "CONTAINERS_CONF",
        Form::Path,
        "Podman's configuration file; when set, Podman ignores the user's own file and its hooks.",
    ),
    var("FORCE_COLOR", Form::Presence, "Coloured output even when it does not go to a terminal; `0` does not count."),
    var("GIT_CONFIG_GLOBAL", Form::Path, "Git's global settings, read for the name and address of commits."),
    var("HOME", Form::Path, "Home directory, base of the XDG defaults."),
    var("NO_COLOR", Form::Presence, "No coloured output."),
    var("PATH", Form::Text, "Where programs such as podman and git are looked up."),
    var(
        "TEROK_ALLOW_DANGEROUS_MOUNTS",
        Form::Text,
        "Host paths, separated by `:`, that containers may mount although they are refused otherwise.",
    ),
    var(
        "TEROK_CONFIG_DIR",
        Form::Path,
        "Namespace configuration directory for shield profiles and projects; does not move `config.yml`.",
    ),
    var(
        "TEROK_CONFIG_FILE",
        Form::Path,
        "The one `config.yml` to read and to write instead of the system and user files.",
    ),
    var("TEROK_CREDENTIALS_DIR", Form::Path, "Old name of `TEROK_VAULT_DIR`; still read, with a warning."),
    var("TEROK_EXECUTOR_STATE_DIR", Form::Path, "State directory of the executor."),
    var("TEROK_PORT_REGISTRY_DIR", Form::Path, "Directory of the port claims shared between users."),
    var(
        "TEROK_PREFIX",
        Form::Path,
        "Directory of the Python installation, where a distributor may have put a `config.yml`.",
    ),
    var("TEROK_PUBLIC_HOST", Form::Text, "Host name or address in links to services of this machine."),
    var("TEROK_ROOT", Form::Path, "State root of the whole family; beats `paths.root` of `config.yml`."),
    var("TEROK_RUNTIME", Form::Text, "Container runtime of every project: `crun`, `krun` or `null`."),
    var("TEROK_RUNTIME_DIR", Form::Path, "Runtime directory of the front ends."),
    var("TEROK_SANDBOX_CONFIG_DIR", Form::Path, "Configuration directory of the sandbox."),
    var("TEROK_SANDBOX_LIVE_DIR", Form::Path, "Directory of task workspaces and shared agent mounts."),
    var("TEROK_SANDBOX_RUNTIME_DIR", Form::Path, "Runtime directory (sockets) of the sandbox."),
    var("TEROK_SANDBOX_STATE_DIR", Form::Path, "State directory of the sandbox."),
    var("TEROK_STATE_DIR", Form::Path, "State directory of projects and tasks, instead of `core` in the state root."),
    var("TEROK_VAULT_DIR", Form::Path, "Directory of the credential vault."),
    var("TZ", Form::Text, "Time zone handed to containers when none is asked for."),
    var("XDG_CONFIG_HOME", Form::Path, "Base of the user's configuration."),
    var("XDG_DATA_HOME", Form::Path, "Base of the user's state."),
    var("XDG_RUNTIME_DIR", Form::Path, "Base of the user's sockets."),
    var("XDG_STATE_HOME", Form::Path, "Base of the user's logs, and of sockets when `XDG_RUNTIME_DIR` is unset."),
];

/// The table's row of `name`.
pub fn find(name: &str) -> Option<&'static Var> {
    VARS.iter().find(|var| var.name == name)
}

/// The raw value, `None` when unset or (unless presence decides) empty.
pub fn get(name: &str) -> Option<OsString> {
    let row = find(name);
    debug_assert!(row.is_some(), "`{name}` is not in the table of variables");
    let value = std::env::var_os(name)?;
    let counts = !value.is_empty() || row.is_some_and(|var| var.form == Form::Presence);
    counts.then_some(value)
}

/// The value as text; undecodable bytes count as unset.
pub fn text(name: &str) -> Option<String> {
    get(name)?.into_string().ok()
}

/// The value as a path, `~` expanded.
pub fn path(name: &str) -> Option<PathBuf> {
    get(name).map(|value| crate::path::expand_home(&PathBuf::from(value)))
}

/// An XDG base directory: relative values are ignored, as its specification demands.
pub fn xdg(name: &str) -> Option<PathBuf> {
    get(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_described() {
        assert!(VARS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(VARS.iter().all(|v| v.purpose.ends_with('.') && v.name == v.name.to_uppercase()));
        assert!(find("PATH").is_some() && find("TEROK_NOPE").is_none());
        assert!(get("PATH").is_some());
    }

    #[test]
    #[should_panic(expected = "not in the table")]
    #[cfg(debug_assertions)]
    fn unknown_names_are_refused() {
        let _ = get("TEROK_NOPE");
    }
}
