//! Names of the images we build.
//!
//! Invariants: a tag is at most 120 characters; the order in which entries are given never matters; two selections that
//! differ never share a tag.

use sha1::{Digest, Sha1};

use crate::DEFAULT_BASE_IMAGE;

const LIMIT: usize = 120;
const DIGEST: usize = 12;

/// A base image's name as part of a tag.
pub fn base_tag(image: &str) -> String {
    base_tag_or(image, DEFAULT_BASE_IMAGE)
}

/// As [`base_tag`], with another base image for a name that is blank or has nothing a tag can hold.
pub fn base_tag_or(image: &str, default: &str) -> String {
    let raw = image.trim();
    let tag = fragment(raw);
    match tag.len() {
        0 => fragment(default),
        n if n > LIMIT => format!("{}-{}", &tag[..LIMIT - 9], &sha1_hex(raw)[..8]),
        _ => tag,
    }
}

/// Lower case; whatever a tag cannot hold becomes `-`; no `-` or `.` at the ends. The result is ASCII.
fn fragment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut gap = false;
    for c in text.trim().chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') {
            out.push(c.to_ascii_lowercase());
            gap = false;
        } else if !gap {
            out.push('-');
            gap = true;
        }
    }
    out.trim_matches(['-', '.']).to_owned()
}

fn sha1_hex(text: &str) -> String {
    hex::encode(Sha1::digest(text.as_bytes()))
}

/// The shared layer on this base.
pub fn l0(image: &str) -> String {
    format!("terok-l0:{}", base_tag(image))
}

/// The agent layer; without a selection the alias of the user's default one.
pub fn l1(image: &str, agents: Option<&[String]>) -> String {
    let mut base = base_tag(image);
    let Some(agents) = agents else {
        return format!("terok-l1-cli:{base}");
    };
    let mut names: Vec<&str> = agents.iter().map(String::as_str).collect();
    names.sort_unstable();
    let mut suffix = names.iter().map(|n| fragment(n)).collect::<Vec<_>>().join("-");
    if names.is_empty() {
        suffix = "empty".into();
    }
    if base.len() + 1 + suffix.len() > LIMIT {
        suffix = sha1_hex(&names.join(","))[..DIGEST].to_owned();
        base.truncate(LIMIT - 1 - DIGEST);
    }
    format!("terok-l1-cli:{base}-{suffix}")
}

/// The tool layer on this base.
pub fn l1_sidecar(image: &str) -> String {
    format!("terok-l1-sidecar:{}", base_tag(image))
}
