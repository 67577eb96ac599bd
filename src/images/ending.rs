//! The end of a build that nobody wants any more.
//!
//! Podman that is asked to end does so at once, and leaves behind the step that it was running and the container it ran
//! in (seen with 4.3 and 5.4). So the step is ended first, by asking the program that runs it for podman; podman then
//! cleans up and ends by itself. Invariants: only processes below the child are asked; the child is reaped.

use std::collections::HashMap;
use std::fs;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// How often is looked, and asked.
const TICK: Duration = Duration::from_millis(200);
/// After so long a step that has begun has its container.
const SETTLED: Duration = Duration::from_secs(1);
/// For podman, to clean up after a step that was ended.
const CLEAN_UP: Duration = Duration::from_secs(20);
/// For a child that was asked to end.
const GRACE: Duration = Duration::from_secs(5);
/// How the names begin under which podman runs itself for a step.
const RUNNERS: &str = "buildah-";

/// Ends a child: its running step, itself, and the process group that it leads, if any.
pub(crate) fn end(child: &mut Child) {
    let root = Pid::from_child(child);
    if !ended_with_its_step(root) {
        tell(root, Signal::TERM);
        ended_within(root, GRACE, || ());
    }
    tell(root, Signal::KILL);
    let _ = child.wait();
}

/// The child is reaped last: until then its number is nobody else's.
fn tell(root: Pid, what: Signal) {
    let _ = rustix::process::kill_process_group(root, what);
    let _ = rustix::process::kill_process(root, what);
}

/// Asks the runners of steps to end, again and again, until the child ends; false when there are none, or it takes too
/// long. A runner that is asked while it makes its container would go without it, and podman wait for ever: each is given
/// a moment first.
fn ended_with_its_step(root: Pid) -> bool {
    let mut seen: HashMap<Pid, Instant> = HashMap::new();
    let mut ask = || {
        let runners = runners_below(root);
        for runner in &runners {
            if seen.entry(*runner).or_insert_with(Instant::now).elapsed() >= SETTLED {
                let _ = rustix::process::kill_process(*runner, Signal::TERM);
            }
        }
        !runners.is_empty()
    };
    ask() && ended_within(root, CLEAN_UP, || _ = ask())
}

fn ended_within(root: Pid, limit: Duration, mut meanwhile: impl FnMut()) -> bool {
    let deadline = Instant::now() + limit;
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    while matches!(rustix::process::waitid(WaitId::Pid(root), look), Ok(None)) {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(TICK);
        meanwhile();
    }
    true
}

/// The processes below `root` that run a step.
fn runners_below(root: Pid) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for pid in all_processes() {
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut found, mut open) = (Vec::new(), vec![root.as_raw_nonzero().get()]);
    while let Some(pid) = open.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        found.extend(below.iter().filter(|pid| is_runner(**pid)).filter_map(|pid| Pid::from_raw(*pid)));
        open.extend(below);
    }
    found
}

fn all_processes() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// From the record of a process; its name, which stands in brackets, may contain anything.
fn parent_of(pid: i32) -> Option<i32> {
    let record = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    record.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn is_runner(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(RUNNERS.as_bytes()))
}
