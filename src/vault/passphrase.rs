//! The ways to the vault's passphrase, asked in a fixed order; one file below this one per way.
//!
//! Invariants: the first tier that has a value wins, unverified; a sealed file or a command that is configured but fails
//! ends the search, so that security is never lowered in silence; an empty value never wins; nothing here prompts on a
//! terminal. Only the keyring is skipped when it fails: a session without a desktop is no fault.

use std::path::PathBuf;

use base::secret::Secret;

use crate::error::VaultError;

mod command;
pub mod handover;
pub mod keyring;
pub mod sealed;
pub mod session;
mod varlink;

pub use session::{forget_session_file, write_session_file};

/// Longest passphrase file or answer, in bytes.
const LIMIT: u64 = 4096;

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
    /// Whether the desktop's keyring is asked.
    pub use_keyring: bool,
    /// Whether a locked keyring may ask its owner to unlock it; a service in the background never does.
    pub keyring_may_ask: bool,
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
    if let Some(secret) = tiers.session_file.as_deref().and_then(session::read) {
        return Ok(Some((secret, Source::SessionFile)));
    }
    if let Some(file) = tiers.systemd_creds_file.as_deref().filter(|f| sealed::is_present(f)) {
        return sealed::unseal(file).map(|secret| Some((secret, Source::SystemdCreds)));
    }
    if let Some(secret) = tiers.use_keyring.then(|| keyring::load(tiers.keyring_may_ask)).flatten() {
        return Ok(Some((secret, Source::Keyring)));
    }
    if let Some(command) = tiers.passphrase_command.as_deref().filter(|c| !c.is_empty()) {
        return command::ask(command).map(|secret| Some((secret, Source::PassphraseCommand)));
    }
    Ok(tiers.config_passphrase.clone().filter(|s| !s.is_empty()).map(|secret| (secret, Source::Config)))
}

/// A new passphrase: 43 characters of URL-safe base64, six random bits each.
pub fn generate() -> Secret {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let noise = base::ident::random_bytes(43);
    Secret::new(noise.iter().map(|b| char::from(DIGITS[usize::from(b & 63)])).collect::<String>())
}

/// What a program printed; only the line end goes, blanks inside and around belong to the passphrase.
fn answer(stdout: &[u8]) -> Option<Secret> {
    let text = std::str::from_utf8(stdout).ok()?;
    let secret = Secret::new(text.trim_end_matches(['\n', '\r']));
    (!secret.is_empty()).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

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

    // improves: 21-3.2-session-not-text
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
    fn a_sealed_file_that_cannot_be_opened_ends_the_search() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cred");
        std::fs::write(&file, "sealed").unwrap();
        let tiers = Tiers {
            systemd_creds_file: Some(file.clone()),
            passphrase_command: Some("echo weaker".into()),
            ..tiers(dir.path())
        };
        assert!(matches!(resolve(&tiers), Err(VaultError::Tier { tier: "systemd-creds", .. })));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(resolved(&tiers), ("weaker".into(), "passphrase-command"));
        std::os::unix::fs::symlink("elsewhere", &file).unwrap();
        assert!(resolve(&tiers).is_err(), "a link in its place is no reason to ask a weaker tier");
    }

    #[test]
    fn a_session_without_a_keyring_asks_the_next_tier() {
        let dir = tempfile::tempdir().unwrap();
        // SAFETY: no other test of this crate reads the variable.
        unsafe { std::env::set_var("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}/none", dir.path().display())) };
        let tiers = Tiers { use_keyring: true, ..tiers(dir.path()) };
        assert_eq!(resolved(&tiers).1, "config");
    }

    #[test]
    fn generated_passphrases_are_long_and_differ() {
        let (a, b) = (generate(), generate());
        assert!(a.expose().len() == 43 && a.expose() != b.expose());
    }
}
