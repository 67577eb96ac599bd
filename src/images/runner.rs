//! A long build as a child process: its output reaches the reader at once, its end is explained.
//!
//! Invariants: what the child prints is passed on unchanged and in order; the last part of it is kept so that a failure
//! can be named; a caller that gives up gets the child ended and reaped.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::ImageError;
use crate::argv::Build;
use crate::ending;

/// How often a watch is asked.
const TICK: Duration = Duration::from_millis(100);
/// How much of the output is kept for an explanation, in bytes.
const KEEP: usize = 64 << 10;
/// Longest line that is told whole, and what is told of the beginning of a longer one, in characters.
const TOLD: usize = 400;
const HEAD: usize = 120;

/// Variables that change how podman builds, and that no option of ours replaces.
const BUILDAH: [&str; 3] = ["BUILDAH_FORMAT", "BUILDAH_ISOLATION", "BUILDAH_RUNTIME"];

/// Where progress goes.
pub struct Output<'a> {
    /// For our own lines, and for the child's when it does not inherit.
    pub writer: &'a mut dyn Write,
    /// The child writes to our standard output and error itself.
    pub inherit: bool,
    /// Asked several times a second; true gives the build up. With a watch it alone does: the child is in a process group
    /// of its own, so that Ctrl-C on a terminal does not end it before it has cleaned up.
    pub watch: Option<podman::Watch<'a>>,
}

impl<'a> Output<'a> {
    /// Everything to a writer.
    pub fn to(writer: &'a mut dyn Write) -> Self {
        Self { writer, inherit: false, watch: None }
    }

    /// One line of our own.
    ///
    /// # Errors
    /// [`ImageError::Run`] when it cannot be written.
    pub fn line(&mut self, text: &str) -> Result<(), ImageError> {
        let written = writeln!(self.writer, "{text}").and_then(|()| self.writer.flush());
        written.map_err(|source| ImageError::Run { program: "standard output".into(), source })
    }
}

/// What a child left behind.
pub struct Ended {
    /// Exit status, `128 + N` after signal N.
    pub code: i32,
    /// The end of what it printed; only its error output when it inherited.
    pub tail: String,
}

/// Runs one build to its end.
///
/// # Errors
/// [`ImageError::PodmanMissing`], [`ImageError::Run`], [`ImageError::Interrupted`], or why the build failed.
pub fn build(podman: &podman::Podman, build: &Build, output: &mut Output<'_>) -> Result<(), ImageError> {
    let argv = build.argv();
    let program = podman.program().to_string_lossy().into_owned();
    let shown: Vec<String> = std::iter::once("podman".to_owned()).chain(argv.iter().cloned()).collect();
    output.line(&format!("$ {}", base::text::redact_userinfo(&base::text::command_line(&shown))))?;
    let mut command = podman.command();
    command.args(&argv);
    for variable in BUILDAH {
        command.env_remove(variable);
    }
    if let Some(folder) = private_cache_folder(Path::new("/var/tmp")) {
        command.env("TMPDIR", folder);
    }
    let ended = run(command, output).map_err(|fault| match fault {
        Stopped::GivenUp => ImageError::Interrupted(build.tag.clone()),
        Stopped::Io(error) if error.kind() == io::ErrorKind::NotFound => ImageError::PodmanMissing(program.clone()),
        Stopped::Io(source) => ImageError::Run { program: program.clone(), source },
    })?;
    if ended.code == 0 { Ok(()) } else { Err(explain(&build.tag, &ended)) }
}

/// The builder keeps its download caches in one folder of the machine, which belongs to whoever built first. Everybody
/// else would fail with a refused permission, so they get a folder of their own.
fn private_cache_folder(shared: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    if std::env::var_os("TMPDIR").is_some() {
        return None;
    }
    let uid = base::user::effective_uid();
    let owner = std::fs::symlink_metadata(shared.join("buildah-cache")).ok()?.uid();
    if owner == uid || uid == 0 {
        return None;
    }
    let own = shared.join(format!("terok-build-{uid}"));
    let _ = std::fs::DirBuilder::new().mode(0o700).create(&own);
    let meta = std::fs::symlink_metadata(&own).ok()?;
    (meta.is_dir() && meta.uid() == uid).then_some(own)
}

/// Why a child did not come to its own end.
pub enum Stopped {
    /// The watch said so.
    GivenUp,
    /// It could not be run, or its output could not be passed on.
    Io(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Runs a command without input and passes its output on.
///
/// # Errors
/// [`Stopped`].
pub fn run(mut command: Command, output: &mut Output<'_>) -> Result<Ended, Stopped> {
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command.stdout(if output.inherit { Stdio::inherit() } else { Stdio::piped() });
    if output.watch.is_some() {
        command.process_group(0);
    }
    let mut child = command.spawn()?;
    let (sender, chunks) = channel();
    if let Some(pipe) = child.stdout.take() {
        forward(pipe, sender.clone());
    }
    if let Some(pipe) = child.stderr.take() {
        forward(pipe, sender);
    }
    let mut tail = Vec::new();
    match pass_on(&chunks, output, &mut tail) {
        Ok(()) => {
            let status = child.wait()?;
            Ok(Ended { code: base::process::exit_code(status), tail: String::from_utf8_lossy(&tail).into_owned() })
        }
        Err(stopped) => {
            ending::end(&mut child);
            Err(stopped)
        }
    }
}

/// Passes a pipe on as it comes, in whole characters: what the other pipe says must not come between the halves of one.
fn forward(mut pipe: impl Read + Send + 'static, sender: Sender<Vec<u8>>) {
    thread::spawn(move || {
        let (mut buffer, mut kept) = ([0_u8; 8192], 0);
        loop {
            let read = match pipe.read(&mut buffer[kept..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.unwrap_or(0),
            };
            let filled = kept + read;
            let whole = if read == 0 { filled } else { whole_characters(&buffer[..filled]) };
            if whole > 0 && sender.send(buffer[..whole].to_vec()).is_err() || read == 0 {
                return;
            }
            buffer.copy_within(whole..filled, 0);
            kept = filled - whole;
        }
    });
}

/// How many bytes there are before a character at the end of which not all has come yet.
fn whole_characters(bytes: &[u8]) -> usize {
    let is_start = |at: &usize| bytes[*at] & 0xc0 != 0x80;
    let last = (bytes.len().saturating_sub(4)..bytes.len()).rev().find(is_start);
    let is_open = |at: &usize| std::str::from_utf8(&bytes[*at..]).is_err_and(|error| error.error_len().is_none());
    last.filter(is_open).unwrap_or(bytes.len())
}

fn pass_on(chunks: &Receiver<Vec<u8>>, output: &mut Output<'_>, tail: &mut Vec<u8>) -> Result<(), Stopped> {
    let mut asked = Instant::now();
    loop {
        match chunks.recv_timeout(TICK) {
            Ok(chunk) => {
                if output.inherit {
                    io::stderr().write_all(&chunk)?;
                } else {
                    output.writer.write_all(&chunk)?;
                    output.writer.flush()?;
                }
                tail.extend_from_slice(&chunk);
                let excess = tail.len().saturating_sub(KEEP);
                tail.drain(..excess);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if asked.elapsed() >= TICK {
            asked = Instant::now();
            if output.watch.is_some_and(|wanted| wanted()) {
                return Err(Stopped::GivenUp);
            }
        }
    }
}

/// The most helpful fault for a failed build.
pub fn explain(tag: &str, ended: &Ended) -> ImageError {
    let (tag, code) = (tag.to_owned(), ended.code);
    let lines: Vec<&str> = ended.tail.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let find = |marks: &[&str]| lines.iter().rev().find(|l| mentions(l, marks)).map(|l| clean(l));
    if find(&["no space left on device", "enospc", "disk quota exceeded", "enough free space"]).is_some() {
        return ImageError::NoSpace { tag, code };
    }
    let registry = [
        "did not resolve to an alias",
        "pinging container registry",
        "initializing source docker://",
        "reading manifest",
        "unable to copy from source docker://",
    ];
    if let Some(complaint) = find(&registry) {
        return ImageError::Registry { tag, code, complaint };
    }
    let own = lines.iter().rev().find_map(|l| l.strip_prefix("terok: ")).map(clean);
    let network = [
        "temporary failure resolving",
        "could not resolve",
        "getaddrinfo",
        "enotfound",
        "econnrefused",
        "etimedout",
        "econnreset",
        "failed to establish a new connection",
        "name or service not known",
        "certificate verify failed",
        "unable_to_verify_leaf_signature",
        "self_signed_cert_in_chain",
        "self-signed certificate",
        "unable to get local issuer certificate",
        "network is unreachable",
    ];
    match (own, find(&network)) {
        (Some(complaint), _) => ImageError::Failed { tag, code, complaint },
        (None, Some(complaint)) => ImageError::Network { tag, code, complaint },
        (None, None) => {
            let complaint = lines.last().map_or_else(|| "podman printed no reason".to_owned(), |l| clean(l));
            ImageError::Failed { tag, code, complaint }
        }
    }
}

fn mentions(line: &str, marks: &[&str]) -> bool {
    let line = line.to_lowercase();
    marks.iter().any(|mark| line.contains(mark))
}

/// One line for a message. Of a long one the beginning and more of the end: that is where podman puts the reason.
fn clean(line: &str) -> String {
    let line = base::text::sanitize_tty(&base::text::redact_userinfo(line));
    let length = line.chars().count();
    if length <= TOLD {
        return line;
    }
    let head: String = line.chars().take(HEAD).collect();
    let end: String = line.chars().skip(length - (TOLD - HEAD)).collect();
    format!("{head} ... {end}")
}

/// True when a program can be found: a path that can be executed, or a name on `PATH`.
pub fn on_path(program: &std::ffi::OsStr) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let runs = |path: &Path| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if Path::new(program).components().count() > 1 {
        return runs(Path::new(program));
    }
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| runs(&folder.join(program))))
}
