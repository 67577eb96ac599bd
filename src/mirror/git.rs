//! The one way git is started here and in the HTTP service: in an environment made from nothing or cleaned, with
//! everything switched off that could run a program which came with a repository, and without anybody to ask.
//!
//! Refuses: hooks, filters, file-system monitors, submodules, large-file smudging, remote helpers (`ext::` and the like),
//! prompts, the system's git configuration, and every `GIT_*` variable of our own environment but a few harmless ones.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use base::ceiling::Ceiling;
use base::process::{Output, Run, Watch};

use crate::fault::MirrorError;

/// Settings that hold for every git process, stronger than those of the repository.
pub const SETTINGS: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.untrackedCache", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.askPass", ""),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("submodule.recurse", "false"),
    ("protocol.ext.allow", "never"),
    ("init.templateDir", ""),
    ("log.showSignature", "false"),
];

/// Settings of every git process that reads only what is on this machine, where containers may have written it: it works
/// on one thread, passes large files on in pieces instead of holding them, and caches little.
pub const FRUGAL: &[(&str, &str)] = &[
    ("core.bigFileThreshold", "1m"),
    ("core.deltaBaseCacheLimit", "16m"),
    ("core.packedGitWindowSize", "32m"),
    ("core.packedGitLimit", "128m"),
    ("pack.threads", "1"),
    ("pack.windowMemory", "16m"),
    ("pack.deltaCacheSize", "16m"),
    ("index.threads", "1"),
];

/// Most bytes of memory of its own that such a process has: three quarters of what `gate_server.git_memory_mib` gives to all
/// that work for one container. The configuration is read once.
static MEMORY: LazyLock<u64> = LazyLock::new(|| (base::setting::gate_quotas().git_memory_mib << 20) / 4 * 3);

/// How much it gives way to what people and containers wait for.
const COURTESY: i32 = 5;

/// Variables that hold for every git process.
const FIXED: &[(&str, &str)] = &[
    ("LC_ALL", "C"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", ""),
    ("SSH_ASKPASS", ""),
    ("SSH_ASKPASS_REQUIRE", "never"),
    ("GIT_LFS_SKIP_SMUDGE", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_PAGER", "cat"),
    ("GIT_EDITOR", "false"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
];

/// What a local git process gets of our environment.
const LOCAL: &[&str] = &["PATH", "HOME", "TMPDIR", "GIT_EXEC_PATH"];
/// The only `GIT_*` variables that reach a git process which talks to the upstream: where trust anchors are.
const ANCHORS: &[&str] = &["GIT_EXEC_PATH", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"];
/// Those that choose the user's own way of running SSH; passed on only when the user opted in.
const PERSONAL: &[&str] = &["GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT"];

/// Who a git process may talk to, and whose configuration it sees.
#[derive(Debug, Clone, Default)]
pub enum Reach {
    /// Repositories on this machine; neither the user's configuration nor the user's environment.
    #[default]
    Local,
    /// The upstream, as the user would: own configuration (credential helpers, proxies), own SSH when `personal`.
    User {
        /// The user's own SSH program and agent may be used.
        personal: bool,
    },
    /// The upstream through these variables (an SSH agent of ours); the user's configuration takes no part.
    Identity(Vec<(String, String)>),
}

/// The whole environment of a git process: start it with nothing else.
///
/// `settings` come on top of [`SETTINGS`] and are git configuration of the highest rank.
pub fn environment(reach: &Reach, settings: &[(String, String)]) -> Vec<(OsString, OsString)> {
    compose(reach, settings, std::env::vars_os())
}

fn compose(
    reach: &Reach,
    settings: &[(String, String)],
    ambient: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> = ambient.filter(|(name, _)| passes(reach, name)).collect();
    let mut set = |name: &str, value: &str| {
        env.retain(|(known, _)| known != name);
        env.push((name.into(), value.into()));
    };
    FIXED.iter().for_each(|(name, value)| set(name, value));
    match reach {
        Reach::Local => {
            set("GIT_CONFIG_GLOBAL", "/dev/null");
            set("GIT_ALLOW_PROTOCOL", "file");
        }
        Reach::User { .. } => set("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh"),
        Reach::Identity(variables) => {
            set("GIT_CONFIG_GLOBAL", "/dev/null");
            set("GIT_ALLOW_PROTOCOL", "ssh");
            variables.iter().for_each(|(name, value)| set(name, value));
        }
    }
    let frugal = if matches!(reach, Reach::Local) { FRUGAL } else { &[] };
    let own = SETTINGS
        .iter()
        .chain(frugal)
        .copied()
        .chain(settings.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let mut count = 0;
    for (key, value) in own {
        set(&format!("GIT_CONFIG_KEY_{count}"), key);
        set(&format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
    }
    set("GIT_CONFIG_COUNT", &count.to_string());
    env
}

fn passes(reach: &Reach, name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    match reach {
        Reach::Local => LOCAL.contains(&name),
        Reach::User { personal: true } if PERSONAL.contains(&name) => true,
        Reach::User { .. } | Reach::Identity(_) => !name.starts_with("GIT_") || ANCHORS.contains(&name),
    }
}

/// The command by which another local git process serves the mirror: git does not pass our settings on to it.
pub(crate) fn upload_pack(settings: &[(&str, &str)]) -> String {
    let settings = SETTINGS.iter().chain(FRUGAL).chain(settings);
    let words = settings.flat_map(|(key, value)| ["-c".to_owned(), format!("{key}={value}")]);
    base::text::command_line(["git".to_owned()].into_iter().chain(words).chain(["upload-pack".to_owned()]))
}

/// One git command to run.
#[derive(Debug, Clone)]
pub struct Git {
    reach: Reach,
    settings: Vec<(String, String)>,
    variables: Vec<(String, String)>,
    /// Bytes of memory that the upstream of the repository makes necessary.
    upstream: u64,
    run: Run,
}

impl Git {
    /// A command outside any repository.
    pub fn new<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        let run = Run::new(std::iter::once("git".into()).chain(words)).bare_env().alone();
        Self { reach: Reach::default(), settings: Vec::new(), variables: Vec::new(), upstream: 0, run }
    }

    /// A command in the bare repository `path`; nothing is searched in the directories above it.
    pub fn at<S: AsRef<OsStr>>(path: &Path, words: impl IntoIterator<Item = S>) -> Self {
        let place: [OsString; 3] = ["-C".into(), path.into(), "--git-dir=.".into()];
        Self::new(place.into_iter().chain(words.into_iter().map(|word| word.as_ref().to_owned()))).for_mirror(path)
    }

    /// It may have the memory that the mirror's upstream makes necessary.
    pub(crate) fn for_mirror(mut self, mirror: &Path) -> Self {
        self.upstream = crate::objects::memory_of_upstream(mirror);
        self
    }

    /// Who it may talk to.
    pub fn reach(mut self, reach: &Reach) -> Self {
        self.reach = reach.clone();
        self
    }

    /// One more setting, stronger than the repository's.
    pub fn setting(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((key.into(), value.into()));
        self
    }

    /// One more environment variable.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Bytes for standard input.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.run = self.run.input(bytes);
        self
    }

    /// The longest it may run.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.run = self.run.limit(limit);
        self
    }

    /// The longest it may say nothing.
    pub fn silence(mut self, limit: Duration) -> Self {
        self.run = self.run.silence(limit);
        self
    }

    /// Output goes into `sink` instead of being captured.
    pub(crate) fn into_file(mut self, sink: std::fs::File) -> Self {
        self.run = self.run.into_file(sink);
        self
    }

    /// Runs to the end; output is captured.
    ///
    /// # Errors
    /// When git is missing, too slow or cannot be started; a non-zero exit status is not an error.
    pub fn run(self) -> Result<Output, MirrorError> {
        self.watched(&mut |_| true)
    }

    /// Runs to the end while `watch` hears standard error.
    ///
    /// # Errors
    /// As [`Git::run`], and when `watch` ends it.
    pub fn watched(self, watch: Watch<'_>) -> Result<Output, MirrorError> {
        let mut run = self.run;
        if matches!(self.reach, Reach::Local) {
            let memory = self.upstream.max(*MEMORY);
            run = run.ceiling(Ceiling { memory: Some(memory), nice: COURTESY, ..Ceiling::default() });
        }
        for (name, value) in environment(&self.reach, &self.settings) {
            run = run.env(name, value);
        }
        for (name, value) in self.variables {
            run = run.env(name, value);
        }
        Ok(run.watched(watch)?)
    }

    /// Runs to the end and insists on exit status 0; `what` names the operation in the error.
    ///
    /// # Errors
    /// As [`Git::run`], and [`MirrorError::Git`] with git's own words.
    pub fn succeed(self, what: &'static str) -> Result<Output, MirrorError> {
        let output = self.run()?;
        match output.ok() {
            true => Ok(output),
            false => Err(MirrorError::Git { what, complaint: base::text::redact_userinfo(&output.complaint()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ambient() -> impl Iterator<Item = (OsString, OsString)> {
        let names = "PATH HOME https_proxy SSH_AUTH_SOCK GIT_DIR GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT GIT_SSH_COMMAND \
                     GIT_SSL_CAINFO GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_TRACE2 GIT_ASKPASS";
        names.split_whitespace().map(|name| (name.into(), "ambient".into())).collect::<Vec<_>>().into_iter()
    }

    fn from_ambient(reach: &Reach) -> Vec<String> {
        let env = compose(reach, &[], ambient());
        env.into_iter().filter(|(_, v)| v == "ambient").map(|(k, _)| k.into_string().unwrap()).collect()
    }

    // improves: 22-M6-no-prompt 22-M7-clean-environment
    #[test]
    fn little_of_our_environment_reaches_git() {
        assert_eq!(from_ambient(&Reach::Local), ["PATH", "HOME"]);
        let user = ["PATH", "HOME", "https_proxy", "SSH_AUTH_SOCK", "GIT_SSL_CAINFO"];
        assert_eq!(from_ambient(&Reach::User { personal: false }), user);
        let personal = from_ambient(&Reach::User { personal: true });
        assert!(personal.iter().any(|name| name == "GIT_SSH_COMMAND") && personal.len() == user.len() + 1);
        let ours = Reach::Identity(vec![("SSH_AUTH_SOCK".into(), "/ours".into())]);
        assert_eq!(from_ambient(&ours), ["PATH", "HOME", "https_proxy", "GIT_SSL_CAINFO"]);
        for reach in [Reach::Local, Reach::User { personal: true }, ours] {
            let env = compose(&reach, &[], ambient());
            let value = |name: &str| env.iter().find(|(k, _)| k == name).map(|(_, v)| v.to_str().unwrap().to_owned());
            assert_eq!(value("GIT_TERMINAL_PROMPT").as_deref(), Some("0"));
            assert_eq!(value("GIT_ASKPASS").as_deref(), Some(""));
            let frugal = if matches!(reach, Reach::Local) { FRUGAL.len() } else { 0 };
            assert_eq!(value("GIT_CONFIG_COUNT"), Some((SETTINGS.len() + frugal).to_string()));
            let mut names: Vec<_> = env.iter().map(|(name, _)| name).collect();
            names.sort();
            let before = names.len();
            names.dedup();
            assert_eq!(names.len(), before, "no variable twice");
        }
    }

    #[test]
    fn settings_are_stronger_than_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("r");
        Git::new([OsStr::new("init"), OsStr::new("-q"), OsStr::new("--bare"), repo.as_os_str()])
            .succeed("create a repository")
            .unwrap();
        Git::at(&repo, ["config", "core.hooksPath", "/tmp/hooks"]).succeed("configure").unwrap();
        let seen = Git::at(&repo, ["config", "core.hooksPath"]).run().unwrap();
        assert_eq!(seen.text(), "/dev/null\n");
        let seen = Git::at(&repo, ["config", "a.b"]).setting("a.b", "c").run().unwrap();
        assert_eq!(seen.text(), "c\n");
    }

    #[test]
    fn helpers_named_by_an_address_do_not_run() {
        for reach in [Reach::Local, Reach::User { personal: true }, Reach::Identity(Vec::new())] {
            let out = Git::new(["ls-remote", "--", "ext::sh -c 'touch /tmp/never'"]).reach(&reach).run().unwrap();
            assert!(!out.ok() && out.complaint().contains("not allowed"), "{}", out.complaint());
        }
    }
}
