//! One podman process: started, fed, watched, captured, and ended in time.
//!
//! Invariants: no shell; both pipes are drained at once; a child that outlives its limit or that the caller gives up is
//! killed and reaped before the call returns. A long call asks its watch several times a second whether to go on.
//! Refuses objects whose name podman would read as an option.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base::process::{Output, exit_code};

use crate::fault::PodmanError;

/// How often a watch is asked.
const TICK: Duration = Duration::from_millis(50);
/// How long a pipe may stay open after its process has ended (a descendant can hold it).
const STRAGGLER: Duration = Duration::from_secs(10);

/// Asked again and again during a long call; true gives the call up.
pub type Watch<'a> = &'a (dyn Fn() -> bool + Sync);

/// The podman program that a caller talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Podman {
    program: OsString,
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
        Self { program: program.as_ref().to_owned() }
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
            args: args.into_iter().map(|a| a.as_ref().to_owned()).collect(),
            verb,
            object: object.to_owned(),
            env: Vec::new(),
            input: None,
            limit: None,
            watch: None,
            sink: None,
        }
    }
}

/// A call that has not been made yet.
pub struct Call<'w> {
    program: OsString,
    args: Vec<OsString>,
    verb: &'static str,
    object: String,
    env: Vec<(String, String)>,
    input: Option<Vec<u8>>,
    limit: Option<Duration>,
    watch: Option<Watch<'w>>,
    sink: Option<File>,
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

    /// Whom to ask whether the call is still wanted.
    pub fn watch<'v>(self, watch: Option<Watch<'v>>) -> Call<'v> {
        Call {
            program: self.program,
            args: self.args,
            verb: self.verb,
            object: self.object,
            env: self.env,
            input: self.input,
            limit: self.limit,
            watch,
            sink: self.sink,
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
    /// [`PodmanError`] when podman is missing, out of time, given up, or could not be run.
    pub fn output(self) -> Result<Output, PodmanError> {
        if self.object.starts_with('-') {
            return Err(PodmanError::BadName { verb: self.verb, object: self.object });
        }
        let mut child = self.spawn().map_err(|e| self.io_fault(e))?;
        feed(&mut child, self.input.as_deref().map(<[u8]>::to_vec));
        let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let status = match self.wait(&mut child) {
            Ok(status) => status,
            Err(fault) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(fault);
            }
        };
        Ok(Output {
            code: exit_code(status),
            stdout: out.recv_timeout(STRAGGLER).unwrap_or_default(),
            stderr: err.recv_timeout(STRAGGLER).unwrap_or_default(),
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

    fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(self.env.iter().map(|(k, v)| (k, v)));
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        let pipe = || match &self.sink {
            Some(file) => file.try_clone().map(Stdio::from),
            None => Ok(Stdio::piped()),
        };
        command.stdout(pipe()?).stderr(pipe()?).spawn()
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus, PodmanError> {
        if self.limit.is_none() && self.watch.is_none() {
            return child.wait().map_err(|e| self.io_fault(e));
        }
        let pid = rustix::process::Pid::from_child(child);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
            .map_err(|e| self.io_fault(e.into()))?;
        let deadline = self.limit.map(|limit| Instant::now() + limit);
        loop {
            if let Some(status) = child.try_wait().map_err(|e| self.io_fault(e))? {
                return Ok(status);
            }
            let left = deadline.map_or(TICK, |d| d.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(self.out_of_time());
            }
            if self.watch.is_some_and(|give_up| give_up()) {
                return Err(PodmanError::Interrupted { verb: self.verb, object: self.object.clone() });
            }
            let slice = if self.watch.is_some() { left.min(TICK) } else { left };
            let slice = rustix::time::Timespec {
                tv_sec: slice.as_secs().min(3600) as i64,
                tv_nsec: slice.subsec_nanos().into(),
            };
            let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
            let _ = rustix::event::poll(&mut fds, Some(&slice));
        }
    }

    fn out_of_time(&self) -> PodmanError {
        PodmanError::TimedOut {
            verb: self.verb,
            object: self.object.clone(),
            seconds: self.limit.unwrap_or_default().as_secs_f64(),
        }
    }

    fn io_fault(&self, source: io::Error) -> PodmanError {
        let program = self.program.to_string_lossy().into_owned();
        match source.kind() {
            io::ErrorKind::NotFound => PodmanError::Missing { program },
            _ => PodmanError::Io { program, source },
        }
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

fn feed(child: &mut Child, input: Option<Vec<u8>>) {
    if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), input) {
        std::thread::spawn(move || {
            let _ = pipe.write_all(&bytes);
        });
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = tell.send(bytes);
    });
    told
}

#[cfg(test)]
mod tests {
    use super::*;

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
