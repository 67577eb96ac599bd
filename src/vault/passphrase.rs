//! The ways to the vault's passphrase, asked in a fixed order.
//!
//! Invariants: the first tier that has a value wins, unverified; a tier that is configured but fails ends the search, so
//! that security is never lowered in silence; an empty value never wins; nothing here prompts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base::process::Run;
use base::secret::Secret;

use crate::error::VaultError;

/// Longest passphrase file or answer, in bytes.
const LIMIT: u64 = 4096;
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
const UNSEAL_LIMIT: Duration = Duration::from_secs(10);
/// Name embedded in a sealed passphrase.
pub const SEALED_NAME: &str = "terok-sandbox.vault-passphrase";

/// Where a passphrase came from; the texts are shown by front ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The file of the current session.
    SessionFile,
    /// A credential sealed by systemd.
    SystemdCreds,
    /// The desktop's keyring.
    Keyring,
    /// A helper command.
    PassphraseCommand,
    /// Plain text in the configuration.
    Config,
    /// Typed by a person.
    Prompt,
}

impl Source {
    /// The label that front ends know.
    pub fn label(self) -> &'static str {
        match self {
            Self::SessionFile => "session-file",
            Self::SystemdCreds => "systemd-creds",
            Self::Keyring => "keyring",
            Self::PassphraseCommand => "passphrase-command",
            Self::Config => "config",
            Self::Prompt => "prompt",
        }
    }
}

/// What is configured; everything is optional.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub struct Tiers {
    /// File that holds the passphrase for this session.
    pub session_file: Option<PathBuf>,
    /// Sealed credential.
    pub systemd_creds_file: Option<PathBuf>,
    /// Command that prints the passphrase.
    pub passphrase_command: Option<String>,
    /// The passphrase itself, from the configuration.
    #[serde(deserialize_with = "secret")]
    pub config_passphrase: Option<Secret>,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    let text: Option<String> = serde::Deserialize::deserialize(deserializer)?;
    Ok(text.map(Secret::new))
}

/// The passphrase and where it came from, or `None` when no tier has one.
///
/// # Errors
/// [`VaultError::Tier`] when a configured tier fails.
pub fn resolve(tiers: &Tiers) -> Result<Option<(Secret, Source)>, VaultError> {
    if let Some(secret) = tiers.session_file.as_deref().and_then(read_session_file) {
        return Ok(Some((secret, Source::SessionFile)));
    }
    if let Some(file) = tiers.systemd_creds_file.as_deref().filter(|f| f.is_file()) {
        return unseal(file).map(|secret| Some((secret, Source::SystemdCreds)));
    }
    if let Some(command) = tiers.passphrase_command.as_deref().filter(|c| !c.is_empty()) {
        return ask_command(command).map(|secret| Some((secret, Source::PassphraseCommand)));
    }
    Ok(tiers.config_passphrase.clone().filter(|s| !s.is_empty()).map(|secret| (secret, Source::Config)))
}

/// A missing, unreadable or empty session file is the same as none.
fn read_session_file(path: &Path) -> Option<Secret> {
    let bytes = base::file::read_regular(path, LIMIT).ok()?;
    let Ok(text) = String::from_utf8(bytes) else {
        tracing::warn!(path = %path.display(), "the session file is not UTF-8 and is ignored");
        return None;
    };
    let secret = Secret::new(text.trim_end_matches(['\n', '\r']));
    (!secret.is_empty()).then_some(secret)
}

/// Writes the session file: 0600, replaced atomically, parents 0700.
///
/// # Errors
/// [`VaultError::Io`].
pub fn write_session_file(path: &Path, passphrase: &Secret) -> Result<(), VaultError> {
    base::file::write_private(path, format!("{}\n", passphrase.expose()).as_bytes()).map_err(|source| VaultError::Io {
        doing: "write the session file",
        path: path.to_path_buf(),
        source,
    })
}

/// A new passphrase: 32 random bytes as URL-safe base64 without padding, 43 characters.
pub fn generate() -> Secret {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let noise = base::ident::random_bytes(43);
    Secret::new(noise.iter().map(|b| char::from(DIGITS[usize::from(b & 63)])).collect::<String>())
}

fn unseal(file: &Path) -> Result<Secret, VaultError> {
    let fail = |why: String| VaultError::Tier { tier: "systemd-creds", why };
    let argv = ["systemd-creds", "decrypt", "--user", &format!("--name={SEALED_NAME}")].map(str::to_owned);
    let argv = argv.iter().map(std::ffi::OsString::from).chain([file.into(), "-".into()]);
    let output = Run::new(argv).limit(UNSEAL_LIMIT).output().map_err(|e| fail(e.to_string()))?;
    if !output.ok() {
        return Err(fail(format!("unsealing ended with status {}", output.code)));
    }
    answer(&output.stdout).ok_or_else(|| fail("the sealed passphrase is empty".into()))
}

/// The command never appears in the error: it may hold a secret itself.
fn ask_command(command: &str) -> Result<Secret, VaultError> {
    let fail = |why: &str| VaultError::Tier { tier: "passphrase-command", why: why.to_owned() };
    let words =
        shlex::split(command).filter(|w| !w.is_empty()).ok_or_else(|| fail("it is not a valid command line"))?;
    let output = match Run::new(&words).limit(COMMAND_LIMIT).output() {
        Ok(output) => output,
        Err(base::process::RunError::TimedOut { .. }) => return Err(fail("it did not answer in time")),
        Err(_) => return Err(fail("it could not be started")),
    };
    if !output.ok() {
        tracing::warn!(program = %words[0], status = output.code, "the passphrase command failed");
        return Err(fail("it ended with a failure status"));
    }
    answer(&output.stdout).ok_or_else(|| fail("it printed nothing"))
}

/// Only the line end goes; blanks inside and around belong to the passphrase.
fn answer(stdout: &[u8]) -> Option<Secret> {
    let text = std::str::from_utf8(stdout).ok()?;
    let secret = Secret::new(text.trim_end_matches(['\n', '\r']));
    (!secret.is_empty()).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiers(dir: &Path) -> Tiers {
        Tiers {
            session_file: Some(dir.join("session")),
            config_passphrase: Some(Secret::new("from config")),
            ..Tiers::default()
        }
    }

    fn resolved(tiers: &Tiers) -> (String, &'static str) {
        let (secret, source) = resolve(tiers).unwrap().unwrap();
        (secret.expose().to_owned(), source.label())
    }

    #[test]
    fn the_session_file_comes_first_and_an_empty_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let tiers = tiers(dir.path());
        assert_eq!(resolved(&tiers), ("from config".into(), "config"));
        write_session_file(&dir.path().join("session"), &Secret::new("pw")).unwrap();
        assert_eq!(resolved(&tiers), ("pw".into(), "session-file"));
        for content in [b"\n".as_slice(), b"", b"\xff\xfe"] {
            std::fs::write(dir.path().join("session"), content).unwrap();
            assert_eq!(resolved(&tiers).1, "config", "{content:?}");
        }
        assert!(resolve(&Tiers::default()).unwrap().is_none());
        let empty = Tiers { config_passphrase: Some(Secret::new("")), ..Tiers::default() };
        assert!(resolve(&empty).unwrap().is_none());
    }

    #[test]
    fn commands_keep_inner_blanks_and_fail_closed() {
        let ask = |command: &str| {
            resolve(&Tiers {
                passphrase_command: Some(command.into()),
                config_passphrase: Some(Secret::new("weaker")),
                ..Tiers::default()
            })
        };
        assert_eq!(ask("printf '  a b \\r\\n'").unwrap().unwrap().0.expose(), "  a b ");
        for bad in ["false", "\"unbalanced", "   ", "true", "no-such-program-xyz"] {
            let text = ask(bad).unwrap_err().to_string();
            assert!(!text.contains(bad.trim()) || bad.trim().is_empty(), "{text}");
        }
    }

    #[test]
    fn a_sealed_file_that_cannot_be_opened_ends_the_search() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cred"), "sealed").unwrap();
        let tiers = Tiers { systemd_creds_file: Some(dir.path().join("cred")), ..tiers(dir.path()) };
        assert!(matches!(resolve(&tiers), Err(VaultError::Tier { tier: "systemd-creds", .. })));
    }

    #[test]
    fn generated_passphrases_are_long_and_differ() {
        let (a, b) = (generate(), generate());
        assert!(a.expose().len() == 43 && a.expose() != b.expose());
    }
}
