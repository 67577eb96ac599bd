//! A process that looks like a container's supervisor, for tests.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Duration;

use crate::spec::Place;

/// Full identifier of the container that [`Supervisor`] supervises.
pub const CONTAINER_ID: &str = "0123abcd";

/// A process with a supervisor's command line and pid file; ended when dropped.
pub struct Supervisor {
    child: Child,
    pid_file: std::path::PathBuf,
}

impl Supervisor {
    /// Starts one for a container that serves nothing.
    pub fn start(place: &Place, container: &str) -> Self {
        Self::spawn(place, container, None)
    }

    /// Starts one that counts as the listener of a socket; the caller accepts connections.
    pub fn listening(place: &Place, container: &str, socket: &UnixListener) -> Self {
        Self::spawn(place, container, Some(socket.as_raw_fd()))
    }

    fn spawn(place: &Place, container: &str, socket: Option<i32>) -> Self {
        let identity = place.state_dir.join(base::pid::SUPERVISOR_IDENTITY);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "sleep 60; :"]).arg(identity).arg(CONTAINER_ID).arg(place.sidecar(container));
        if let Some(socket) = socket {
            // SAFETY: one system call between fork and exec; the descriptor is open in the parent until then.
            unsafe {
                shell.pre_exec(move || {
                    let socket = std::os::fd::BorrowedFd::borrow_raw(socket);
                    Ok(rustix::net::listen(socket, 8)?)
                });
            }
        }
        let child = shell.process_group(0).spawn().unwrap();
        let pids = place.state_dir.join("pids");
        std::fs::create_dir_all(&pids).unwrap();
        let pid_file = pids.join(format!("supervisor-{CONTAINER_ID}.pid"));
        std::fs::write(&pid_file, format!("{}\n", child.id())).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        while !base::pid::supervises(pid, CONTAINER_ID) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Self { child, pid_file }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        base::pid::end_supervisor(pid, CONTAINER_ID, Duration::ZERO).unwrap();
        self.child.wait().unwrap();
        let _ = std::fs::remove_file(&self.pid_file);
    }
}
