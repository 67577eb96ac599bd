//! The parent that owns the sockets, keeps one worker alive and ends everything with the container.
//!
//! Invariants: one thread, no runtime, almost no memory; the worker cannot outlive it; whatever the reason for the end,
//! the sockets and the pid file of this supervisor are gone afterwards, and nothing else is touched.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use base::fault::Fault;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal, WaitOptions};
use wire::sidecar::Sidecar;

use crate::container::{LOOK_EVERY, Watched};
use crate::diary;
use crate::fault::SupervisorError;
use crate::pidfile::PidFile;
use crate::ready::Teller;
use crate::service::{Endpoint, Service};
use crate::signals::{self, Signals};
use crate::unlock::{self, Signs};
use crate::worker;

/// A worker that has lived this long is healthy again.
const HEALTHY: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a watchdog needs to know.
pub struct Duty {
    /// The sidecar.
    pub sidecar: Sidecar,
    /// The held lock.
    pub pidfile: PidFile,
    /// The container.
    pub container: Watched,
    /// Where to say that services are up.
    pub teller: Teller,
    /// What to serve.
    pub services: Vec<Box<dyn Service>>,
    /// What the vault's files looked like when somebody had it locked; the next worker keeps to that.
    pub locked: Option<Signs>,
}

/// Binds, serves until the container or somebody ends it, and cleans up; the exit status.
pub fn run(mut duty: Duty) -> u8 {
    let mut bound = Vec::new();
    let signals = Signals::block().map_err(SupervisorError::Spawn);
    let code = match signals.and_then(|s| bind(&mut duty, &mut bound).map(|()| s)) {
        Ok(signals) => watch(&mut duty, &bound, &signals),
        Err(error) => {
            duty.teller.failed(&error);
            error.exit_code()
        }
    };
    release(&bound);
    duty.pidfile.remove();
    code
}

/// What is bound goes into `bound` one by one, so that a failure half-way is undone as well.
fn bind(duty: &mut Duty, bound: &mut Vec<Endpoint>) -> Result<(), SupervisorError> {
    for service in &mut duty.services {
        bound.extend(service.bind(duty.container.init())?);
    }
    Ok(())
}

fn release(bound: &[Endpoint]) {
    for endpoint in bound {
        if let Endpoint::Unix(path) = endpoint {
            remove_socket(path);
        }
    }
}

/// Removes a socket of ours. The directory is the container's to write, so anything else of that name is left alone.
pub fn remove_socket(path: &Path) {
    use std::os::unix::fs::FileTypeExt;
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        let _ = std::fs::remove_file(path);
    }
}

enum Happening {
    Stop(&'static str),
    WorkerEnded(i32),
    PauseOver,
}

fn watch(duty: &mut Duty, bound: &[Endpoint], signals: &Signals) -> u8 {
    let mut pauses = Pauses::default();
    let mut first = true;
    loop {
        let started = Instant::now();
        let worker = match fork_worker(duty, bound) {
            Ok(worker) => worker,
            Err(error) => {
                duty.teller.failed(&error);
                return error.exit_code();
            }
        };
        duty.teller.close();
        let mut happening = wait(duty, signals, Some(worker), None);
        if let Happening::WorkerEnded(code) = happening {
            if first && code == i32::from(worker::CANNOT_SERVE) {
                return worker::CANNOT_SERVE;
            }
            let pause = pauses.next(started.elapsed());
            let text = format!("the worker ended with status {code}; next start in {pause:?}");
            diary::say("WARNING", "supervisor", &text);
            happening = wait(duty, signals, None, Some(Instant::now() + pause));
        } else {
            end_worker(worker);
        }
        if let Happening::Stop(why) = happening {
            diary::say("INFO", "supervisor", why);
            return 0;
        }
        first = false;
    }
}

/// Blocks until something is to be done.
fn wait(duty: &mut Duty, signals: &Signals, worker: Option<Pid>, until: Option<Instant>) -> Happening {
    loop {
        let left = until.map(|u| u.saturating_duration_since(Instant::now()));
        let handle = duty.container.handle();
        let look = handle.is_none().then_some(LOOK_EVERY);
        poll(signals.as_fd(), handle.map(AsFd::as_fd), [left, look].into_iter().flatten().min());
        let taken = signals.take();
        if taken.stop {
            return Happening::Stop("asked to stop");
        }
        if let Some(signal) = taken.relay {
            duty.locked = (signal == signals::LOCK).then(|| unlock::signs(&duty.sidecar));
            let _ = worker.map(|worker| rustix::process::kill_process(worker, signal));
        }
        if duty.container.has_ended() {
            return Happening::Stop("the container has ended");
        }
        if let Some(code) = worker.and_then(reap) {
            return Happening::WorkerEnded(code);
        }
        if until.is_some_and(|u| Instant::now() >= u) {
            return Happening::PauseOver;
        }
    }
}

fn poll(signals: BorrowedFd<'_>, container: Option<BorrowedFd<'_>>, limit: Option<Duration>) {
    let mut fds = vec![PollFd::from_borrowed_fd(signals, PollFlags::IN)];
    fds.extend(container.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    let timeout = limit.map(|limit| rustix::time::Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    let _ = rustix::event::poll(&mut fds, timeout.as_ref());
}

/// The worker's status once it has ended; a signal N counts as `128 + N`.
fn reap(worker: Pid) -> Option<i32> {
    match rustix::process::waitpid(Some(worker), WaitOptions::NOHANG) {
        Ok(None) => None,
        Ok(Some((_, status))) => {
            let signal = status.terminating_signal().map(|s| 128 + s);
            Some(status.exit_status().or(signal).unwrap_or(255))
        }
        Err(_) => Some(255),
    }
}

/// Ends the worker and every program that it started: politely, then by force.
fn end_worker(worker: Pid) {
    let me = rustix::process::getpid();
    if rustix::process::getpgid(None) == Ok(me) {
        // Our own copy of the signal stays blocked.
        let _ = rustix::process::kill_process_group(me, Signal::TERM);
    } else {
        let _ = rustix::process::kill_process(worker, Signal::TERM);
    }
    let ended = base::pid::handle(worker.as_raw_nonzero().get())
        .and_then(|handle| base::pid::wait_for_end(&handle, worker::FAREWELL_OF_ALL));
    if !ended.unwrap_or(false) {
        let _ = rustix::process::kill_process(worker, Signal::KILL);
    }
    let _ = rustix::process::waitpid(Some(worker), WaitOptions::empty());
}

fn fork_worker(duty: &mut Duty, bound: &[Endpoint]) -> Result<Pid, SupervisorError> {
    let parent = rustix::process::getpid();
    // SAFETY: this process has one thread, so the child may go on as any program would.
    match unsafe { libc::fork() } {
        -1 => Err(SupervisorError::Spawn(std::io::Error::last_os_error())),
        0 => {
            let code = if crate::harden::die_with(parent) { worker::run(duty, bound) } else { 0 };
            // SAFETY: ends the child without the parent's exit handlers.
            unsafe { libc::_exit(code.into()) }
        }
        pid => Pid::from_raw(pid).ok_or(SupervisorError::Died),
    }
}

/// Pauses between restarts: none, then 1, 2, 4 … 60 seconds; none again after a healthy life.
#[derive(Debug, Default)]
struct Pauses(u32);

impl Pauses {
    fn next(&mut self, lived: Duration) -> Duration {
        if lived >= HEALTHY {
            self.0 = 0;
        }
        self.0 += 1;
        match self.0 {
            1 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 2).min(6)).min(LONGEST_PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_heal() {
        let mut pauses = Pauses::default();
        let brief: Vec<u64> = (0..9).map(|_| pauses.next(Duration::ZERO).as_secs()).collect();
        assert_eq!(brief, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pauses.next(HEALTHY), Duration::ZERO);
        assert_eq!(pauses.next(Duration::ZERO).as_secs(), 1);
    }

    #[test]
    fn only_sockets_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, file) = (dir.path().join("s"), dir.path().join("f"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::fs::write(&file, "").unwrap();
        release(&[Endpoint::Unix(socket.clone()), Endpoint::Unix(file.clone()), Endpoint::Tcp(1)]);
        assert!(!socket.exists() && file.exists());
    }
}
