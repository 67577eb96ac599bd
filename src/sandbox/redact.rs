//! Which environment values must not be seen, and command lines without them.
//!
//! A value is sensitive by its variable's name, or because it is a URL that carries user information.

use base::text::{has_userinfo, redact_userinfo};

const MARKS: [&str; 8] = ["KEY", "TOKEN", "SECRET", "API", "PASSWORD", "PRIVATE", "PASSPHRASE", "CREDENTIAL"];
const NAMES: [&str; 2] = ["CODE_REPO", "CLONE_FROM"];
const HIDDEN: &str = "<redacted>";

/// True when a variable of this name holds something that must not be shown.
pub fn is_sensitive_name(name: &str) -> bool {
    let name = name.to_uppercase();
    MARKS.iter().any(|mark| name.contains(mark))
        || NAMES.contains(&name.as_str())
        || name.split(['_', '-', '.']).any(|part| matches!(part, "AUTH" | "OAUTH" | "AUTHORIZATION" | "BEARER"))
}

/// True when this variable must not be shown with its value.
pub fn is_sensitive(name: &str, value: &str) -> bool {
    is_sensitive_name(name) || has_userinfo(value)
}

/// The argument list with the values of sensitive variables replaced; every form of podman's environment option is
/// understood. User information in any other argument is hidden as well.
pub fn redact_env_args<S: AsRef<str>>(args: &[S]) -> Vec<String> {
    let mut out = Vec::with_capacity(args.len());
    let mut value_follows = false;
    for arg in args {
        let arg = arg.as_ref();
        if std::mem::take(&mut value_follows) {
            out.push(pair(arg));
            continue;
        }
        value_follows = matches!(arg, "-e" | "--env");
        out.push(glued(arg).unwrap_or_else(|| redact_userinfo(arg)));
    }
    out
}

/// `--env=K=V` and `-eK=V`.
fn glued(arg: &str) -> Option<String> {
    if let Some(rest) = arg.strip_prefix("--env=") {
        return Some(format!("--env={}", pair(rest)));
    }
    let rest = arg.strip_prefix("-e")?;
    (!rest.is_empty() && rest.contains('=')).then(|| format!("-e{}", pair(rest)))
}

fn pair(text: &str) -> String {
    match text.split_once('=') {
        Some((name, _)) if is_sensitive_name(name) => format!("{name}={HIDDEN}"),
        Some((name, value)) if has_userinfo(value) => format!("{name}={}", redact_userinfo(value)),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let table: Vec<(Vec<String>, Vec<String>)> =
            serde_json::from_str(include_str!("../../tests/fixtures/sandbox/redaction.json")).unwrap();
        for (given, expected) in table {
            assert_eq!(redact_env_args(&given), expected);
        }
    }

    #[test]
    fn ordinary_names_are_shown() {
        for name in ["TASK_ID", "GIT_AUTHOR_NAME", "TEROK_GIT_AUTHORSHIP", "TZ", "PATH"] {
            assert!(!is_sensitive_name(name), "{name}");
        }
        for name in ["ANTHROPIC_API_KEY", "gh_token", "DB_PASSPHRASE", "X_CREDENTIALS", "HTTP_AUTH", "CLAUDE_OAUTH"] {
            assert!(is_sensitive_name(name), "{name}");
        }
    }
}
