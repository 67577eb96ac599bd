//! The pipe by which a daemon tells the hook that its sockets are bound, or why it will not serve.
//!
//! One line: `ready <what is served>` or `failed <exit status> <cause>`. The end of the pipe without a line means that
//! the daemon died.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use base::fault::Fault;
use rustix::event::{PollFd, PollFlags};

use crate::diary;
use crate::fault::SupervisorError;

/// How long a hook waits for its daemon.
pub const WAIT: Duration = Duration::from_secs(5);
const LINE_LIMIT: usize = 4096;

/// The daemon's end; without a hook there is no pipe, and the words go to standard error.
#[derive(Debug)]
pub struct Teller(Option<File>);

impl Teller {
    /// The end that a hook left open for us, or none.
    pub fn new(fd: Option<RawFd>) -> Self {
        Self(fd.map(|fd| {
            // SAFETY: the number comes from the hook that started us, which left the descriptor open for us alone.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            let _ = rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC);
            File::from(fd)
        }))
    }

    /// Services are up; says so once.
    pub fn ready(&mut self, served: &str) {
        diary::say("INFO", "supervisor", &format!("serving {served}"));
        if let Some(mut pipe) = self.0.take() {
            let _ = pipe.write_all(format!("ready {served}\n").as_bytes());
        }
    }

    /// There will be no service; the hook writes the cause into the logs.
    pub fn failed(&mut self, error: &SupervisorError) {
        match self.0.take() {
            Some(mut pipe) => {
                let text = format!("failed {} {}\n", error.exit_code(), error.one_line());
                let _ = pipe.write_all(text.as_bytes());
            }
            None => diary::say("ERROR", "supervisor", &error.one_line()),
        }
    }

    /// Closes this process's copy: the other side then sees the end when the last copy goes.
    pub fn close(&mut self) {
        self.0 = None;
    }
}

/// Waits for the daemon's line; what it serves.
///
/// # Errors
/// [`SupervisorError::Reported`], [`SupervisorError::Died`] or [`SupervisorError::Slow`].
pub fn wait(pipe: &File, limit: Duration) -> Result<String, SupervisorError> {
    let deadline = Instant::now() + limit;
    let mut line = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match readable(pipe, left) {
            Ok(true) => {}
            Ok(false) => return Err(SupervisorError::Slow(limit.as_secs())),
            Err(error) => return Err(SupervisorError::Spawn(error)),
        }
        let mut chunk = [0u8; 512];
        let count = (&*pipe).read(&mut chunk).map_err(SupervisorError::Spawn)?;
        line.extend_from_slice(&chunk[..count]);
        if count == 0 || line.ends_with(b"\n") || line.len() > LINE_LIMIT {
            return understand(&String::from_utf8_lossy(&line));
        }
    }
}

fn readable(pipe: &File, limit: Duration) -> io::Result<bool> {
    let timeout = rustix::time::Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    let mut fds = [PollFd::new(pipe, PollFlags::IN)];
    match rustix::event::poll(&mut fds, Some(&timeout)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn understand(line: &str) -> Result<String, SupervisorError> {
    let line = line.trim_end();
    if let Some(served) = line.strip_prefix("ready ") {
        return Ok(served.to_owned());
    }
    let failure = line.strip_prefix("failed ").and_then(|rest| rest.split_once(' '));
    match failure.and_then(|(code, text)| Some((code.parse().ok()?, text.to_owned()))) {
        Some((code, text)) => Err(SupervisorError::Reported { text, code }),
        None => Err(SupervisorError::Died),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::IntoRawFd;

    fn pipe() -> (File, RawFd) {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        (read.into(), write.into_raw_fd())
    }

    #[test]
    fn all_four_endings() {
        let (read, write) = pipe();
        Teller::new(Some(write)).ready("vault.sock");
        assert_eq!(wait(&read, WAIT).unwrap(), "vault.sock");

        let (read, write) = pipe();
        Teller::new(Some(write)).failed(&SupervisorError::Usage("x".into()));
        let error = wait(&read, WAIT).unwrap_err();
        assert_eq!((error.exit_code(), error.to_string()), (2, "cannot understand the arguments: x".into()));

        let (read, write) = pipe();
        drop(Teller::new(Some(write)));
        assert!(matches!(wait(&read, WAIT), Err(SupervisorError::Died)));

        let (read, write) = pipe();
        let _open = Teller::new(Some(write));
        let slow = wait(&read, Duration::from_millis(20));
        assert!(matches!(slow, Err(SupervisorError::Slow(_))));
    }
}
