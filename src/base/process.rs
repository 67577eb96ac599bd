//! Short-lived child processes: run, feed, capture, and give up in time.
//!
//! Invariants: no shell is involved; a child that outlives its limit is killed and reaped; output is captured from both
//! pipes at once, so a talkative child cannot block.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

    /// Standard error, or standard output when that is blank; trimmed, for messages.
    pub fn complaint(&self) -> String {
        let stderr = String::from_utf8_lossy(&self.stderr);
        match stderr.trim() {
            "" => String::from_utf8_lossy(&self.stdout).trim().to_owned(),
            text => text.to_owned(),
        }
    }
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

/// A command to run; defaults: no standard input, our environment, no limit.
#[derive(Debug, Clone, Default)]
pub struct Run {
    argv: Vec<OsString>,
    input: Option<Vec<u8>>,
    env: Vec<(OsString, OsString)>,
    limit: Option<Duration>,
}

impl Run {
    /// A command; the first word is looked up on `PATH`.
    pub fn new<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self { argv: argv.into_iter().map(|a| a.as_ref().to_owned()).collect(), ..Self::default() }
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

    /// The longest the child may run.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
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
        let program = self.program();
        let fail = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => RunError::Missing(program.clone()),
            _ => RunError::Io { program: program.clone(), source },
        };
        let mut command = Command::new(self.argv.first().cloned().unwrap_or_default());
        command.args(self.argv.iter().skip(1)).envs(self.env.iter().cloned());
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(fail)?;
        let feeder = self.input.map(|bytes| feed(&mut child, bytes));
        let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let status = wait(&mut child, self.limit).map_err(fail)?;
        if let Some(thread) = feeder {
            let _ = thread.join();
        }
        let Some(status) = status else {
            let seconds = self.limit.unwrap_or_default().as_secs_f64();
            return Err(RunError::TimedOut { program, seconds });
        };
        Ok(Output {
            code: exit_code(status),
            stdout: out.join().unwrap_or_default(),
            stderr: err.join().unwrap_or_default(),
        })
    }
}

/// Exit status as one number: `128 + N` for a child ended by signal N.
pub fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn feed(child: &mut Child, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    let pipe = child.stdin.take();
    std::thread::spawn(move || {
        if let Some(mut pipe) = pipe {
            let _ = pipe.write_all(&bytes);
        }
    })
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// `None` when the limit passed; the child is dead and reaped in every case.
fn wait(child: &mut Child, limit: Option<Duration>) -> io::Result<Option<std::process::ExitStatus>> {
    let Some(limit) = limit else {
        return child.wait().map(Some);
    };
    let pidfd =
        rustix::process::pidfd_open(rustix::process::Pid::from_child(child), rustix::process::PidfdFlags::empty())?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let _ = child.kill();
            child.wait()?;
            return Ok(None);
        }
        let timeout =
            rustix::time::Timespec { tv_sec: left.as_secs().min(3600) as i64, tv_nsec: left.subsec_nanos().into() };
        let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        let _ = rustix::event::poll(&mut fds, Some(&timeout));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(matches!(slow, Err(RunError::TimedOut { .. })) && started.elapsed() < Duration::from_secs(5));
    }
}
