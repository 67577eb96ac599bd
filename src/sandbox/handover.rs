//! Hands secrets to the program of a container without podman's configuration, which stays on disk.
//!
//! The secrets are written to a file in the container's runtime directory (`/run/terok` inside, in memory on the host's
//! `/run/user`); the container's first command exports them and removes the file.
//!
//! Invariants: the file is 0600 and belongs to the container's user; a name or value that a shell would not take as it is
//! stops the launch.

use std::path::Path;

use base::text::shell_quote;
use indexmap::IndexMap;
use rustix::fs::{AtFlags, CWD, Gid, Uid};

use crate::fault::LaunchError;
use crate::private;

const FILE: &str = "secrets.env";
const INSIDE: &str = "/run/terok/secrets.env";
/// The container's user, where no user namespace maps the caller to it.
const CONTAINER_USER: u32 = 1000;

/// Writes `secrets` for the container with this runtime directory; the shell text that exports and removes them.
///
/// # Errors
/// [`LaunchError::Spec`] for a name or value that cannot be a variable, [`LaunchError::Io`].
pub fn hand_over(runtime_dir: &Path, secrets: &IndexMap<String, String>) -> Result<String, LaunchError> {
    let mut content = String::new();
    for (name, value) in secrets {
        check(name, value)?;
        content += &format!("export {name}={}\n", shell_quote(value));
    }
    let path = runtime_dir.join(FILE);
    private::write(&path, content.as_bytes()).map_err(LaunchError::io("write", &path))?;
    if base::user::effective_uid() == 0 {
        let (uid, gid) = (Uid::from_raw(CONTAINER_USER), Gid::from_raw(CONTAINER_USER));
        rustix::fs::chownat(CWD, &path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| LaunchError::io("hand over", &path)(error.into()))?;
    }
    Ok(format!(". {INSIDE} && rm -f {INSIDE}"))
}

fn check(name: &str, value: &str) -> Result<(), LaunchError> {
    let fail = |why: &str| LaunchError::Spec { what: "environment variable", value: name.into(), why: why.into() };
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(fail("is not a name that a shell can export"));
    }
    if value.contains('\0') {
        return Err(fail("has a value with a NUL character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    // holds: tool-credential-not-on-disk
    #[test]
    fn shell_exports_the_values_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let values = ["plain", "a b", "it's $HOME `id` \\ \"x\"", "two\nlines", ""];
        let names = ["A", "B_2", "_C", "D", "E"];
        let secrets = names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), value.to_owned())).collect();
        let text = hand_over(dir.path(), &secrets).unwrap();
        let file = dir.path().join(FILE);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let text = text.replace(INSIDE, file.to_str().unwrap());
        let script = format!(r#"{text} && printf '%s|' "$A" "$B_2" "$_C" "$D" "$E""#);
        let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), values.join("|") + "|");
        assert!(!file.exists());
        // A container that is started again finds nothing, and its command does not run.
        let again = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        assert!(!again.status.success() && again.stdout.is_empty());
    }

    #[test]
    fn malformed_variables_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (name, value) in [("", "x"), ("1A", "x"), ("A;id", "x"), ("A B", "x"), ("A", "x\0y")] {
            let secrets = IndexMap::from([(name.to_owned(), value.to_owned())]);
            assert!(matches!(hand_over(dir.path(), &secrets), Err(LaunchError::Spec { .. })), "{name}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
