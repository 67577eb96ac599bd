//! Processes of which only the number is known: who they are, since when, and how to end them without hitting another.
//!
//! Invariants: a number below 1 is never probed or signalled; a signal goes only to a process whose command line proves
//! that it supervises the container in question; a number that was given to somebody else in the meantime counts as gone.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};

/// File name that the command line of every supervisor carries, also of those started by older versions.
pub const SUPERVISOR_IDENTITY: &str = "supervisor_wrapper.py";

/// File name of the executable that supervises; the small one that podman's hooks call lies beside it.
pub const SUPERVISOR_DAEMON: &str = "terok-supervisord";

/// The arguments of a live process; `None` when it is gone, a zombie, or out of sight.
pub fn command_line(pid: i32) -> Option<Vec<String>> {
    let raw = std::fs::read(format!("/proc/{}/cmdline", positive(pid)?)).ok()?;
    let text = String::from_utf8_lossy(raw.strip_suffix(b"\0").unwrap_or(&raw)).into_owned();
    (!text.is_empty()).then(|| text.split('\0').map(str::to_owned).collect())
}

/// When a process began, in clock ticks since boot; `None` when it is gone or a zombie.
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", positive(pid)?)).ok()?;
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// True when the process is alive and supervises this container.
///
/// A container's own process can give itself any command line, but it lives in another pid namespace.
pub fn supervises(pid: i32, container: &str) -> bool {
    command_line(pid).is_some_and(|arguments| is_supervisor_of(&arguments, container)) && !is_contained(pid)
}

/// True for a process in a pid namespace below ours.
fn is_contained(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    depth(&status) > 1
}

/// In how many pid namespaces, from ours down, the process of this status has a number. Old kernels do not report it.
fn depth(status: &str) -> usize {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.map_or(0, |numbers| numbers.split_ascii_whitespace().count())
}

fn is_supervisor_of(arguments: &[String], container: &str) -> bool {
    let identity = |a: &String| a.rsplit('/').next() == Some(SUPERVISOR_IDENTITY);
    arguments.iter().any(identity) && arguments.iter().any(|a| a == container)
}

/// Opens a handle that keeps naming the same process even when its number is reused.
///
/// # Errors
/// `ESRCH` when it is gone, `ENOSYS` on kernels without the call.
pub fn handle(pid: i32) -> io::Result<OwnedFd> {
    let pid = positive(pid).and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Waits until the process behind a handle has ended; false when the limit passed.
///
/// # Errors
/// The operating system's.
pub fn wait_for_end(handle: &OwnedFd, limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = rustix::time::Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [rustix::event::PollFd::new(handle, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends a container's supervisor: the polite signal, up to `grace`, then the whole process group by force.
///
/// True when a supervisor was there. A process that is something else is left alone.
///
/// # Errors
/// The operating system's, for example when the signal is not permitted.
pub fn end_supervisor(pid: i32, container: &str, grace: Duration) -> io::Result<bool> {
    let Some(handle) = supervisor(pid, container)? else { return Ok(false) };
    if !grace.is_zero() {
        match rustix::process::pidfd_send_signal(&handle, Signal::TERM) {
            Err(rustix::io::Errno::SRCH) => return Ok(true),
            other => other?,
        }
        if wait_for_end(&handle, grace)? {
            return Ok(true);
        }
    }
    kill_group(pid, &handle)?;
    wait_for_end(&handle, Duration::from_secs(1)).map(|_| true)
}

/// Sends a signal to the supervisor of a container; false when there is none.
///
/// # Errors
/// The operating system's, for example when the signal is not permitted.
pub fn signal_supervisor(pid: i32, container: &str, signal: Signal) -> io::Result<bool> {
    let Some(handle) = supervisor(pid, container)? else { return Ok(false) };
    match rustix::process::pidfd_send_signal(&handle, signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A handle on the supervisor of a container; none when the process is gone or something else.
fn supervisor(pid: i32, container: &str) -> io::Result<Option<OwnedFd>> {
    match handle(pid) {
        // The identity is read after the handle was taken, so it is the identity of that very process.
        Ok(handle) => Ok(supervises(pid, container).then_some(handle)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A group exists only when the process made one; older supervisors are at least killed themselves.
fn kill_group(pid: i32, handle: &OwnedFd) -> io::Result<()> {
    let group = Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH)?;
    if rustix::process::getpgid(Some(group)) == Ok(group) {
        match rustix::process::kill_process_group(group, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    match rustix::process::pidfd_send_signal(handle, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn positive(pid: i32) -> Option<i32> {
    (pid > 0).then_some(pid)
}

/// True for the error of a process that no longer exists.
pub fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    fn sleeper(arguments: [&str; 2]) -> std::process::Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 30; :", arguments[0], arguments[1]]).stdin(Stdio::null()).process_group(0);
        command.spawn().unwrap()
    }

    #[test]
    fn identity_needs_both_arguments_whole() {
        let line = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (text, expected) in [
            ("python3 /s/supervisor_wrapper.py abc /x", true),
            ("/s/supervisor_wrapper.py abc /x 12:3", true),
            ("/s/supervisor_wrapper.py abcd /x", false),
            ("/s/not_supervisor_wrapper.py abc", false),
            ("vi abc", false),
        ] {
            assert_eq!(is_supervisor_of(&line(text), "abc"), expected, "{text}");
        }
    }

    // holds: supervision-proof-real
    #[test]
    fn process_of_a_container_is_told_by_its_numbers() {
        assert_eq!(depth("Name:\tx\nNSpid:\t4711\t7\nNSpgid:\t1\t1\t1\n"), 2);
        assert_eq!(depth("Name:\tx\nNSpid:\t4711\n"), 1);
        assert_eq!(depth("Name:\tx\n"), 0);
        assert!(!is_contained(std::process::id().cast_signed()));
    }

    #[test]
    fn a_supervisor_is_ended_with_its_group() {
        let mut child = sleeper(["/s/supervisor_wrapper.py", "cid"]);
        let pid = i32::try_from(child.id()).unwrap();
        while !supervises(pid, "cid") {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(start_time(pid).is_some());
        assert!(end_supervisor(pid, "cid", Duration::ZERO).unwrap());
        assert!(!child.wait().unwrap().success());
        assert_eq!(start_time(pid), None);
        assert!(!end_supervisor(pid, "cid", Duration::ZERO).unwrap());
    }

    #[test]
    fn strangers_and_odd_numbers_are_left_alone() {
        let mut child = sleeper(["/s/supervisor_wrapper.py", "other"]);
        let pid = i32::try_from(child.id()).unwrap();
        assert!(!end_supervisor(pid, "cid", Duration::ZERO).unwrap());
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        for odd in [0, -1] {
            assert!(!end_supervisor(odd, "cid", Duration::ZERO).unwrap());
            assert!(command_line(odd).is_none() && start_time(odd).is_none());
        }
    }
}
