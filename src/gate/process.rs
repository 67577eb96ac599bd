//! One git process for one request: what it may see, and how it ends.
//!
//! Invariants: it sees no configuration of the operator or the system and no variable of ours; hooks are off; it has a
//! process group of its own, which is told to end when nobody waits for it any more, and killed when it does not; it
//! ends with the thread that started it. A git that receives is first left to find the end of its input and to remove
//! what it received so far, which it does not do after a signal.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use base::ceiling::Ceiling;
use mirror::git::Reach;
use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::places::Place;

/// Between asking a process to end and killing it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much of what git complains about is kept.
const COMPLAINT: usize = 4096;
/// How long a pipe is read on after the process that held it has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Room in the pipes: fewer turns between git and us.
const PIPE: usize = 1024 * 1024;
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Settings of the service, on top of those that hold for every git process here; stronger than the repository's.
const SETTINGS: [(&str, &str); 16] = [
    // The repository is ours by its place; its owner may have another number inside a user namespace.
    ("safe.directory", "*"),
    ("receive.fsckObjects", "true"),
    // Options are taken from clients whose configuration always sends some; no hook is there to read them.
    ("receive.advertisePushOptions", "true"),
    // The mirror's own configuration refuses what loses a tip; here the tip has been kept before git runs.
    mirror::config::AFTER_KEEPING[0],
    mirror::config::AFTER_KEEPING[1],
    // Only branches and tags can be pushed; the last line that fits a name decides.
    ("receive.hideRefs", "refs"),
    ("receive.hideRefs", "!refs/heads"),
    ("receive.hideRefs", "!refs/tags"),
    ("transfer.hideRefs", mirror::refs::PRIVATE),
    // A partial clone asks for single objects later. A client that knows the id of an object gets it, also of a hidden one.
    ("uploadpack.allowFilter", "true"),
    ("uploadpack.allowAnySHA1InWant", "true"),
    // Other filters, and filters together, look at a directory again for each path that leads to it: without end where a
    // few objects stand for 10^8 paths.
    ("uploadpackfilter.allow", "false"),
    ("uploadpackfilter.blob:none.allow", "true"),
    ("uploadpackfilter.blob:limit.allow", "true"),
    ("uploadpackfilter.tree.allow", "true"),
    ("uploadpackfilter.object:type.allow", "true"),
];

/// What a finished process left behind.
#[derive(Debug, Default)]
pub struct Ended {
    /// Its status; `None` when it was told to end.
    pub status: Option<ExitStatus>,
    /// The end of its standard error, fit for a log line.
    pub complaint: String,
}

impl Ended {
    /// True for exit status 0.
    pub fn well(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// Ends the process when it is dropped.
pub struct Leash(oneshot::Sender<ChildStdout>);

impl Leash {
    /// Ends the process, which may write on to `stdout` while it puts things in order.
    pub fn release(self, stdout: ChildStdout) {
        let _ = self.0.send(stdout);
    }
}

/// A running git.
pub struct Process {
    /// Its standard input.
    pub stdin: ChildStdin,
    /// Its standard output.
    pub stdout: ChildStdout,
    /// Completes when it has ended.
    pub end: JoinHandle<Ended>,
    /// Keeps it running.
    pub leash: Leash,
}

/// How much git gives way to what else the host does.
const COURTESY: i32 = 5;

/// For a push that changes many references: git does not write each of them to the disk by itself. A caller that
/// starts git so writes all of them at once, before the client hears the end.
pub const REFERENCES_LATER: &[(&str, &str)] = &[("core.fsync", "objects,derived-metadata,index")];

/// Starts git in `repository`, in `place`, which it holds until it has ended. `protocol` is the version that the client
/// asked for.
///
/// # Errors
/// What the operating system says; `NotFound` when git is not installed.
pub fn start(repository: &Path, arguments: &[&str], protocol: Option<&str>, place: &Place) -> io::Result<Process> {
    start_with(repository, arguments, protocol, place, &[])
}

/// As [`start`], with more `settings`.
///
/// # Errors
/// As [`start`].
pub fn start_with(
    repository: &Path,
    arguments: &[&str],
    protocol: Option<&str>,
    place: &Place,
    settings: &[(&str, &str)],
) -> io::Result<Process> {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(repository).env_clear().envs(environment(settings));
    if let Some(protocol) = protocol {
        command.env("GIT_PROTOCOL", protocol);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let ceiling = Ceiling { memory: Some(place.memory), nice: COURTESY, ..Ceiling::default() };
    let prepare = move || {
        ceiling.apply()?;
        Ok(set_parent_process_death_signal(Some(Signal::TERM))?)
    };
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(prepare) };
    let mut child = command.spawn()?;
    let missing = || io::Error::other("a pipe is missing");
    let stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    // Where the user's share of pipe memory is used up, the pipes stay as they are.
    let _ = rustix::pipe::fcntl_setpipe_size(&stdin, PIPE);
    let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE);
    let (leash, loose) = oneshot::channel();
    let end = tokio::spawn(keep(child, stderr, loose, place.clone()));
    Ok(Process { stdin, stdout, end, leash: Leash(leash) })
}

fn environment(more: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    // Every push here has its old tips kept before git runs, so it may do what the mirror's own settings forbid.
    let settings = SETTINGS.iter().chain(mirror::config::AFTER_KEEPING).chain(more);
    let settings: Vec<_> = settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let mut env = mirror::git::environment(&Reach::Local, &settings);
    if !env.iter().any(|(name, _)| name == "PATH") {
        env.push(("PATH".into(), PATH.into()));
    }
    env.push(("GIT_DIR".into(), ".".into()));
    env
}

/// Waits for the process, or ends it when its leash is gone.
async fn keep(
    mut child: Child,
    stderr: impl AsyncRead + Unpin + Send + 'static,
    loose: oneshot::Receiver<ChildStdout>,
    _place: Place,
) -> Ended {
    let mut listening = tokio::spawn(listen(stderr));
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let status = tokio::select! {
        status = child.wait() => status.ok(),
        released = loose => {
            finish(&mut child, group, released.ok()).await;
            None
        }
    };
    let heard = tokio::time::timeout(LAST_WORDS, &mut listening).await;
    listening.abort();
    let complaint = heard.ok().and_then(Result::ok).unwrap_or_default();
    let complaint = base::text::sanitize_tty(String::from_utf8_lossy(&complaint).trim());
    Ended { status, complaint }
}

async fn finish(child: &mut Child, group: Option<Pid>, stdout: Option<ChildStdout>) {
    let Some(group) = group else { return };
    if let Some(mut stdout) = stdout {
        let mut nowhere = tokio::io::sink();
        let orderly = async { tokio::join!(tokio::io::copy(&mut stdout, &mut nowhere), child.wait()) };
        if tokio::time::timeout(PATIENCE, orderly).await.is_ok() {
            return;
        }
    }
    let _ = kill_process_group(group, Signal::TERM);
    if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
        let _ = kill_process_group(group, Signal::KILL);
        let _ = child.wait().await;
    }
}

/// Reads to the end; the last part of it.
async fn listen(mut stderr: impl AsyncRead + Unpin) -> Vec<u8> {
    let (mut piece, mut kept) = ([0; 1024], Vec::new());
    while let Ok(count @ 1..) = stderr.read(&mut piece).await {
        kept.extend_from_slice(&piece[..count]);
        let surplus = kept.len().saturating_sub(COMPLAINT);
        kept.drain(..surplus);
    }
    kept
}
