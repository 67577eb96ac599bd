//! Is the process that wrote something down still the same, living process?
//!
//! A pid alone is not enough: pids are used again. The kernel's start time and the boot identify the process.

use serde::{Deserialize, Serialize};

/// A process as it can be recognised later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    pub start: u64,
    /// The kernel's boot id.
    pub boot: String,
}

impl Identity {
    /// This process.
    pub fn own() -> Self {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        Self { pid, start: start_time(pid).unwrap_or(0), boot: boot_id() }
    }

    /// True when the process still runs; one that has ended and waits to be reaped does not.
    pub fn alive(&self) -> bool {
        self.pid > 0 && self.boot == boot_id() && start_time(self.pid) == Some(self.start)
    }
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Field 22 of the process's stat line; `None` when it has ended.
fn start_time(pid: i32) -> Option<u64> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<u64> {
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    if matches!(fields.next()?, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// True while a podman process of ours runs whose arguments hold `--name <container>`.
pub fn podman_is_launching(container: &str) -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else { return false };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| is_launch(&line, container))
}

fn is_launch(line: &[u8], container: &str) -> bool {
    let words: Vec<&[u8]> = line.split(|b| *b == 0).collect();
    let program = words[0].rsplit(|b| *b == b'/').next().unwrap_or_default();
    let names = |pair: &[&[u8]]| pair[0] == b"--name" && pair[1] == container.as_bytes();
    program == b"podman" && words.iter().any(|w| *w == b"run" || *w == b"create") && words.windows(2).any(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_live_and_others_do_not() {
        let own = Identity::own();
        assert!(own.alive());
        assert!(!Identity { start: own.start + 1, ..own.clone() }.alive());
        assert!(!Identity { boot: "other".into(), ..own.clone() }.alive());
        assert!(!Identity { pid: 0, ..own }.alive());
    }

    #[test]
    fn an_ended_child_is_dead_before_it_is_reaped() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while start_time(pid).is_some() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }

    #[test]
    fn stat_lines_with_odd_names() {
        let line = format!("7 (a) b) S {} 4242 0", ["0"; 18].join(" "));
        assert_eq!(parse_stat(&line), Some(4242));
        assert_eq!(parse_stat("7 (x"), None);
    }

    #[test]
    fn launches_are_recognised_by_name() {
        let line = b"/usr/bin/podman\0run\0-d\0--name\0c1\0img\0";
        assert!(is_launch(line, "c1") && !is_launch(line, "c"));
        assert!(!is_launch(b"vi\0run\0--name\0c1\0", "c1"));
        assert!(!is_launch(b"podman\0logs\0--name\0c1\0", "c1"));
    }
}
