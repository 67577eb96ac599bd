//! Starting the daemon from the hook: own session, scrubbed environment, no inherited descriptor except the two it
//! needs, all output in the container's log.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::container::Init;
use crate::daemon::DESCRIPTORS;
use crate::diary;
use crate::fault::SupervisorError;
use crate::harden;
use crate::paths;
use crate::pidfile::PidFile;
use crate::ready;
use crate::sidecarfile::SidecarFile;

/// The daemon's executable that belongs to a hook's: the one beside it.
pub fn daemon_beside(hook: &Path) -> PathBuf {
    hook.with_file_name(base::pid::SUPERVISOR_DAEMON)
}

/// What is to be supervised.
pub struct Order<'a> {
    /// Full id of the container.
    pub container: &'a str,
    /// Its sidecar.
    pub file: &'a SidecarFile,
    /// Its first process.
    pub init: Init,
    /// The path that marks the process.
    pub identity: &'a Path,
    /// The daemon's executable.
    pub program: &'a Path,
}

/// Starts a daemon and waits until it serves; its number and what it serves.
///
/// # Errors
/// The one cause; the daemon is dead then and its pid file gone.
pub fn start(order: &Order<'_>, pidfile: &PidFile) -> Result<(u32, String), SupervisorError> {
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| SupervisorError::Spawn(e.into()))?;
    let read = File::from(read);
    let mut child = launch(order, write.as_raw_fd(), pidfile.as_raw_fd())?;
    drop(write);
    let served = pidfile.write(child.id()).and_then(|()| ready::wait(&read, ready::WAIT));
    match served {
        Ok(served) => Ok((child.id(), served)),
        Err(error) => {
            end(&mut child);
            pidfile.remove();
            Err(error)
        }
    }
}

fn launch(order: &Order<'_>, ready: RawFd, lock: RawFd) -> Result<Child, SupervisorError> {
    let path = paths::container_log(&order.file.root, order.container);
    let log = diary::open(&path).map_err(|source| SupervisorError::Log { path, source })?;
    let copy = log.try_clone().map_err(SupervisorError::Spawn)?;
    let mut command = Command::new(order.program);
    command
        .arg0(order.identity)
        .args([order.container, &order.file.path.to_string_lossy()])
        .arg(order.init.to_string())
        .env_clear()
        .envs(harden::environment(|name| std::env::var(name).ok()))
        .env(DESCRIPTORS, format!("{ready},{lock}"))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(copy);
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(move || detach([ready, lock])) };
    command.spawn().map_err(|source| SupervisorError::Program { path: order.program.to_owned(), source })
}

/// In the child: a session of its own, and nothing open beyond standard streams and `keep` after the exec.
fn detach(keep: [RawFd; 2]) -> std::io::Result<()> {
    rustix::process::setsid()?;
    // SAFETY: numbers only; the descriptors stay open until the exec.
    unsafe {
        if libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        for fd in keep {
            if libc::fcntl(fd, libc::F_SETFD, 0) != 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

/// A daemon that failed ends by itself; one that hangs is killed with its group.
fn end(child: &mut Child) {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let handle = pid.and_then(|pid| base::pid::handle(pid.as_raw_nonzero().get()).ok());
    let ended = handle.map(|h| base::pid::wait_for_end(&h, Duration::from_millis(100)));
    if !matches!(ended, Some(Ok(true))) {
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
        let _ = child.kill();
    }
    let _ = child.wait();
}
