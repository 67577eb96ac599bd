//! A container's output: which lines are asked for, and how they are kept.
//!
//! An archive is complete or the older one stays: it is written next to its place and moved there at the end. It is fit
//! for a terminal, because users read it with any program.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::call::{Podman, Watch};
use crate::fault::PodmanError;

/// Which lines of a container's output are wanted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LogChoice {
    /// Stay until the container ends.
    pub follow: bool,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail: Option<u64>,
    /// Only lines after this time; empty means all.
    pub since: Option<String>,
}

/// Arguments of `podman logs`, in podman's documented order.
pub fn logs_args(name: &str, choice: &LogChoice) -> Vec<String> {
    let mut args = vec!["logs".to_owned()];
    if choice.follow {
        args.push("-f".into());
    }
    if choice.timestamps {
        args.push("--timestamps".into());
    }
    if let Some(tail) = choice.tail {
        args.extend(["--tail".into(), tail.to_string()]);
    }
    if let Some(since) = choice.since.as_deref().filter(|s| !s.is_empty()) {
        args.extend(["--since".into(), since.to_owned()]);
    }
    args.push(name.to_owned());
    args
}

impl Podman {
    /// What the container has printed so far: standard output, then standard error.
    ///
    /// # Errors
    /// [`PodmanError`] when podman is missing or knows no such container.
    pub fn logs(&self, name: &str, choice: &LogChoice, watch: Option<Watch<'_>>) -> Result<String, PodmanError> {
        let output = self.call("read the output of", name, logs_args(name, choice)).watch(watch).success()?;
        Ok(output.text() + &String::from_utf8_lossy(&output.stderr))
    }

    /// Keeps everything the container has printed, both streams, in the file `target`; false when that did not work,
    /// and then an older file of that name is untouched.
    pub fn capture_logs(&self, name: &str, target: &Path, timestamps: bool, limit: Option<Duration>) -> bool {
        let raw = || Part::beside(target);
        let (Ok(raw), Ok(clean)) = (raw(), raw()) else { return false };
        let choice = LogChoice { timestamps, ..LogChoice::default() };
        let call = self.call("read the output of", name, logs_args(name, &choice)).limit(limit);
        let kept = raw.file.try_clone().is_ok_and(|file| call.into_file(file).output().is_ok_and(|output| output.ok()));
        kept && clean_copy(&raw.file, &clean.file).is_ok() && std::fs::rename(&clean.path, target).is_ok()
    }
}

/// A file in the making, removed unless it was moved away.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn beside(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let path = target.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), base::ident::random_hex(6)));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path, file })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn clean_copy(mut from: &File, mut to: &File) -> io::Result<()> {
    from.rewind()?;
    let mut cleaner = base::text::Cleaner::coloured().limit(base::text::MAX_RECORD);
    let mut piece = vec![0; 256 * 1024];
    loop {
        match from.read(&mut piece)? {
            0 => return to.write_all(cleaner.finish().as_bytes()),
            count => to.write_all(cleaner.feed(&piece[..count]).as_bytes())?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn log_arguments() {
        let all = LogChoice { follow: true, timestamps: true, tail: Some(0), since: Some("5m".into()) };
        assert_eq!(logs_args("c", &all), ["logs", "-f", "--timestamps", "--tail", "0", "--since", "5m", "c"]);
        let none = LogChoice { since: Some(String::new()), ..LogChoice::default() };
        assert_eq!(logs_args("c", &none), ["logs", "c"]);
    }

    // holds: hostile-text-is-cleaned
    #[test]
    fn a_failed_capture_keeps_the_older_archive() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("podman");
        let target = dir.path().join("out.log");
        let write = |script: &str| {
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        let podman = Podman::at(&program);
        write("echo \"$*\"; echo err >&2");
        assert!(podman.capture_logs("c1", &target, true, None));
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "logs --timestamps c1\nerr\n");
        write(r"printf '\033]52;c;AA\007\033[1mbold\033[0m\033[2J\377\n'");
        assert!(podman.capture_logs("c1", &target, true, None));
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "\u{1b}[1mbold\u{1b}[0m\u{fffd}\n");
        write("echo \"$*\"; echo err >&2");
        assert!(podman.capture_logs("c1", &target, true, None));
        write("echo other; exit 3");
        assert!(!podman.capture_logs("c1", &target, true, None));
        write("exec sleep 30");
        assert!(!podman.capture_logs("c1", &target, true, Some(Duration::from_millis(100))));
        assert!(!Podman::at("/nonexistent").capture_logs("c1", &target, true, None));
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "logs --timestamps c1\nerr\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
