//! Signals of the watchdog as something to wait for: no handler ever runs in the middle of anything.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Signal;

/// Tells the worker to close the vault and forget its key.
pub const LOCK: Signal = Signal::USR1;
/// Tells the worker to see whether the vault opens now.
pub const LOOK: Signal = Signal::USR2;

/// What the pending signals ask for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// End everything.
    pub stop: bool,
    /// [`LOCK`] or [`LOOK`], for the worker; the last one counts.
    pub relay: Option<Signal>,
}

/// Blocked signals, readable from a descriptor.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks SIGTERM, SIGINT, SIGHUP, SIGCHLD and the two relayed ones for this thread and opens the descriptor.
    ///
    /// # Errors
    /// The operating system's.
    pub fn block() -> io::Result<Self> {
        // SAFETY: the set is initialised before use; the descriptor is fresh and owned by nobody else.
        unsafe {
            let mut set = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&mut set);
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGCHLD, libc::SIGUSR1, libc::SIGUSR2] {
                libc::sigaddset(&mut set, signal);
            }
            if libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self { fd: OwnedFd::from_raw_fd(fd) })
        }
    }

    /// Makes [`LOCK`] and [`LOOK`] harmless until somebody listens; they would end a process that knows nothing of them.
    pub fn disarm() {
        for signal in [libc::SIGUSR1, libc::SIGUSR2] {
            // SAFETY: ignoring a signal installs no handler.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }

    /// Undoes the blocking; for a forked worker, which has handlers of its own. The relayed signals wait until it has
    /// those, [`Signals::listen`]: as they are ignored until then, they would be lost.
    pub fn unblock() {
        mask(&[LOCK, LOOK]);
    }

    /// Lets the relayed signals through, now that somebody hears them.
    pub fn listen() {
        mask(&[]);
    }

    /// Takes all pending signals.
    pub fn take(&self) -> Taken {
        let mut taken = Taken::default();
        let mut buffer = [0u8; size_of::<libc::signalfd_siginfo>()];
        while rustix::io::read(&self.fd, &mut buffer) == Ok(buffer.len()) {
            let number = u32::from_ne_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
            match i32::try_from(number) {
                Ok(libc::SIGTERM | libc::SIGINT) => taken.stop = true,
                Ok(libc::SIGUSR1) => taken.relay = Some(LOCK),
                Ok(libc::SIGUSR2) => taken.relay = Some(LOOK),
                _ => {}
            }
        }
        taken
    }
}

/// Makes these the only blocked signals of the thread.
fn mask(blocked: &[Signal]) {
    // SAFETY: the set is initialised before use.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        for signal in blocked {
            libc::sigaddset(&mut set, signal.as_raw());
        }
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
