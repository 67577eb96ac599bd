//! Names of base images: their valid form, their parts, the package family behind them.
//!
//! A name goes into a Dockerfile, so one that could end the line or start another instruction is refused here, before
//! anything is rendered.

use std::sync::OnceLock;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

use crate::{DEFAULT_BASE_IMAGE, ImageError};

/// Longest accepted name, in bytes.
const LONGEST: usize = 256;

/// How packages are installed on a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// apt and dpkg.
    Deb,
    /// dnf and rpm.
    Rpm,
}

impl Family {
    /// The name used in configuration and templates.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
        }
    }

    /// The family of this name.
    ///
    /// # Errors
    /// [`ImageError::BadFamily`].
    pub fn named(name: &str) -> Result<Self, ImageError> {
        match name {
            "deb" => Ok(Self::Deb),
            "rpm" => Ok(Self::Rpm),
            other => Err(ImageError::BadFamily(base::text::sanitize_tty(other))),
        }
    }

    /// The file every interactive bash of this family reads.
    pub fn bashrc(self) -> &'static str {
        match self {
            Self::Deb => "/etc/bash.bashrc",
            Self::Rpm => "/etc/bashrc",
        }
    }

    /// The file with all trusted certificates on this family.
    pub fn ca_bundle(self) -> &'static str {
        match self {
            Self::Deb => "/etc/ssl/certs/ca-certificates.crt",
            Self::Rpm => "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        }
    }
}

/// The name without blanks around it; a blank one is the default.
pub fn normalise(image: &str) -> &str {
    match image.trim() {
        "" => DEFAULT_BASE_IMAGE,
        name => name,
    }
}

/// Checks the form `[host[:port]/]name[:tag][@sha256:digest]`.
///
/// # Errors
/// [`ImageError::BadBase`].
pub fn validate(image: &str) -> Result<(), ImageError> {
    printable(image)?;
    if shape().is_match(image) {
        return Ok(());
    }
    bad(image, "it is not of the form [host[:port]/]name[:tag][@sha256:digest]")
}

/// Refuses what could not even be shown on one line.
fn printable(image: &str) -> Result<(), ImageError> {
    if image.len() > LONGEST {
        return bad(image, "it is longer than 256 characters");
    }
    if image.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return bad(image, "it contains blanks or control characters");
    }
    Ok(())
}

fn bad(image: &str, why: &'static str) -> Result<(), ImageError> {
    Err(ImageError::BadBase { image: base::text::sanitize_tty(image), why })
}

fn shape() -> &'static Regex {
    static SHAPE: OnceLock<Regex> = OnceLock::new();
    SHAPE.get_or_init(|| {
        Regex::new(concat!(
            r"^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?/)?",
            r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*)*",
            r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$"
        ))
        .expect("the pattern is constant")
    })
}

/// Name and tag of a reference; the digest is dropped, a registry's port stays with the name.
pub fn split(image: &str) -> (&str, &str) {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match (name.rfind(':'), name.rfind('/')) {
        (Some(colon), slash) if slash.is_none_or(|s| colon > s) => (&name[..colon], &name[colon + 1..]),
        _ => (name, ""),
    }
}

/// The package family of a base image; a given one wins.
///
/// # Errors
/// [`ImageError::BadFamily`], [`ImageError::BadBase`], [`ImageError::UnknownFamily`].
pub fn family(image: &str, given: Option<&str>) -> Result<Family, ImageError> {
    let image = normalise(image);
    if let Some(name) = given {
        return Family::named(name);
    }
    printable(image)?;
    let (name, tag) = split(image);
    let name = name.to_lowercase();
    let unqualified =
        ["docker.io/library/", "docker.io/"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(&name);
    let is = |prefix: &str| unqualified == prefix || unqualified.starts_with(&format!("{prefix}/"));
    if is("registry.fedoraproject.org/fedora") || is("quay.io/podman") {
        return Ok(Family::Rpm);
    }
    if is("nvcr.io/nvidia") || is("nvidia") {
        return Ok(if is_ubi(tag) { Family::Rpm } else { Family::Deb });
    }
    if is("ubuntu") || is("debian") || is(crate::bootstrap::REPOSITORY) {
        return Ok(Family::Deb);
    }
    if is("fedora") {
        return Ok(Family::Rpm);
    }
    Err(ImageError::UnknownFamily(image.to_owned()))
}

fn is_ubi(tag: &str) -> bool {
    let tag = tag.to_lowercase();
    tag.match_indices("ubi").any(|(at, _)| tag[at + 3..].starts_with(|c: char| c.is_ascii_digit()))
}
