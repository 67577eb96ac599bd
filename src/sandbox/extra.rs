//! The caller's own podman options: which are understood, and which would open the container.
//!
//! Only known options pass, so that no word can slip in as the image, and none can undo what the launch sets: the
//! namespaces, capabilities, network, hooks, name, annotations and runtime of the container are not negotiable here.

use crate::fault::LaunchError;

/// Options with a value that callers may use.
const VALUED: &[&str] = &[
    "--add-host",
    "--blkio-weight",
    "--cap-drop",
    "--cpu-shares",
    "--cpus",
    "--cpuset-cpus",
    "--device",
    "--dns",
    "--dns-option",
    "--dns-search",
    "--entrypoint",
    "--env",
    "--expose",
    "--group-add",
    "--health-cmd",
    "--health-interval",
    "--health-retries",
    "--health-start-period",
    "--health-timeout",
    "--hostname",
    "--label",
    "--log-driver",
    "--log-opt",
    "--memory",
    "--memory-reservation",
    "--memory-swap",
    "--mount",
    "--oom-score-adj",
    "--pids-limit",
    "--publish",
    "--pull",
    "--restart",
    "--secret",
    "--security-opt",
    "--shm-size",
    "--stop-signal",
    "--stop-timeout",
    "--timeout",
    "--tmpfs",
    "--tz",
    "--ulimit",
    "--umask",
    "--user",
    "--volume",
    "--workdir",
];
/// Options without a value.
const FLAGS: &[&str] =
    &["--init", "--interactive", "--no-healthcheck", "--no-hosts", "--read-only", "--read-only-tmpfs", "--rm", "--tty"];
/// Short forms.
const SHORT: &[(&str, &str)] = &[
    ("-e", "--env"),
    ("-h", "--hostname"),
    ("-i", "--interactive"),
    ("-l", "--label"),
    ("-m", "--memory"),
    ("-p", "--publish"),
    ("-t", "--tty"),
    ("-u", "--user"),
    ("-v", "--volume"),
    ("-w", "--workdir"),
];
/// Options that are refused on purpose, to say so.
const DENIED: &[&str] = &[
    "--annotation",
    "--cap-add",
    "--cgroup-parent",
    "--cgroupns",
    "--cgroups",
    "--cidfile",
    "--conmon-pidfile",
    "--device-cgroup-rule",
    "--env-file",
    "--env-host",
    "--gidmap",
    "--hooks-dir",
    "--ipc",
    "--name",
    "--net",
    "--network",
    "--pid",
    "--pod",
    "--privileged",
    "--replace",
    "--rootfs",
    "--runtime",
    "--subgidname",
    "--subuidname",
    "--sysctl",
    "--uidmap",
    "--userns",
    "--uts",
    "--volumes-from",
];
/// Devices that a container may have.
const DEVICES: &[&str] = &["/dev/fuse", "/dev/net/tun", "/dev/kvm", "/dev/dri", "nvidia.com/gpu"];
/// Places inside that belong to the launch.
const OWN_PLACES: &[&str] = &["/run/terok", "/usr/local/share/terok-sandbox/bridges"];

/// Options of an interactive `podman run` that a launch in the background has no use for.
const FOREGROUND: &[&str] = &["--detach", "--rmi", "--sig-proxy"];
/// Short flags, as they may be written together.
const SHORT_FLAGS: &[char] = &['d', 'i', 't'];

/// Checks the options one after another.
///
/// # Errors
/// [`LaunchError::Spec`] naming the first that is refused.
pub fn check(args: &[String]) -> Result<(), LaunchError> {
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        check_one(word, &mut rest)?;
    }
    Ok(())
}

/// The values of one option in checked options, in their order.
pub fn values<'a>(args: &'a [String], wanted: &str) -> Vec<&'a str> {
    let (mut found, mut rest) = (Vec::new(), args.iter());
    while let Some(word) = rest.next() {
        let (flag, inline) = split(word);
        let value = if VALUED.contains(&flag) { inline.or_else(|| rest.next().map(String::as_str)) } else { inline };
        found.extend(value.filter(|_| flag == wanted));
    }
    found
}

/// Checks what stands in front of the image on a `podman run` line; the position of the image.
///
/// # Errors
/// [`LaunchError::Spec`] naming the first option that is refused, or that there is no image.
pub fn check_run_line(args: &[String]) -> Result<usize, LaunchError> {
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        if word == "--" || !word.starts_with('-') {
            let image = args.len() - rest.len() - usize::from(word != "--");
            return if image < args.len() { Ok(image) } else { Err(no_image()) };
        }
        let flag = word.split('=').next().unwrap_or_default();
        let joined = word.len() > 1 && word[1..].chars().all(|letter| SHORT_FLAGS.contains(&letter));
        if flag == "--cap-drop" {
            return Err(refused(word, "is set by the launch itself and is not accepted"));
        }
        if !joined && !FOREGROUND.contains(&flag) {
            check_one(word, &mut rest)?;
        }
    }
    Err(no_image())
}

fn no_image() -> LaunchError {
    LaunchError::spec("podman arguments", "", "name no image")
}

fn check_one<'a>(word: &str, rest: &mut impl Iterator<Item = &'a String>) -> Result<(), LaunchError> {
    let (flag, inline) = split(word);
    if DENIED.contains(&flag) {
        return Err(refused(word, "would undo the protection of the container and is not accepted"));
    }
    if FLAGS.contains(&flag) && matches!(inline, None | Some("true" | "false")) {
        return Ok(());
    }
    if !VALUED.contains(&flag) {
        return Err(refused(word, "is not a podman option that callers may add"));
    }
    let value = match inline {
        Some(value) => value,
        None => rest.next().map(String::as_str).ok_or_else(|| refused(word, "has no value"))?,
    };
    judge(flag, value)
}

/// The long form of an option and the value that is glued to it.
fn split(word: &str) -> (&str, Option<&str>) {
    if word.starts_with("--") {
        return match word.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (word, None),
        };
    }
    let long = SHORT.iter().find(|(short, _)| word.starts_with(short));
    match long {
        Some((short, long)) if word.len() == short.len() => (long, None),
        Some((short, long)) => (long, Some(word[short.len()..].trim_start_matches('='))),
        None => (word, None),
    }
}

fn judge(flag: &str, value: &str) -> Result<(), LaunchError> {
    let shown = || format!("{flag} {value}");
    match flag {
        "--security-opt" if !matches!(value, "no-new-privileges" | "no-new-privileges:true" | "label=nested") => {
            Err(refused(&shown(), "would loosen the confinement of the container"))
        }
        "--device" if !DEVICES.iter().any(|known| is_device(value, known)) => {
            Err(refused(&shown(), "is not a device that a container may have"))
        }
        "--volume" => own_place(value.split(':').nth(1).unwrap_or(value), &shown()),
        "--tmpfs" => own_place(value.split(':').next().unwrap_or(value), &shown()),
        "--mount" => {
            let target = value.split(',').find_map(|part| {
                let (key, path) = part.split_once('=')?;
                matches!(key, "target" | "dst" | "destination").then_some(path)
            });
            own_place(target.unwrap_or_default(), &shown())
        }
        "--publish" if !is_loopback(value) => {
            Err(refused(&shown(), "would be reachable from other machines; use 127.0.0.1:"))
        }
        _ => Ok(()),
    }
}

fn is_device(value: &str, known: &str) -> bool {
    value.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '=', ':']))
        && !value.contains("..")
}

fn is_loopback(value: &str) -> bool {
    value.starts_with("127.0.0.1:") || value.starts_with("[::1]:") || value.starts_with("localhost:")
}

fn own_place(target: &str, shown: &str) -> Result<(), LaunchError> {
    let target = normalised(target);
    let inside = |place: &&str| {
        target == **place || target.starts_with(&format!("{place}/")) || place.starts_with(&format!("{target}/"))
    };
    if target == "/" || OWN_PLACES.iter().any(inside) {
        return Err(refused(shown, "covers a place that belongs to the launch"));
    }
    Ok(())
}

/// A path without repeated or trailing slashes and without dots.
fn normalised(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

fn refused(word: &str, why: &str) -> LaunchError {
    LaunchError::spec("podman option", word, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_line_is_read_up_to_its_image() {
        let words = |line: &str| line.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        for (line, image) in [
            ("img", 0),
            ("-it --rm img --name x --privileged", 2),
            ("-d -e A=1 -v/h:/w --memory 1g img", 6),
            ("-dit --label=a=b -- img -v /run/terok:/x", 3),
        ] {
            assert_eq!(check_run_line(&words(line)).unwrap(), image, "{line}");
        }
        for line in [
            "",
            "-it",
            "--",
            "-e img",
            "--name x img",
            "--name=x img",
            "--net host img",
            "--cap-drop ALL img",
            "-v/h:/run/terok/x img",
            "--mount type=bind,src=/h,dst=/run/terok img",
            "--tmpfs /run img",
            "--volumes-from c img",
            "--privileged img",
            "--security-opt seccomp=unconfined img",
            "--runtime=/tmp/x img",
            "--pod p img",
            "--uidmap 0:0:1 img",
            "--pid=host img",
            "-dx img",
            "--unknown img",
            "- img",
        ] {
            assert!(check_run_line(&words(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn table() {
        #[derive(serde::Deserialize)]
        struct Table {
            accepted: Vec<Vec<String>>,
            refused: Vec<Vec<String>>,
        }
        let table: Table = serde_json::from_str(include_str!("../../tests/fixtures/sandbox/extra_args.json")).unwrap();
        for args in table.accepted {
            assert!(check(&args).is_ok(), "{args:?}: {}", check(&args).unwrap_err());
        }
        for args in table.refused {
            assert!(check(&args).is_err(), "{args:?}");
        }
    }
}
