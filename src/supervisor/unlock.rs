//! Opening the vault: at once, and again whenever something changed that could make it open.
//!
//! Invariants: the key derivation runs beside the services, never before them; a tier that asks a person or a device is
//! asked again only after a change; a vault that does not exist is not created; nothing secret is logged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use vault::passphrase::{self, Tiers};
use vault::{Store, VaultError, VaultState};
use wire::sidecar::Sidecar;

use crate::harden;
use crate::paths;
use crate::service::Shift;

const TRY_EVERY: Duration = Duration::from_secs(5);
/// The key derivation fills a processor; the hook that waits for us, and the start of the container, go first.
const HEAD_START: Duration = Duration::from_millis(20);

/// Opens the vault for the services, however long that takes.
pub async fn keep_trying(sidecar: Sidecar, shift: Shift) {
    let sidecar = Arc::new(sidecar);
    let mut seen = None;
    tokio::time::sleep(HEAD_START).await;
    loop {
        let signs = watched_files(&sidecar).iter().map(|f| fingerprint(f)).collect::<Vec<_>>();
        if seen.as_ref() != Some(&signs) {
            let subject = sidecar.clone();
            let tried = tokio::task::spawn_blocking(move || open(&subject)).await;
            harden::release_memory();
            match tried.unwrap_or_else(|panic| Err(Refusal::last(panic.to_string()))) {
                Ok(store) => {
                    shift.vault.set(VaultState::Open(Arc::new(store)));
                    return;
                }
                Err(refusal) => {
                    tracing::warn!("the vault stays locked: {}", refusal.why);
                    shift.vault.set(VaultState::Locked(refusal.why));
                    seen = (!refusal.passing).then_some(signs);
                }
            }
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}

struct Refusal {
    why: String,
    /// True when the same attempt may succeed later.
    passing: bool,
}

impl Refusal {
    fn last(why: String) -> Self {
        Self { why, passing: false }
    }
}

fn open(sidecar: &Sidecar) -> Result<Store, Refusal> {
    if !sidecar.db_path.is_file() {
        return Err(Refusal::last(format!("there is no vault at `{}`", sidecar.db_path.display())));
    }
    let refused = |error: VaultError| Refusal {
        passing: matches!(error, VaultError::Busy(_)),
        why: base::fault::explain(&error),
    };
    let tiers = tiers(sidecar).map_err(Refusal::last)?;
    let Some((secret, source)) = passphrase::resolve(&tiers).map_err(refused)? else {
        return Err(Refusal::last("no tier has a passphrase".into()));
    };
    let store = Store::open(&sidecar.db_path, &secret).map_err(refused)?;
    tracing::info!("vault unlocked with the passphrase from `{}`", source.label());
    Ok(store)
}

/// The session file and the sealed file lie where the sidecar says; the rest is the operator's configuration.
fn tiers(sidecar: &Sidecar) -> Result<Tiers, String> {
    let section = base::config::section("credentials");
    for remark in base::notice::take() {
        tracing::warn!("{remark}");
    }
    let text = |key: &str| match section.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("`credentials.{key}` of the configuration is not a text")),
    };
    Ok(Tiers {
        session_file: Some(paths::session_file(sidecar)),
        systemd_creds_file: Some(paths::beside_vault(sidecar, "vault.passphrase.cred")),
        passphrase_command: text("passphrase_command")?,
        config_passphrase: text("passphrase")?.map(base::secret::Secret::new),
    })
}

/// Files of which a change may make the vault open.
fn watched_files(sidecar: &Sidecar) -> Vec<PathBuf> {
    let mut files = vec![
        sidecar.db_path.clone(),
        paths::session_file(sidecar),
        paths::beside_vault(sidecar, "vault.passphrase.cred"),
    ];
    files.extend(base::config::files().into_iter().map(|(_, path)| path));
    files
}

/// Inode, size and time of a file; nothing for a missing one.
fn fingerprint(path: &Path) -> Option<(u64, u64, i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::symlink_metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}
