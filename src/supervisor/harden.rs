//! What a process that handles credentials does before anything else, and how it keeps itself small.

use base::user::host_uid;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};

/// Addition to the badness by which the kernel chooses the process to end when the host is out of memory: less than that
/// of containers, more than that of a user's session.
pub const OOM_SCORE: i32 = 500;
const OOM_FILE: &str = "/proc/self/oom_score_adj";

/// Makes the kernel end this process and its children before the user's session, and after containers, when the host is
/// out of memory. The OCI runtime hands down the container's own, larger value.
///
/// Must come before [`process`]: the file belongs to root as soon as the process cannot be dumped.
pub fn set_oom_score() {
    let _ = std::fs::write(OOM_FILE, OOM_SCORE.to_string());
}

/// Closes the ways by which memory could leak: no tracing by others, no core file; new files are private.
pub fn process() {
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let _ = rustix::thread::set_name(c"terok-superv");
}

/// Keeps the one right that live changes of the firewall need, and gives programs that we start none at all.
///
/// # Errors
/// The operating system's.
pub fn keep_only_network_rights() -> std::io::Result<()> {
    use rustix::thread::{
        CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set, set_capabilities,
    };
    for capability in CapabilitySet::all().iter() {
        // Without the right to do so there is nothing to take away either.
        let _ = remove_capability_from_bounding_set(capability);
    }
    let own = capabilities(None)?;
    let kept = own.permitted & CapabilitySet::NET_ADMIN;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

/// Makes the allocator give memory back: one arena, small thresholds. A supervisor idles for hours.
pub fn allocator() {
    // SAFETY: plain settings of the C library's allocator, made while there is one thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 * 1024);
        libc::mallopt(libc::M_TOP_PAD, 16 * 1024);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 * 1024);
    }
}

/// Returns free memory to the system, after something large has ended.
pub fn release_memory() {
    // SAFETY: no arguments that could be wrong.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of our own code that has run so far, most of which only a start needs: two thirds of a worker's memory
/// otherwise. The kernel maps what is called again from its cache, a few microseconds per piece.
pub fn release_code() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let Some((start, end)) = maps.lines().find_map(|line| code_around(line, release_code as *const () as usize)) else {
        return;
    };
    // SAFETY: the mapping is ours, backed by the program's file and never written, so that every page comes back as it
    // was. What is advised is the very mapping that the kernel has just named.
    unsafe {
        libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED);
    }
}

/// The bounds of the mapping that a line describes, when it is read-only code of a file and holds `address`.
fn code_around(line: &str, address: usize) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let code = fields.next()? == "r-xp";
    // After the permissions: offset, device, inode, which is 0 where there is no file.
    let file = fields.nth(2)? != "0";
    (code && file && (start..end).contains(&address)).then_some((start, end))
}

/// Ties a child's life to its parent; false when the parent has gone already.
pub fn die_with(parent: rustix::process::Pid) -> bool {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    rustix::process::getppid() == Some(parent)
}

/// Variables that a supervisor keeps from whatever environment it is started in.
const KEPT: [&str; 6] = ["HOME", "LANG", "TZ", "USER", "LOGNAME", "XDG_RUNTIME_DIR"];
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment of a daemon: a fixed search path, the operator's home and session, nothing that steers a loader.
pub fn environment(inherited: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let runtime = format!("/run/user/{}", host_uid());
    let mut out = vec![("PATH".to_owned(), PATH.to_owned())];
    for name in KEPT.iter().chain(&wire::sidecar::AMBIENT) {
        if let Some(value) = inherited(name).filter(|v| !v.is_empty()) {
            out.push(((*name).to_owned(), value));
        }
    }
    if !out.iter().any(|(name, _)| name == "XDG_RUNTIME_DIR") {
        out.push(("XDG_RUNTIME_DIR".into(), runtime.clone()));
    }
    let bus = inherited("DBUS_SESSION_BUS_ADDRESS").filter(|v| !v.is_empty());
    let socket = format!("{runtime}/bus");
    let found = std::path::Path::new(&socket).exists();
    if let Some(bus) = bus.or_else(|| found.then(|| format!("unix:path={socket}"))) {
        out.push(("DBUS_SESSION_BUS_ADDRESS".into(), bus));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unwritable_code_of_a_file_is_let_go() {
        let line = "1000-3000 r-xp 00001000 fe:00 77  /usr/bin/x";
        assert_eq!(code_around(line, 0x1000), Some((0x1000, 0x3000)));
        for other in [
            "1000-3000 r--p 00001000 fe:00 77  /usr/bin/x",
            "1000-3000 rwxp 00001000 fe:00 77  /usr/bin/x",
            "1000-3000 r-xp 00000000 00:00 0",
            "3000-4000 r-xp 00001000 fe:00 77  /usr/bin/x",
            "nonsense",
        ] {
            assert_eq!(code_around(other, 0x1000), None, "{other}");
        }
        // And we go on running.
        release_code();
    }

    #[test]
    fn loader_variables_do_not_pass() {
        let inherited = |name: &str| match name {
            "HOME" => Some("/h".to_owned()),
            "PATH" | "LD_PRELOAD" | "PYTHONPATH" | "LD_LIBRARY_PATH" => Some("/evil".into()),
            "TEROK_ROOT" => Some("/t".into()),
            _ => None,
        };
        let env = environment(inherited);
        assert!(env.iter().all(|(_, value)| value != "/evil"));
        let names: Vec<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.starts_with(&["PATH", "HOME", "TEROK_ROOT", "XDG_RUNTIME_DIR"]), "{names:?}");
    }
}
