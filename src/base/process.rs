//! Short-lived child processes: run, feed, capture, and give up in time.
//!
//! Invariants:
//! - No shell is involved.
//! - A child that outlives its limit, or prints more than we keep, is killed and reaped.
//! - Output is captured from both pipes at once, so a talkative child cannot block.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::ceiling::Ceiling;

/// Most bytes of output that are captured unless a call asks for another bound.
pub const MAX_OUTPUT: usize = 16 * 1024 * 1024;
/// Most bytes of a complaint; it is shown to a user.
const MAX_COMPLAINT: usize = 16 * 1024;

/// What a finished child left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit status; a child ended by signal N counts as `128 + N`.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// True for exit status 0.
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// Standard output as text, undecodable bytes replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error, or standard output when that is blank; trimmed, cleaned and bounded, for messages.
    pub fn complaint(&self) -> String {
        let stderr = String::from_utf8_lossy(end_of(&self.stderr));
        let text = match stderr.trim() {
            "" => String::from_utf8_lossy(end_of(&self.stdout)),
            _ => stderr,
        };
        crate::text::clean_block(&text).trim().to_owned()
    }
}

/// The end of an output, where programs say why they failed.
fn end_of(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.len().saturating_sub(MAX_COMPLAINT)..]
}

/// Why there is no [`Output`].
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program is not on `PATH`.
    #[error("`{0}` is not installed")]
    Missing(String),
    /// The child was killed when its limit passed.
    #[error("`{program}` did not finish within {seconds} s")]
    TimedOut {
        /// The program.
        program: String,
        /// The limit.
        seconds: f64,
    },
    /// The child was killed because it printed too much.
    #[error("`{program}` printed more than {most} bytes")]
    TooLarge {
        /// The program.
        program: String,
        /// The bound.
        most: usize,
    },
    /// The caller did not want to wait any longer.
    #[error("`{0}` was interrupted")]
    Interrupted(String),
    /// The program could not be started or talked to.
    #[error("cannot run `{program}`")]
    Io {
        /// The program.
        program: String,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
}

/// A command to run; defaults: no standard input, our environment, no limit of time, [`MAX_OUTPUT`].
#[derive(Debug, Clone)]
pub struct Run {
    argv: Vec<OsString>,
    input: Option<Vec<u8>>,
    env: Vec<(OsString, OsString)>,
    bare: bool,
    limit: Option<Duration>,
    silence: Option<Duration>,
    alone: bool,
    ceiling: Ceiling,
    most: usize,
    sink: Option<std::sync::Arc<File>>,
}

/// Hears what the child writes to standard error as it comes, and an empty slice when nothing came for a moment; returns
/// false to end the child.
pub type Watch<'a> = &'a mut dyn FnMut(&[u8]) -> bool;

impl Run {
    /// A command; the first word is looked up on `PATH`.
    pub fn new<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(|a| a.as_ref().to_owned()).collect(),
            input: None,
            env: Vec::new(),
            bare: false,
            limit: None,
            silence: None,
            alone: false,
            ceiling: Ceiling::default(),
            most: MAX_OUTPUT,
            sink: None,
        }
    }

    /// Bytes for standard input.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// One more environment variable.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Nothing of our own environment: the child sees only what [`Run::env`] names.
    pub fn bare_env(mut self) -> Self {
        self.bare = true;
        self
    }

    /// The longest the child may run.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The longest the child may write nothing at all.
    pub fn silence(mut self, limit: Duration) -> Self {
        self.silence = Some(limit);
        self
    }

    /// The child leads a session of its own: it has no terminal, is asked to end when we die, and is ended together with
    /// everything it started.
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Limits of the child and of everything that it starts.
    pub fn ceiling(mut self, ceiling: Ceiling) -> Self {
        self.ceiling = ceiling;
        self
    }

    /// The most bytes that are captured, of both streams together.
    pub fn most(mut self, bytes: usize) -> Self {
        self.most = bytes;
        self
    }

    /// Both output streams go into a file, in the order in which they come, instead of being captured.
    pub fn into_file(mut self, file: File) -> Self {
        self.sink = Some(file.into());
        self
    }

    fn program(&self) -> String {
        self.argv.first().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// [`RunError`]; a non-zero exit status is not an error.
    pub fn output(self) -> Result<Output, RunError> {
        self.watched(&mut |_| true)
    }

    /// Runs to the end while `watch` listens.
    ///
    /// # Errors
    /// As [`Run::output`], and [`RunError::Interrupted`] when `watch` says so.
    pub fn watched(self, watch: Watch<'_>) -> Result<Output, RunError> {
        let program = self.program();
        let fail = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => RunError::Missing(program.clone()),
            _ => RunError::Io { program: program.clone(), source },
        };
        let mut child = self.command().and_then(spawn).map_err(fail)?;
        let bounds = crate::talk::Bounds { limit: self.limit, silence: self.silence, most: self.most };
        let outcome = crate::talk::converse(&mut child, self.input, &bounds, watch);
        if !matches!(outcome, Ok((crate::talk::End::Done(_), ..))) {
            crate::talk::put_down(&mut child, self.alone);
        }
        let (end, stdout, stderr) = outcome.map_err(fail)?;
        match end {
            crate::talk::End::Done(status) => Ok(Output { code: exit_code(status), stdout, stderr }),
            crate::talk::End::Slow(limit) => Err(RunError::TimedOut { program, seconds: limit.as_secs_f64() }),
            crate::talk::End::Flood => Err(RunError::TooLarge { program, most: self.most }),
            crate::talk::End::Unwanted => Err(RunError::Interrupted(program)),
        }
    }

    fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(self.argv.first().cloned().unwrap_or_default());
        if self.bare {
            command.env_clear();
        }
        command.args(self.argv.iter().skip(1)).envs(self.env.iter().cloned());
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        let pipe = || match &self.sink {
            Some(file) => file.try_clone().map(Stdio::from),
            None => Ok(Stdio::piped()),
        };
        command.stdout(pipe()?).stderr(pipe()?);
        let (alone, ceiling) = (self.alone, self.ceiling);
        if alone || ceiling != Ceiling::default() {
            use std::os::unix::process::CommandExt;
            // SAFETY: between fork and exec only system calls are made; none of them allocates or takes a lock.
            unsafe {
                command.pre_exec(move || {
                    ceiling.apply()?;
                    if alone {
                        rustix::process::setsid()?;
                        let signal = Some(rustix::process::Signal::TERM);
                        rustix::process::set_parent_process_death_signal(signal)?;
                    }
                    Ok(())
                });
            }
        }
        Ok(command)
    }
}

/// Starts a program. One that was just written may still be open for writing in a child that another thread has forked
/// and that has not executed yet; that lasts a moment.
fn spawn(mut command: Command) -> io::Result<Child> {
    for _ in 0..20 {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(5));
            }
            outcome => return outcome,
        }
    }
    command.spawn()
}

/// Exit status as one number: `128 + N` for a child ended by signal N.
pub fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_program_that_is_still_being_written_is_waited_for() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        std::fs::write(&path, "#!/bin/sh\necho here\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let closer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            drop(writer);
        });
        assert_eq!(Run::new([&path]).output().unwrap().text(), "here\n");
        closer.join().unwrap();
    }

    #[test]
    fn captures_both_streams_and_the_status() {
        let out = Run::new(["sh", "-c", "cat; echo e >&2; exit 7"]).input("in").output().unwrap();
        assert_eq!((out.code, out.text().as_str(), out.complaint().as_str()), (7, "in", "e"));
        let killed = Run::new(["sh", "-c", "kill -9 $$"]).output().unwrap();
        assert_eq!(killed.code, 137);
    }

    #[test]
    fn large_output_on_both_pipes_does_not_block() {
        let out = Run::new(["sh", "-c", "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2"]).output().unwrap();
        assert_eq!((out.stdout.len(), out.stderr.len()), (300_000, 300_000));
    }

    #[test]
    fn missing_and_slow_programs() {
        assert!(matches!(Run::new(["no-such-program-xyz"]).output(), Err(RunError::Missing(_))));
        let started = Instant::now();
        let slow = Run::new(["sleep", "30"]).limit(Duration::from_millis(100)).output();
        assert!(matches!(slow, Err(RunError::TimedOut { .. })) && started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn large_input_meets_large_output() {
        let out = Run::new(["cat"]).input(vec![7; 3_000_000]).output().unwrap();
        assert_eq!(out.stdout.len(), 3_000_000);
        assert_eq!(Run::new(["true"]).input(vec![7; 3_000_000]).output().unwrap().code, 0);
    }

    // holds: captured-output-is-bounded
    #[test]
    fn child_is_ended_when_it_prints_more_than_is_kept() {
        for script in ["exec cat /dev/zero", "exec cat /dev/zero >&2"] {
            let flood = Run::new(["sh", "-c", script]).output();
            assert!(matches!(flood, Err(RunError::TooLarge { most: MAX_OUTPUT, .. })), "{script}");
        }
        let most = Run::new(["sh", "-c", "echo 123; echo 567 >&2"]).most(8).output().unwrap();
        assert_eq!(most.stdout.len() + most.stderr.len(), 8);
        let more = Run::new(["sh", "-c", "echo 123; echo 5678 >&2"]).most(8).output();
        assert!(matches!(more, Err(RunError::TooLarge { most: 8, .. })));
    }

    // holds: git-memory-is-bounded
    #[test]
    fn child_takes_no_more_than_its_ceiling() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f").display().to_string();
        let ceiling = Ceiling { memory: Some(64 << 20), file: Some(4096), nice: 3 };
        let run = |script: &str| Run::new(["sh", "-c", script]).ceiling(ceiling).output().unwrap();
        assert_eq!(run("ulimit -d; nice").text(), "65536\n3\n");
        assert!(!run(&format!("head -c 9999 /dev/zero > {file}")).ok());
        assert_eq!(std::fs::metadata(&file).unwrap().len(), 4096);
        assert!(!run("exec head -c 200000000 /dev/zero | tail -n 1 > /dev/null").ok(), "tail holds the whole line");
    }

    #[test]
    fn both_streams_go_into_a_file_when_one_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let run = Run::new(["sh", "-c", "echo a; echo b >&2; echo c"]).into_file(File::create(&path).unwrap());
        let output = run.output().unwrap();
        assert!(output.ok() && output.stdout.is_empty() && output.stderr.is_empty());
        assert_eq!(std::fs::read_to_string(path).unwrap(), "a\nb\nc\n");
    }

    // holds: hostile-text-is-cleaned
    #[test]
    fn complaint_is_clean_and_short() {
        let stderr = [b"\x1b]0;t\x07".repeat(9999), b"\x1b[2Jfatal: \xff no\n".to_vec()].concat();
        let output = Output { code: 1, stdout: b"\x1b[1mout".to_vec(), stderr };
        assert!(output.complaint().ends_with("fatal: \u{fffd} no") && output.complaint().len() < MAX_COMPLAINT);
        assert_eq!(Output { stderr: Vec::new(), ..output }.complaint(), "out");
    }

    #[test]
    fn a_silent_child_ends_and_a_talkative_one_goes_on() {
        let silent = Run::new(["sleep", "30"]).silence(Duration::from_millis(100)).alone().output();
        assert!(matches!(silent, Err(RunError::TimedOut { .. })));
        let script = "for i in 1 2 3 4 5 6; do echo $i >&2; sleep 0.1; done";
        let mut heard = Vec::new();
        let talk = Run::new(["sh", "-c", script]).silence(Duration::from_millis(1500)).watched(&mut |bytes| {
            heard.extend_from_slice(bytes);
            true
        });
        assert!(talk.unwrap().ok());
        assert_eq!(heard, b"1\n2\n3\n4\n5\n6\n");
    }

    #[test]
    fn whoever_the_child_started_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", note.display());
        let run = Run::new(["sh", "-c", &script]).limit(Duration::from_secs(2)).alone().output();
        assert!(matches!(run, Err(RunError::TimedOut { .. })));
        let pid = std::fs::read_to_string(&note).unwrap();
        let gone = || match std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !gone() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(gone());
    }

    #[test]
    fn a_stranger_that_keeps_the_pipes_does_not_hold_us() {
        let started = Instant::now();
        let out = Run::new(["sh", "-c", "echo x; setsid sleep 20 & exit 3"]).output().unwrap();
        assert_eq!((out.code, out.text().as_str()), (3, "x\n"));
        assert!(started.elapsed() < Duration::from_secs(18));
    }

    #[test]
    fn interrupted_and_without_our_environment() {
        let out = Run::new(["sleep", "30"]).watched(&mut |_| false);
        assert!(matches!(out, Err(RunError::Interrupted(_))));
        let out = Run::new(["/usr/bin/env"]).bare_env().env("A", "b").output().unwrap();
        assert_eq!(out.text(), "A=b\n");
    }
}
