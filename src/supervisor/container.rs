//! The container's first process, watched until it ends.
//!
//! Invariants: the number alone is never trusted; it counts only together with the start time, so that a reused number
//! is "ended". Where the kernel has no process handles, the start time is looked at every two seconds.

use std::os::fd::OwnedFd;
use std::time::Duration;

use base::process::Run;

use crate::fault::SupervisorError;
use crate::paths::short;

/// How often to look where there are no process handles.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);
const PODMAN_LIMIT: Duration = Duration::from_secs(20);

/// Number and start time of a container's first process; written `pid:start` in the daemon's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Init {
    /// The process number.
    pub pid: i32,
    /// Clock ticks since boot.
    pub start: u64,
}

impl Init {
    /// The live process with this number; `None` when there is none.
    pub fn of(pid: i32) -> Option<Self> {
        base::pid::start_time(pid).map(|start| Self { pid, start })
    }

    /// Reads the `pid:start` form.
    pub fn parse(text: &str) -> Option<Self> {
        let (pid, start) = text.split_once(':')?;
        Some(Self { pid: pid.parse().ok().filter(|p| *p > 0)?, start: start.parse().ok()? })
    }

    /// Asks podman, for a supervisor that a person starts.
    ///
    /// # Errors
    /// [`SupervisorError::Container`].
    pub fn ask_podman(container: &str) -> Result<Self, SupervisorError> {
        let failed = |why: String| SupervisorError::Container { container: container.to_owned(), why };
        let argv = ["podman", "inspect", "--type", "container", "--format", "{{.State.Pid}}", "--", container];
        let output = Run::new(argv).limit(PODMAN_LIMIT).output();
        let output = output.map_err(|e| failed(e.to_string()))?;
        if !output.ok() {
            return Err(failed(output.complaint()));
        }
        let pid = output.text().trim().parse().unwrap_or(0);
        Self::of(pid).ok_or_else(|| failed("it is not running".into()))
    }

    /// True as long as this very process lives.
    pub fn is_alive(self) -> bool {
        base::pid::start_time(self.pid) == Some(self.start)
    }
}

impl std::fmt::Display for Init {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.pid, self.start)
    }
}

/// A container under watch.
#[derive(Debug)]
pub struct Watched {
    init: Init,
    handle: Option<OwnedFd>,
}

impl Watched {
    /// Begins to watch.
    ///
    /// # Errors
    /// [`SupervisorError::Container`] when the process has ended already.
    pub fn new(init: Init, container: &str) -> Result<Self, SupervisorError> {
        // The handle first, the check second: a handle on a reused number is seen by its start time.
        let handle = base::pid::handle(init.pid).ok();
        if !init.is_alive() {
            return Err(SupervisorError::Container {
                container: short(container).to_owned(),
                why: "its first process has ended".into(),
            });
        }
        Ok(Self { init, handle })
    }

    /// Its first process.
    pub fn init(&self) -> Init {
        self.init
    }

    /// The handle, readable once the process has ended.
    pub fn handle(&self) -> Option<&OwnedFd> {
        self.handle.as_ref()
    }

    /// True once the process has ended. By the handle where there is one: it needs no further descriptor, and it knows
    /// a process whose first thread alone has ended.
    pub fn has_ended(&self) -> bool {
        match &self.handle {
            Some(handle) => base::pid::wait_for_end(handle, Duration::ZERO).unwrap_or(false),
            None => !self.init.is_alive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_reused_number_is_an_ended_container() {
        let me = Init::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(me.is_alive() && Watched::new(me, "c").is_ok());
        assert_eq!(Init::parse(&me.to_string()), Some(me));
        let other = Init { start: me.start + 1, ..me };
        assert!(!other.is_alive() && Watched::new(other, "c").is_err());
        for bad in ["", "1", "0:5", "-1:5", "a:b", "5:"] {
            assert_eq!(Init::parse(bad), None, "{bad}");
        }
    }

    // improves: 21-7.7-container-end
    #[test]
    fn the_end_is_seen() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let init = Init::of(i32::try_from(child.id()).unwrap()).unwrap();
        let watched = Watched::new(init, "c").unwrap();
        assert!(!watched.has_ended());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(watched.has_ended());
        let handle = watched.handle().expect("this kernel has process handles");
        assert!(base::pid::wait_for_end(handle, Duration::from_secs(1)).unwrap());
    }

    #[test]
    fn a_process_lives_longer_than_its_first_thread() {
        let (mut here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        // SAFETY: the child only reads a byte, starts a thread that sleeps, and ends its first one.
        let pid = match unsafe { libc::fork() } {
            0 => {
                let mut byte = [0];
                let _ = (&there).read(&mut byte);
                std::thread::spawn(|| std::thread::sleep(Duration::from_secs(60)));
                // SAFETY: ends this thread and nothing else.
                unsafe { libc::syscall(libc::SYS_exit, 0) };
                unreachable!("the thread has ended")
            }
            pid => pid,
        };
        let init = Init::of(pid).unwrap();
        let watched = Watched::new(init, "c").unwrap();
        here.write_all(b"x").unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while init.is_alive() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(!init.is_alive() && !watched.has_ended(), "its entry says zombie, and it is none");
        // SAFETY: our own child, reaped right here.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, std::ptr::null_mut(), 0);
        }
        assert!(watched.has_ended());
    }
}
