//! Judges a launch description before anything happens.
//!
//! Refuses: names podman would not take, runtimes and annotations outside the allow-lists, values that would make two
//! arguments out of one (line ends, NUL, the comma that podman 4 splits annotations at, the colon of mounts), limits
//! without a meaning, and images that look like options.

use crate::fault::LaunchError;
use crate::spec::{RunSpec, VolumeSpec};

/// OCI runtimes that may be asked for by name.
pub const SAFE_RUNTIMES: [&str; 2] = ["crun", "krun"];
/// Annotations that a description may carry.
pub const SAFE_ANNOTATION_KEYS: [&str; 3] = ["dossier.meta_path", "krun.cpus", wire::sidecar::ANNOTATION];

type Checked = Result<(), LaunchError>;

/// Checks every part.
///
/// # Errors
/// The first part that is refused.
pub fn check(spec: &RunSpec) -> Checked {
    base::ident::check_container_name(&spec.container_name)?;
    check_image(&spec.image)?;
    spec.runtime.as_deref().map_or(Ok(()), check_runtime)?;
    spec.annotations.iter().try_for_each(|(key, value)| check_annotation(key, value))?;
    spec.env.iter().try_for_each(|(key, value)| check_env(key, value))?;
    spec.volumes.iter().try_for_each(check_volume)?;
    spec.memory.as_deref().map_or(Ok(()), check_memory)?;
    spec.cpus.as_deref().map_or(Ok(()), check_cpus)?;
    spec.hostname.as_deref().map_or(Ok(()), check_hostname)?;
    if let Some(word) = spec.command.iter().chain(&spec.extra_args).find(|w| w.contains('\0')) {
        return Err(LaunchError::spec("argument", word, "contains a NUL"));
    }
    crate::extra::check(&spec.extra_args)
}

/// Only a runtime of the allow-list, and only by its bare name: podman would execute a path.
///
/// # Errors
/// [`LaunchError::Spec`].
pub fn check_runtime(runtime: &str) -> Checked {
    let refuse = |why: &str| Err(LaunchError::spec("runtime", runtime, why));
    if runtime.contains(['/', '\\']) || runtime.trim() != runtime {
        return refuse("must be a bare name, not a path and without surrounding blanks");
    }
    if !SAFE_RUNTIMES.contains(&runtime) {
        return refuse("is not in allowlist (crun, krun)");
    }
    Ok(())
}

/// One annotation argument must create exactly one known annotation, on every podman.
///
/// # Errors
/// [`LaunchError::Spec`].
pub fn check_annotation(key: &str, value: &str) -> Checked {
    if !SAFE_ANNOTATION_KEYS.contains(&key) {
        return Err(LaunchError::spec("annotation", key, "is not in allowlist"));
    }
    if value.contains(['\n', '\r', '\0']) {
        return Err(LaunchError::spec("annotation", key, "has a value with a control character"));
    }
    if value.contains(',') {
        return Err(LaunchError::spec("annotation", key, "has a value with a comma, which podman 4 would split at"));
    }
    Ok(())
}

fn check_image(image: &str) -> Checked {
    if image.is_empty() || image.starts_with('-') || image.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(LaunchError::spec("image", image, "is not an image reference"));
    }
    Ok(())
}

fn check_env(key: &str, value: &str) -> Checked {
    let mut chars = key.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !first || !chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')) {
        return Err(LaunchError::spec("environment variable", key, "is not a usable name"));
    }
    if value.contains('\0') {
        return Err(LaunchError::spec("environment variable", key, "has a value with a NUL"));
    }
    Ok(())
}

fn check_volume(volume: &VolumeSpec) -> Checked {
    let host = volume.host_path.to_string_lossy();
    for path in [host.as_ref(), volume.container_path.as_str()] {
        if path.contains([':', ',', '\0', '\n']) {
            return Err(LaunchError::spec("volume path", path, "contains `:`, `,` or a control character"));
        }
    }
    if !host.starts_with('/') {
        return Err(LaunchError::spec("volume path", host, "is not absolute on the host"));
    }
    if !volume.container_path.starts_with('/') || volume.container_path.split('/').any(|part| part == "..") {
        return Err(LaunchError::spec("volume path", &volume.container_path, "is not absolute in the container"));
    }
    Ok(())
}

fn check_hostname(name: &str) -> Checked {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if name.is_empty() || name.len() > 63 || name.starts_with('-') || !name.chars().all(good) {
        return Err(LaunchError::spec("hostname", name, "is not a host name"));
    }
    Ok(())
}

/// Digits, an optional fraction, an optional blank, an optional unit.
///
/// # Errors
/// [`LaunchError::Spec`] naming `memory`.
pub fn check_memory(text: &str) -> Checked {
    let rest = number(text).map(|rest| rest.strip_prefix(' ').unwrap_or(rest));
    let unit = rest.map(|r| r.strip_prefix(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T', 'p', 'P']).unwrap_or(r));
    let unit = unit.map(|r| r.strip_prefix(['i', 'I']).unwrap_or(r)).map(|r| r.strip_prefix(['b', 'B']).unwrap_or(r));
    match unit {
        Some("") => Ok(()),
        _ => Err(LaunchError::spec("memory", text, "is not an amount such as `512m` or `4g`")),
    }
}

/// Digits and an optional fraction.
///
/// # Errors
/// [`LaunchError::Spec`] naming `cpus`.
pub fn check_cpus(text: &str) -> Checked {
    match number(text) {
        Some("") => Ok(()),
        _ => Err(LaunchError::spec("cpus", text, "is not a number such as `2` or `0.5`")),
    }
}

/// What follows a decimal number at the start of `text`.
fn number(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() == text.len() {
        return None;
    }
    let Some(fraction) = rest.strip_prefix('.') else { return Some(rest) };
    let end = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    (end.len() < fraction.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(checked: Checked) -> String {
        checked.unwrap_err().to_string()
    }

    #[test]
    fn limits() {
        let good = ["4g", "4G", "4gb", "4gib", "4 G", "512m", "1024", "4.5g", "0", "4i", "4b"];
        let bad = ["", " 4g", "4g ", "-1", ".5g", "4x", "4gbb", "4.", "4  g", "1e3"];
        assert!(good.iter().all(|t| check_memory(t).is_ok()));
        for text in bad {
            assert!(message(check_memory(text)).contains("memory"), "{text}");
        }
        assert!(["2", "2.0", "0", "0.5"].iter().all(|t| check_cpus(t).is_ok()));
        for text in ["", ".5", "2.", "-1", "1e3", " 2"] {
            assert!(message(check_cpus(text)).contains("cpus"), "{text}");
        }
    }

    #[test]
    fn runtimes_and_annotations() {
        assert!(check_runtime("krun").is_ok());
        for bad in ["/tmp/x", " krun", "krun\t", "evil", "", "a\\b"] {
            assert!(check_runtime(bad).is_err(), "{bad:?}");
        }
        assert!(message(check_runtime("evil")).contains("not in allowlist"));
        assert!(check_annotation("krun.cpus", "2").is_ok());
        assert!(message(check_annotation("evil.toggle", "1")).contains("not in allowlist"));
        for bad in ["a\nb", "a\rb", "a\0b"] {
            assert!(message(check_annotation("krun.cpus", bad)).contains("control character"));
        }
        assert!(check_annotation("dossier.meta_path", "/a,evil=1").is_err());
    }

    #[test]
    fn names_paths_and_environment() {
        assert!(check_env("A_b.c-1", "two\nlines").is_ok());
        for (key, value) in [("", "x"), ("A=B", "x"), ("A\n", "x"), ("A*", "x"), ("1A", "x"), ("A", "a\0b")] {
            assert!(check_env(key, value).is_err(), "{key:?}");
        }
        let volume = |host: &str, inside: &str| VolumeSpec {
            host_path: host.into(),
            container_path: inside.into(),
            sharing: Default::default(),
            read_only: false,
            live: false,
        };
        assert!(check_volume(&volume("/h", "/c")).is_ok());
        for (host, inside) in
            [("/h:z", "/c"), ("/h", "/c:ro"), ("/h,x", "/c"), ("h", "/c"), ("/h", "c"), ("/h", "/../c")]
        {
            assert!(check_volume(&volume(host, inside)).is_err(), "{host} {inside}");
        }
        for bad in ["", "--privileged", "a b"] {
            assert!(check_image(bad).is_err());
        }
        assert!(check_hostname("-x").is_err() && check_hostname("box-1.local").is_ok());
    }
}
