//! One podman process: started, fed, watched, captured, and ended in time.
//!
//! Invariants: no shell; both pipes are drained at once; a child that outlives its limit, prints more than we keep, or
//! that the caller gives up is killed and reaped before the call returns. A long call asks its watch several times a
//! second whether to go on. Refuses objects whose name podman would read as an option.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use base::process::{MAX_OUTPUT, Output, Run, RunError};

use crate::conffile::{ALONE, LAST};
use crate::fault::PodmanError;

/// Asked again and again during a long call; true gives the call up.
pub type Watch<'a> = &'a (dyn Fn() -> bool + Sync);

/// The podman program that a caller talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Podman {
    program: OsString,
    settings: Settings,
}

/// Where podman gets its configuration from, and options in front of its verbs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The only configuration file to read; the usual ones when it is missing.
    pub conf: Option<PathBuf>,
    /// Options of podman itself.
    pub globals: Vec<String>,
}

impl Settings {
    /// Podman takes an empty variable for a missing one.
    fn variables(&self) -> Vec<(&'static str, OsString)> {
        let conf = self.conf.iter();
        conf.flat_map(|conf| [(ALONE, conf.into()), (LAST, OsString::new())]).collect()
    }
}

impl Default for Podman {
    fn default() -> Self {
        Self::new()
    }
}

impl Podman {
    /// `podman` as `PATH` finds it at each call.
    pub fn new() -> Self {
        Self::at("podman")
    }

    /// A given program.
    pub fn at(program: impl AsRef<OsStr>) -> Self {
        Self { program: program.as_ref().to_owned(), settings: Settings::default() }
    }

    /// The same program with settings of its own.
    pub fn with(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// A process of this program that has not been started yet, for callers that read its output themselves.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.envs(self.settings.variables()).args(&self.settings.globals);
        command
    }

    /// The program as it was named.
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// A call with these arguments; `verb` and `object` are for messages.
    pub fn call<S: AsRef<OsStr>>(
        &self,
        verb: &'static str,
        object: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Call<'static> {
        Call {
            program: self.program.clone(),
            settings: self.settings.clone(),
            args: args.into_iter().map(|a| a.as_ref().to_owned()).collect(),
            verb,
            object: object.to_owned(),
            env: Vec::new(),
            input: None,
            limit: None,
            watch: None,
            sink: None,
            most: MAX_OUTPUT,
        }
    }
}

/// A call that has not been made yet.
pub struct Call<'w> {
    program: OsString,
    settings: Settings,
    args: Vec<OsString>,
    verb: &'static str,
    object: String,
    env: Vec<(String, String)>,
    input: Option<Vec<u8>>,
    limit: Option<Duration>,
    watch: Option<Watch<'w>>,
    sink: Option<File>,
    most: usize,
}

impl<'w> Call<'w> {
    /// Gives the process more environment variables, for example values that must not be in its argument list.
    pub fn env(mut self, env: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env.extend(env);
        self
    }

    /// Bytes for standard input.
    pub fn input(mut self, bytes: Vec<u8>) -> Self {
        self.input = Some(bytes);
        self
    }

    /// The longest the call may take.
    pub fn limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limit = limit.into();
        self
    }

    /// The most bytes that are captured, of both streams together.
    pub fn most(mut self, bytes: usize) -> Self {
        self.most = bytes;
        self
    }

    /// Whom to ask whether the call is still wanted.
    pub fn watch<'v>(self, watch: Option<Watch<'v>>) -> Call<'v> {
        Call {
            program: self.program,
            settings: self.settings,
            args: self.args,
            verb: self.verb,
            object: self.object,
            env: self.env,
            input: self.input,
            limit: self.limit,
            watch,
            sink: self.sink,
            most: self.most,
        }
    }

    /// Writes both output streams into a file, in the order in which they come, instead of capturing them.
    pub fn into_file(mut self, sink: File) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Makes the call; any exit status is a result.
    ///
    /// # Errors
    /// [`PodmanError`] when podman is missing, out of time, given up, prints too much, or could not be run.
    pub fn output(self) -> Result<Output, PodmanError> {
        if self.object.starts_with('-') {
            return Err(PodmanError::BadName { verb: self.verb, object: self.object });
        }
        let globals = self.settings.globals.iter().map(OsStr::new);
        let argv =
            [self.program.as_os_str()].into_iter().chain(globals).chain(self.args.iter().map(OsString::as_os_str));
        let mut run = Run::new(argv).most(self.most);
        for (name, value) in self.settings.variables() {
            run = run.env(name, value);
        }
        for (name, value) in &self.env {
            run = run.env(name, value);
        }
        if let Some(input) = self.input {
            run = run.input(input);
        }
        if let Some(limit) = self.limit {
            run = run.limit(limit);
        }
        if let Some(sink) = self.sink {
            run = run.into_file(sink);
        }
        let (verb, object) = (self.verb, self.object);
        run.watched(&mut |_| !self.watch.is_some_and(|give_up| give_up())).map_err(|error| match error {
            RunError::Missing(program) => PodmanError::Missing { program },
            RunError::TimedOut { seconds, .. } => PodmanError::TimedOut { verb, object, seconds },
            RunError::TooLarge { most, .. } => PodmanError::TooLarge { verb, object, most },
            RunError::Interrupted(_) => PodmanError::Interrupted { verb, object },
            RunError::Io { program, source } => PodmanError::Io { program, source },
        })
    }

    /// Makes the call; a non-zero status is a fault.
    ///
    /// # Errors
    /// As [`Call::output`], and [`PodmanError::Failed`].
    pub fn success(self) -> Result<Output, PodmanError> {
        let (verb, object) = (self.verb, self.object.clone());
        let output = self.output()?;
        if output.ok() {
            return Ok(output);
        }
        Err(failed(verb, &object, &output))
    }

    /// Standard output of a successful call, trimmed; `None` for every kind of failure and for empty output.
    pub fn answer(self) -> Option<String> {
        let text = self.success().ok()?.text().trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

/// The fault for a call that ended with a non-zero status.
pub fn failed(verb: &'static str, object: &str, output: &Output) -> PodmanError {
    let complaint = match output.complaint() {
        text if text.is_empty() => "<no output>".to_owned(),
        text => clean_lines(&text),
    };
    PodmanError::Failed { verb, object: object.to_owned(), code: output.code, complaint }
}

/// Podman's words made safe for a terminal; lines stay lines.
pub fn clean_lines(text: &str) -> String {
    text.lines().map(base::text::sanitize_tty).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn sh(script: &str) -> Call<'static> {
        Podman::at("sh").call("test", "it", ["-c", script])
    }

    #[test]
    fn captures_feeds_and_names_failures() {
        let output = sh("cat; printf '%s' \"$SECRET\"; echo oops >&2; exit 3")
            .env([("SECRET".to_owned(), "s".to_owned())])
            .input(b"in".to_vec())
            .output()
            .unwrap();
        assert_eq!((output.code, output.text().as_str()), (3, "ins"));
        let fault = sh("echo oops >&2; exit 3").success().unwrap_err().to_string();
        assert!(fault.contains("rc=3") && fault.contains("oops"), "{fault}");
        assert!(sh("exit 1").success().unwrap_err().to_string().contains("<no output>"));
        assert_eq!(sh("echo; exit 0").answer(), None);
    }

    #[test]
    fn limits_and_watches_end_the_child() {
        let begun = Instant::now();
        let late = sh("exec sleep 30").limit(Duration::from_millis(100)).output();
        assert!(matches!(late, Err(PodmanError::TimedOut { .. })));
        let given_up = sh("exec sleep 30").watch(Some(&|| true)).output();
        assert!(matches!(given_up, Err(PodmanError::Interrupted { .. })));
        assert!(begun.elapsed() < Duration::from_secs(25));
    }

    // holds: captured-output-is-bounded
    #[test]
    fn output_without_end_is_an_error_and_not_memory() {
        let fault = sh("exec cat /dev/zero").output().unwrap_err();
        assert!(matches!(fault, PodmanError::TooLarge { most: MAX_OUTPUT, .. }));
        assert_eq!(sh("echo 1234").most(5).output().unwrap().text(), "1234\n");
        assert!(matches!(sh("echo 12345").most(5).output(), Err(PodmanError::TooLarge { most: 5, .. })));
    }

    #[test]
    fn settings_reach_every_process() {
        let script = "printf '%s|%s' \"$CONTAINERS_CONF\" \"$CONTAINERS_CONF_OVERRIDE\"";
        let settings = Settings { conf: Some("/c".into()), globals: vec!["-c".into(), script.into()] };
        let podman = Podman::at("sh").with(settings);
        let call = podman.call("test", "it", ["x"]).env([("CONTAINERS_CONF_OVERRIDE".to_owned(), "/o".to_owned())]);
        assert_eq!(call.output().unwrap().text(), "/c|/o", "a caller's own variable counts");
        let output = podman.command().env_remove("CONTAINERS_CONF_OVERRIDE").output().unwrap();
        assert_eq!(output.stdout, b"/c|");
    }

    #[test]
    fn a_name_is_never_an_option() {
        let fault = Podman::at("false").call("stop", "--all", ["stop", "--all"]).output().unwrap_err();
        assert!(matches!(fault, PodmanError::BadName { .. }));
    }

    #[test]
    fn a_missing_program_is_named() {
        let fault = Podman::at("no-such-podman").call("test", "it", ["x"]).output().unwrap_err();
        assert!(matches!(&fault, PodmanError::Missing { program } if program == "no-such-podman"));
    }
}
