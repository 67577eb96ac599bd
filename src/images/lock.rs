//! The lock files that a recipe installs from, and the label that records them.

use std::sync::OnceLock;

use regex_lite::Regex;
use sha2::{Digest, Sha256};

use crate::{render, stage};

/// The label's text: `name=sha256:<digest of the lock file>`, comma separated, in the order of the recipe. A lock whose
/// versions were replaced by `given` build arguments is recorded as `unlocked`, because it was not used. So is one that
/// lacks packages of platforms other than x86-64, on those.
pub fn label(recipe: &str, given: &[(String, String)]) -> String {
    let defaults = render::versions([recipe]);
    let replaced: Vec<String> = given
        .iter()
        .filter(|(arg, value)| {
            !defaults.iter().any(|(name, default)| render::version_arg(name) == *arg && default == value)
        })
        .map(|(arg, _)| format!("${{{arg}}}"))
        .collect();
    let usable = |content: &[u8]| cfg!(target_arch = "x86_64") || !content.windows(12).any(|w| w == b"\"incomplete\"");
    let files = stage::content(stage::LOCKS_DIR);
    let parts = calls(recipe).into_iter().map(|(name, arguments)| {
        let held = files.iter().find(|(file, _)| file.split_once('.').is_some_and(|(stem, _)| stem == name));
        match held
            .filter(|(_, content)| usable(content))
            .filter(|_| !replaced.iter().any(|variable| arguments.contains(variable)))
        {
            Some((_, content)) => format!("{name}=sha256:{}", hex::encode(Sha256::digest(content))),
            None => format!("{name}=unlocked"),
        }
    });
    parts.collect::<Vec<_>>().join(",")
}

/// Names and arguments of the calls of `terok-locked-npm` and `terok-locked-pip`.
fn calls(recipe: &str) -> Vec<(&str, &str)> {
    static CALL: OnceLock<Regex> = OnceLock::new();
    let call = CALL.get_or_init(|| {
        Regex::new(r#"terok-locked-(?:npm|pip) ([a-z-]+)((?:\s+(?:\\\n\s*)?(?:--scripts \S+|"[^"]+"))+)"#)
            .expect("the pattern is constant")
    });
    call.captures_iter(recipe).filter_map(|found| Some((found.get(1)?.as_str(), found.get(2)?.as_str()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = "ARG CODEX_VERSION=1\nARG UV_VERSION=2\nRUN /x/terok-locked-npm codex \\\n   \
                          \"@openai/codex@${CODEX_VERSION}\"; /x/terok-locked-pip tools \"uv==${UV_VERSION}\" -- pip";

    #[test]
    fn label_names_the_digest_of_every_lock_that_is_used() {
        let label = label(RECIPE, &[]);
        let parts: Vec<&str> = label.split(',').collect();
        assert_eq!(parts.len(), 2);
        assert!(parts[0].starts_with("codex=sha256:") && parts[1].starts_with("tools=sha256:"), "{label}");
        assert_eq!(parts[0].len(), "codex=sha256:".len() + 64);
    }

    #[test]
    fn label_says_which_lock_was_not_used() {
        let given = [("CODEX_VERSION", "9"), ("UV_VERSION", "2")].map(|(a, v)| (a.to_owned(), v.to_owned()));
        let label = label(RECIPE, &given);
        assert!(label.starts_with("codex=unlocked,tools=sha256:"), "{label}");
    }
}
