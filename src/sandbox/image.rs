//! Resolves the image of a launch: its name once, to an identifier that was checked and that podman then runs.
//!
//! Invariants: an image with annotations that change how containers run is refused; what runs is the identifier that
//! was checked, whatever the name stands for later; `podman run` itself never downloads an image.

use podman::identity::forget_identities;
use podman::{ImageIdentity, Podman, Watch};

use crate::cause::Cause;
use crate::execute::broken_off;
use crate::extra;
use crate::fault::LaunchError;
use crate::seccomp::{self, Profile};
use crate::spec::Place;

/// The identifier to run for an image name; downloads the image when `options` ask for it or when it is missing.
///
/// # Errors
/// [`LaunchError::Image`] for an image that must not run, [`LaunchError::Refused`] when podman cannot download it,
/// [`LaunchError::Podman`] when podman cannot be called.
pub fn resolve(
    place: &Place,
    podman: &Podman,
    container: &str,
    reference: &str,
    options: &[String],
    watch: Option<Watch<'_>>,
) -> Result<String, LaunchError> {
    let policy = extra::values(options, "--pull").last().copied().unwrap_or("missing");
    let inspect =
        || podman.cached_image_identity(reference, &place.runtime_dir).map_err(|source| broken_off(container, source));
    let known = if matches!(policy, "always" | "newer" | "true") { None } else { inspect()? };
    let found = match known {
        Some(image) => Some(image),
        None if matches!(policy, "never" | "false") => None,
        None => {
            let output = podman.pull(reference, watch).map_err(|source| broken_off(container, source))?;
            if !output.ok() {
                return Err(refused(container, reference, &podman::call::clean_lines(&output.complaint())));
            }
            inspect()?
        }
    };
    match found {
        Some(ImageIdentity { id, refused: None }) => Ok(id),
        Some(ImageIdentity { refused: Some(key), .. }) => Err(LaunchError::Image { image: reference.into(), key }),
        None => Err(refused(container, reference, &format!("{reference}: image not known"))),
    }
}

/// Makes the next launch call podman again, after a launch that did not find its image.
pub fn forget(place: &Place) {
    forget_identities(&place.runtime_dir);
}

/// The words of a `podman run` line with the image's checked identifier in place of its name.
///
/// # Errors
/// As [`resolve`], and [`LaunchError::Spec`] for a line that is not acceptable.
pub fn pinned_run_line(place: &Place, podman: &Podman, words: &[String]) -> Result<Vec<String>, LaunchError> {
    let position = extra::check_run_line(words)?;
    let (options, image) = (&words[..position], &words[position]);
    let id = resolve(place, podman, image, image, options, None)?;
    let end = options.iter().position(|word| word == "--").unwrap_or(position);
    let mut pinned = words[..end].to_vec();
    if seccomp::is_nested(options) {
        pinned.extend(["--security-opt".into(), Profile::Nested.option(place)?]);
    }
    pinned.push("--pull=never".into());
    pinned.push(id);
    pinned.extend_from_slice(&words[position + 1..]);
    Ok(pinned)
}

fn refused(container: &str, reference: &str, complaint: &str) -> LaunchError {
    let cause = Cause::read(complaint, container, reference);
    LaunchError::Refused { cause, complaint: complaint.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A podman that knows one image, downloads a second and records its calls.
    fn podman(dir: &std::path::Path) -> Podman {
        let script = r#"#!/bin/sh
here=$(dirname "$0"); echo "$*" >>"$here/calls"
id() { printf '[{"Id":"%064d","Annotations":%s}]' "$1" "$2"; }
case "$*" in
"inspect --type image good") id 1 null ;;
"inspect --type image far") [ -e "$here/pulled" ] && id 2 null ;;
"inspect --type image bad") id 3 '{"io.podman.annotations.checkpoint.runtime.name":"crun"}' ;;
"pull -q far") : >"$here/pulled" ;;
*) echo "image not known" >&2; exit 125 ;;
esac"#;
        let program = dir.join("podman");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Podman::at(program)
    }

    fn place(dir: &std::path::Path) -> Place {
        Place { state_dir: dir.join("s"), runtime_dir: dir.join("r"), tcp: false, allow_root: false }
    }

    // holds: image-annotations
    #[test]
    fn an_image_that_asks_for_a_restore_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let fault = resolve(&place(dir.path()), &podman(dir.path()), "c", "bad", &[], None).unwrap_err();
        assert!(matches!(&fault, LaunchError::Image { image, .. } if image == "bad"), "{fault}");
        let fault = pinned_run_line(&place(dir.path()), &podman(dir.path()), &["-it".into(), "bad".into()]);
        assert!(matches!(fault, Err(LaunchError::Image { .. })));
    }

    // holds: image-by-id
    #[test]
    fn a_name_becomes_the_identifier_that_was_checked() {
        let dir = tempfile::tempdir().unwrap();
        let (place, podman) = (place(dir.path()), podman(dir.path()));
        let id = |number: u32| format!("{number:064}");
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(resolve(&place, &podman, "c", "good", &[], None).unwrap(), id(1));
        assert_eq!(resolve(&place, &podman, "c", "far", &[], None).unwrap(), id(2), "downloaded when missing");
        let line = pinned_run_line(&place, &podman, &words("--rm -e A=1 -- good ls --pull=always")).unwrap();
        assert_eq!(line, words(&format!("--rm -e A=1 --pull=never {} ls --pull=always", id(1))));
        let never = resolve(&place, &podman, "c", "gone", &words("--pull never"), None).unwrap_err();
        assert!(matches!(never, LaunchError::Refused { cause: Cause::ImageMissing(_), .. }), "{never}");
        let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
        assert_eq!(calls.matches("pull").count(), 1, "{calls}");
    }
}
