//! The conversation with one child: feed it, hear both its pipes, notice its end, on one thread.
//!
//! Invariants: nobody waits for a pipe that a stranger inherited and keeps open after the child ended; a child that is
//! put down gets the chance to remove its own lock files first.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};

use crate::process::Watch;

/// How often a watcher is asked when nothing happens.
const TICK: Duration = Duration::from_millis(100);
/// How long pipes may stay open after the child's end.
const LINGER: Duration = Duration::from_secs(1);
/// How long a child may take to clean up after itself.
const GRACE: Duration = Duration::from_secs(2);

/// How a conversation ended.
pub(crate) enum End {
    /// The child ended by itself.
    Done(ExitStatus),
    /// A limit passed.
    Slow(Duration),
    /// It printed more than we keep.
    Flood,
    /// The watcher had enough.
    Unwanted,
}

/// What a child may take.
pub(crate) struct Bounds {
    /// Time altogether.
    pub(crate) limit: Option<Duration>,
    /// Time without a word.
    pub(crate) silence: Option<Duration>,
    /// Bytes of output, both streams together.
    pub(crate) most: usize,
}

/// A pipe's read end and what came out of it.
struct Ear<R> {
    pipe: Option<R>,
    heard: Vec<u8>,
}

impl<R: Read + AsFd> Ear<R> {
    fn new(pipe: Option<R>) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self { pipe, heard: Vec::new() })
    }

    /// Takes what is there, up to a little more than `most` bytes; the new bytes.
    fn listen(&mut self, most: usize) -> io::Result<&[u8]> {
        let start = self.heard.len();
        let mut buffer = [0; 65536];
        // A child that never stops talking must not keep us from looking at the clock.
        for _ in 0..32 {
            let Some(pipe) = self.pipe.as_mut().filter(|_| self.heard.len() <= most) else { break };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.heard[start..])
    }
}

/// Runs the conversation to its end; the child is still there unless the answer is [`End::Done`].
pub(crate) fn converse(
    child: &mut Child,
    input: Option<Vec<u8>>,
    bounds: &Bounds,
    watch: Watch<'_>,
) -> io::Result<(End, Vec<u8>, Vec<u8>)> {
    let pidfd = rustix::process::pidfd_open(Pid::from_child(child), rustix::process::PidfdFlags::empty())?;
    let (mut out, mut err) = (Ear::new(child.stdout.take())?, Ear::new(child.stderr.take())?);
    let mut mouth = child.stdin.take().zip(input).map(|(pipe, bytes)| (pipe, bytes, 0));
    if let Some((pipe, ..)) = &mouth {
        rustix::io::ioctl_fionbio(pipe, true)?;
    }
    let started = Instant::now();
    let (mut last_word, mut ended) = (started, None::<(ExitStatus, Instant)>);
    loop {
        let new_out = !out.listen(bounds.most)?.is_empty();
        let said = err.listen(bounds.most)?;
        let spoke = new_out || !said.is_empty();
        let wanted = watch(said);
        mouth = mouth.and_then(speak);
        if out.heard.len() + err.heard.len() > bounds.most {
            return Ok((End::Flood, Vec::new(), Vec::new()));
        }
        if let Some((status, since)) = ended {
            if (out.pipe.is_none() && err.pipe.is_none()) || since.elapsed() > LINGER {
                return Ok((End::Done(status), out.heard, err.heard));
            }
        } else if let Some(status) = child.try_wait()? {
            ended = Some((status, Instant::now()));
            continue;
        } else if !wanted {
            return Ok((End::Unwanted, out.heard, err.heard));
        }
        if spoke {
            last_word = Instant::now();
        }
        if ended.is_none() {
            let late = |limit: Option<Duration>, since: Instant| limit.filter(|limit| since.elapsed() >= *limit);
            if let Some(limit) = late(bounds.limit, started).or(late(bounds.silence, last_word)) {
                return Ok((End::Slow(limit), out.heard, err.heard));
            }
        }
        let ears = [out.pipe.as_ref().map(AsFd::as_fd), err.pipe.as_ref().map(AsFd::as_fd)];
        wait(ended.is_none().then(|| pidfd.as_fd()), ears, mouth.as_ref().map(|(pipe, ..)| pipe.as_fd()))?;
    }
}

type Mouth = (std::process::ChildStdin, Vec<u8>, usize);

/// Writes what the pipe takes; `None` when everything is said or nobody listens.
fn speak((mut pipe, bytes, mut done): Mouth) -> Option<Mouth> {
    loop {
        match pipe.write(&bytes[done..]) {
            Ok(_) if done == bytes.len() => return None,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some((pipe, bytes, done)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// Sleeps until something happens, a tick at most.
fn wait(
    life: Option<BorrowedFd<'_>>,
    ears: [Option<BorrowedFd<'_>>; 2],
    mouth: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(4);
    fds.extend(
        life.into_iter().chain(ears.into_iter().flatten()).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
    );
    fds.extend(mouth.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)));
    let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
    match poll(&mut fds, Some(&tick)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Ends and reaps a child: one that leads a session is asked first, and everything in its group goes with it.
pub(crate) fn put_down(child: &mut Child, group: bool) {
    if group {
        let pid = Pid::from_child(child);
        let _ = rustix::process::kill_process_group(pid, Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}
