//! The options that every container is launched with, whatever podman's and the site's defaults are.
//!
//! Invariants: each option is said in full and understood by podman 4.3 to 6; a caller's own options come later in the
//! argument list and may replace log driver, limits and umask, but no namespace, capability or filter.

use std::collections::BTreeSet;

/// Capabilities that stay in the bounding set: what `sudo` and package managers in the container need.
pub const CAPABILITIES: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// All capabilities in the order of their numbers.
const ALL_CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
/// The most processes of a container whose caller sets no limit.
pub const PIDS_LIMIT: u32 = 2048;
/// Makes the kernel end a container's processes before its supervisor (500) and the user's session when the host is out
/// of memory.
const OOM_SCORE: u32 = 600;
/// The largest log of a container, in bytes, where the setting `run.log_size` names no other.
const LOG_SIZE: u64 = 64 * 1024 * 1024;
/// The most open files of a process: soft and hard.
const MAX_FILES: (u64, u64) = (65_536, 1_048_576);
const MAX_PROCESSES: u64 = 4_194_304;

/// What the options depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explicit {
    /// Hard limit of open files of this process; podman cannot give more.
    pub hard_files: u64,
    /// Hard limit of processes of this account; podman cannot give more.
    pub hard_processes: u64,
    /// Number of the kernel's last capability; podman refuses the names of later ones.
    pub last_capability: usize,
    /// Kinds of limits that the caller sets, such as `nofile`.
    pub own_ulimits: BTreeSet<String>,
    /// True when the caller limits processes.
    pub own_pids_limit: bool,
    /// The largest log in bytes, after which podman starts it again; 0 for no limit.
    pub log_size: u64,
    /// True when the caller chooses the log's driver or size.
    pub own_log: bool,
}

impl Explicit {
    /// For this process and kernel, and a caller without options.
    pub fn detect() -> Self {
        let hard = |resource| rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok();
        Self {
            hard_files: hard(rustix::process::Resource::Nofile),
            hard_processes: hard(rustix::process::Resource::Nproc),
            last_capability: last.and_then(|text| text.trim().parse().ok()).unwrap_or(ALL_CAPABILITIES.len() - 1),
            log_size: log_size(),
            ..Self::default()
        }
    }

    /// The options, in one fixed order.
    pub fn args(&self) -> Vec<String> {
        let mut args = words(&["--pid", "private", "--ipc", "private", "--uts", "private", "--cgroupns", "private"]);
        args.extend(words(&["--cgroups", "enabled", "--privileged=false", "--read-only=false", "--init=false"]));
        args.extend(words(&["--env-host=false", "--http-proxy=false", "--no-hosts=false", "--umask", "0022"]));
        args.extend(words(&["--log-driver", "k8s-file"]));
        if self.log_size > 0 && !self.own_log {
            args.extend(["--log-opt".to_owned(), format!("max-size={}", self.log_size)]);
        }
        args.extend(["--oom-score-adj".to_owned(), OOM_SCORE.to_string()]);
        args.push(format!("--cap-drop={}", self.dropped().join(",")));
        for (kind, soft, hard) in self.ulimits() {
            args.extend(["--ulimit".to_owned(), format!("{kind}={soft}:{hard}")]);
        }
        if !self.own_pids_limit {
            args.extend(["--pids-limit".to_owned(), PIDS_LIMIT.to_string()]);
        }
        args
    }

    fn dropped(&self) -> Vec<&'static str> {
        let known = ALL_CAPABILITIES.iter().take(self.last_capability + 1);
        known.filter(|name| !CAPABILITIES.contains(name)).copied().collect()
    }

    fn ulimits(&self) -> Vec<(&'static str, u64, u64)> {
        let files = self.hard_files.min(MAX_FILES.1);
        let processes = self.hard_processes.min(MAX_PROCESSES);
        let mut limits =
            vec![("core", 0, 0), ("nofile", files.min(MAX_FILES.0), files), ("nproc", processes, processes)];
        limits.retain(|(kind, ..)| !self.own_ulimits.contains(*kind));
        limits
    }
}

/// The setting `run.log_size`, in bytes.
fn log_size() -> u64 {
    let value = base::config::section("run").remove("log_size");
    let text = value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    text.and_then(|text| bytes(&text)).unwrap_or(LOG_SIZE)
}

/// A size as podman writes it: a number with an optional unit, in powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let text = text.strip_suffix('i').unwrap_or(text);
    let unit = text.chars().last().and_then(|last| "kmgtp".find(last));
    let number = if unit.is_some() { &text[..text.len() - 1] } else { text };
    let number: f64 = number.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    Some((number * 1024f64.powi(unit.map_or(0, |unit| i32::try_from(unit + 1).unwrap_or(0)))) as u64)
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explicit() -> Explicit {
        Explicit { hard_files: 1000, hard_processes: u64::MAX, last_capability: 40, ..Explicit::default() }
    }

    // holds: container-log-is-bounded
    #[test]
    fn log_is_bounded_unless_the_caller_chooses() {
        let text = |explicit: Explicit| explicit.args().join(" ");
        assert!(text(Explicit::detect()).contains(" --log-opt max-size="));
        assert!(text(Explicit { log_size: 7, ..explicit() }).contains(" --log-driver k8s-file --log-opt max-size=7 "));
        for unbounded in [Explicit { log_size: 0, ..explicit() }, Explicit { log_size: 7, own_log: true, ..explicit() }]
        {
            assert!(!text(unbounded).contains("max-size"));
        }
    }

    #[test]
    fn sizes_are_read_as_podman_writes_them() {
        let cases =
            [("64m", Some(64 << 20)), ("0", Some(0)), ("1.5 KiB", Some(1536)), ("7b", Some(7)), ("2g", Some(2 << 30))];
        for (text, expected) in
            cases.into_iter().chain([("", None), ("m", None), ("-1", None), ("lots", None), ("inf", None)])
        {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn capabilities_are_dropped_by_name_up_to_the_kernels_last() {
        let all = explicit().dropped();
        assert_eq!(all.len() + CAPABILITIES.len(), ALL_CAPABILITIES.len());
        assert!(all.contains(&"NET_ADMIN") && all.contains(&"CHECKPOINT_RESTORE") && !all.contains(&"SETUID"));
        let old = Explicit { last_capability: 37, ..explicit() }.dropped();
        assert!(old.contains(&"AUDIT_READ") && !old.contains(&"PERFMON"));
    }

    #[test]
    fn limits_stay_below_our_own_and_leave_the_callers_alone() {
        let text = explicit().args().join(" ");
        assert!(text.contains("--ulimit core=0:0 --ulimit nofile=1000:1000 --ulimit nproc=4194304:4194304"), "{text}");
        assert!(text.ends_with("--pids-limit 2048"));
        let own = Explicit { own_ulimits: ["nofile".to_owned()].into(), own_pids_limit: true, ..explicit() };
        let text = own.args().join(" ");
        assert!(!text.contains("nofile") && text.contains("nproc") && !text.contains("pids"), "{text}");
    }

    #[test]
    fn this_kernel_has_a_last_capability() {
        let here = Explicit::detect();
        assert!(here.last_capability > 30 && here.hard_files > 0);
    }
}
