//! The helper command: split into words as a shell would, run without one.
//!
//! The command never appears in an error or a log line beyond its first word: it may hold a secret itself.

use std::time::Duration;

use base::process::{Run, RunError};
use base::secret::Secret;

use crate::error::VaultError;

use super::answer;

const COMMAND_LIMIT: Duration = Duration::from_secs(30);

pub(super) fn ask(command: &str) -> Result<Secret, VaultError> {
    ask_within(command, COMMAND_LIMIT)
}

fn ask_within(command: &str, limit: Duration) -> Result<Secret, VaultError> {
    let fail = |why: &str| VaultError::Tier { tier: "passphrase-command", why: why.to_owned() };
    let words =
        shlex::split(command).filter(|w| !w.is_empty()).ok_or_else(|| fail("it is not a valid command line"))?;
    let output = match Run::new(&words).limit(limit).output() {
        Ok(output) => output,
        Err(RunError::TimedOut { .. }) => return Err(fail("it did not answer in time")),
        Err(_) => return Err(fail("it could not be started")),
    };
    if !output.ok() {
        let complaint = base::text::sanitize_tty(String::from_utf8_lossy(&output.stderr).trim());
        tracing::warn!(program = %words[0], status = output.code, complaint, "the passphrase command failed");
        return Err(fail("it ended with a failure status"));
    }
    let stdout = zeroize::Zeroizing::new(output.stdout);
    answer(&stdout).ok_or_else(|| fail("it printed nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_blanks_stay_and_only_line_ends_go() {
        assert_eq!(ask("printf '  a b \\r\\n'").unwrap().expose(), "  a b ");
    }

    #[test]
    fn every_failure_hides_the_command() {
        for bad in ["false", "\"unbalanced", "   ", "true", "no-such-program-xyz", "sh -c 'exit 3'"] {
            let text = ask(bad).unwrap_err().to_string();
            assert!(bad.trim().is_empty() || !text.contains(bad.trim()), "{text}");
        }
        let slow = ask_within("sleep 60", Duration::from_millis(50)).unwrap_err().to_string();
        assert!(slow.contains("in time") && !slow.contains("sleep"), "{slow}");
    }
}
