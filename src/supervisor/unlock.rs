//! Opening the vault: at once, and again whenever something changed that could make it open; closing it when it is locked.
//!
//! Invariants: the key derivation runs beside the services, never before them; a tier that asks a device is asked again
//! only after a change, or when the disk was in the way; a vault that does not exist is not created; nothing secret is
//! logged. When the place that the passphrase came from is emptied, the database is closed and its key is wiped, whatever
//! request is under way. A vault that was replaced or changed its key is opened anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use vault::passphrase::{self, Source, Tiers, handover, sealed};
use vault::{Store, VaultError, VaultState};
use wire::sidecar::Sidecar;

use crate::folderwatch::FolderWatch;
use crate::harden;
use crate::paths;
use crate::service::Shift;
use crate::signals::Signals;

const TRY_EVERY: Duration = Duration::from_secs(5);
/// A keyring opens without leaving a trace in any file, so it is asked from time to time.
const ASK_KEYRING_EVERY: Duration = Duration::from_secs(30);
/// So does the disk: another process may free some space, or mend somebody's rights.
const ASK_DISK_EVERY: Duration = Duration::from_secs(15);
/// The key derivation fills a processor; the hook that waits for us, and the start of the container, go first.
const HEAD_START: Duration = Duration::from_millis(20);
/// Files are often made in several steps.
const SETTLE: Duration = Duration::from_millis(20);

/// Keeps the vault open as long as it may be, for the services. One that was `locked` before stays so, as if somebody
/// had said it again.
pub async fn keep_trying(sidecar: Sidecar, locked: Option<Signs>, shift: Shift) {
    let mut keeper = Keeper { sidecar: Arc::new(sidecar), shift, phase: Phase::Due };
    let (lock, look) = (signal(SignalKind::user_defined1()), signal(SignalKind::user_defined2()));
    let (Ok(mut lock), Ok(mut look)) = (lock, look) else {
        return keeper.shift.vault.set(VaultState::Locked("signals cannot be received".into()));
    };
    if let Some(signs) = locked {
        keeper.obey().await;
        keeper.phase = Phase::Ordered(signs);
    }
    Signals::listen();
    tokio::time::sleep(HEAD_START).await;
    let vault_folder = keeper.sidecar.db_path.parent().map(Path::to_path_buf).unwrap_or_default();
    let watch = FolderWatch::on([keeper.sidecar.runtime_dir.as_path(), &vault_folder]);
    loop {
        keeper.step().await;
        tokio::select! {
            () = tokio::time::sleep(TRY_EVERY) => {}
            () = watch.changed() => tokio::time::sleep(SETTLE).await,
            _ = lock.recv() => keeper.obey().await,
            _ = look.recv() => keeper.look_again(),
        }
    }
}

/// What the keeper is about.
enum Phase {
    /// The next step tries to open the vault.
    Due,
    /// An attempt failed; another follows when the signs change or the time comes.
    Refused(Signs, Option<Instant>),
    /// Somebody wants it closed, until a tier changes or somebody wants it looked at.
    Ordered(Signs),
    /// It is open.
    Open(Opened),
}

struct Opened {
    store: Arc<Store>,
    source: Source,
    /// What the files looked like when the store was last known to be good.
    signs: Signs,
}

/// Fingerprints of the files of which a change may make the vault open, or closed.
pub type Signs = Vec<Option<Sign>>;
/// Device, inode, size and time of a file.
pub type Sign = (u64, u64, u64, i64, i64);

struct Keeper {
    sidecar: Arc<Sidecar>,
    shift: Shift,
    phase: Phase,
}

impl Keeper {
    /// Opens, closes or leaves things as they are; closing may be followed by opening anew at once.
    async fn step(&mut self) {
        if let Phase::Open(opened) = &self.phase
            && let Some(why) = self.must_close(opened).await
        {
            self.close(&why).await;
            self.phase = Phase::Due;
        }
        let signs = self.signs();
        let due = match &mut self.phase {
            Phase::Due => true,
            Phase::Refused(seen, again) => *seen != signs || again.is_some_and(|time| time <= Instant::now()),
            Phase::Ordered(seen) => seen[OF_TIERS..] != signs[OF_TIERS..],
            Phase::Open(opened) => {
                opened.signs = signs.clone();
                false
            }
        };
        if due {
            self.try_to_open(signs).await;
        }
    }

    async fn try_to_open(&mut self, signs: Signs) {
        let subject = self.sidecar.clone();
        let tried = tokio::task::spawn_blocking(move || open(&subject)).await;
        harden::release_memory();
        match tried.unwrap_or_else(|panic| Err(Refusal::last(panic.to_string()))) {
            Ok((store, source)) => {
                let store = Arc::new(store);
                self.shift.vault.set(VaultState::Open(store.clone()));
                self.phase = Phase::Open(Opened { store, source, signs });
            }
            Err(refusal) => {
                let told = matches!(self.shift.vault.state(), VaultState::Locked(why) if why == refusal.why);
                if !told {
                    tracing::warn!("the vault stays locked: {}", refusal.why);
                    self.shift.vault.set(VaultState::Locked(refusal.why));
                }
                self.phase = Phase::Refused(signs, refusal.again.map(|pause| Instant::now() + pause));
            }
        }
    }

    /// Takes the vault away from all services; the key is wiped when this returns.
    async fn close(&mut self, why: &str) {
        let before = std::mem::replace(&mut self.phase, Phase::Due);
        self.shift.vault.set(VaultState::Locked(why.to_owned()));
        if let Phase::Open(Opened { store, .. }) = before {
            tracing::warn!("the vault is closed: {why}");
            let _ = tokio::task::spawn_blocking(move || store.close()).await;
            harden::release_memory();
        }
    }

    async fn obey(&mut self) {
        self.close("somebody asked for it").await;
        self.phase = Phase::Ordered(self.signs());
    }

    fn look_again(&mut self) {
        if !matches!(self.phase, Phase::Open(_)) {
            self.phase = Phase::Due;
        }
    }

    /// Why the open vault must not stay open, or cannot.
    async fn must_close(&self, opened: &Opened) -> Option<String> {
        let emptied = match opened.source {
            Source::SessionFile => is_gone(&paths::session_file(&self.sidecar)),
            Source::SystemdCreds => !sealed::is_present(&sealed_file(&self.sidecar)),
            Source::Config => base::setting::credentials().passphrase.is_none_or(|p| p.is_empty()),
            Source::Keyring | Source::PassphraseCommand | Source::Prompt => false,
        };
        if emptied {
            return Some(format!("the tier `{}` no longer has the passphrase", opened.source.label()));
        }
        let signs = self.signs();
        if signs == opened.signs {
            return None;
        }
        let identity = |signs: &Signs| signs.first().copied().flatten().map(|sign| (sign.0, sign.1));
        if identity(&signs) != identity(&opened.signs) {
            return Some("its file was replaced".into());
        }
        let store = opened.store.clone();
        let read = tokio::task::spawn_blocking(move || store.list_credential_sets().map(drop)).await;
        match read {
            Ok(Err(VaultError::Busy(_))) | Ok(Ok(())) | Err(_) => None,
            Ok(Err(error)) => Some(base::fault::explain(&error)),
        }
    }

    fn signs(&self) -> Signs {
        signs(&self.sidecar)
    }
}

struct Refusal {
    why: String,
    /// When the same attempt may succeed although no file has changed.
    again: Option<Duration>,
}

impl Refusal {
    fn last(why: String) -> Self {
        Self { why, again: None }
    }
}

fn open(sidecar: &Sidecar) -> Result<(Store, Source), Refusal> {
    if !sidecar.db_path.is_file() {
        return Err(Refusal::last(format!("there is no vault at `{}`", sidecar.db_path.display())));
    }
    let refused =
        |error: VaultError, source| Refusal { again: again(&error, source), why: base::fault::explain(&error) };
    let tiers = tiers(sidecar);
    let Some((secret, source)) = passphrase::resolve(&tiers).map_err(|error| refused(error, None))? else {
        let again = tiers.use_keyring.then_some(ASK_KEYRING_EVERY);
        return Err(Refusal { why: "no tier has a passphrase".into(), again });
    };
    let store = handover::open(&sidecar.db_path, &secret).map_err(|error| refused(error, Some(source)))?;
    tracing::info!("vault unlocked with the passphrase from `{}`", source.label());
    Ok((store, source))
}

/// When to try again after a failure that may pass without a change of any watched file: space, rights and mounts come
/// back like that. A command may disturb a person, so it is not asked again for that.
fn again(error: &VaultError, source: Option<Source>) -> Option<Duration> {
    match error {
        VaultError::Busy(_) => Some(Duration::ZERO),
        _ if matches!(source, None | Some(Source::PassphraseCommand)) => None,
        VaultError::Full(_) | VaultError::ReadOnly(_) | VaultError::Io { .. } | VaultError::Database { .. } => {
            Some(ASK_DISK_EVERY)
        }
        _ => None,
    }
}

/// The session file and the sealed file lie where the sidecar says; the rest is the operator's configuration.
fn tiers(sidecar: &Sidecar) -> Tiers {
    let section = base::setting::credentials();
    for remark in base::notice::take() {
        tracing::warn!("{remark}");
    }
    Tiers {
        session_file: Some(paths::session_file(sidecar)),
        systemd_creds_file: Some(sealed_file(sidecar)),
        use_keyring: section.use_keyring,
        keyring_may_ask: false,
        passphrase_command: section.passphrase_command,
        config_passphrase: section.passphrase,
    }
}

fn sealed_file(sidecar: &Sidecar) -> PathBuf {
    paths::beside_vault(sidecar, "vault.passphrase.cred")
}

/// Where the tiers begin among the watched files.
const OF_TIERS: usize = 2;

/// The vault comes first; its write-ahead log tells of changes that the file itself shows later. The tiers follow.
fn watched_files(sidecar: &Sidecar) -> Vec<PathBuf> {
    let vault = &sidecar.db_path;
    let log = vault.with_file_name(format!("{}-wal", vault.file_name().unwrap_or_default().to_string_lossy()));
    let mut files = vec![vault.clone(), log, paths::session_file(sidecar), sealed_file(sidecar)];
    files.extend(base::config::sources_in(base::path::Namespace::current()).into_iter().map(|(_, path)| path));
    files
}

/// What they look like now.
pub fn signs(sidecar: &Sidecar) -> Signs {
    watched_files(sidecar).iter().map(|file| sign(file)).collect()
}

/// Nothing for a missing file.
fn sign(path: &Path) -> Option<Sign> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

/// Only a file that is really not there counts: an unreadable folder is no order to lock.
fn is_gone(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_by_itself_is_tried_again_without_disturbing_anybody() {
        let place = || PathBuf::from("/v/credentials.db");
        let denied = VaultError::Io { doing: "read the vault", path: place(), source: std::io::Error::other("x") };
        for error in [VaultError::Full(place()), VaultError::ReadOnly(place()), denied] {
            assert_eq!(again(&error, Some(Source::SessionFile)), Some(ASK_DISK_EVERY), "{error}");
            assert_eq!(again(&error, Some(Source::PassphraseCommand)), None, "{error}");
        }
        assert_eq!(again(&VaultError::Busy(place()), Some(Source::PassphraseCommand)), Some(Duration::ZERO));
        for error in [VaultError::WrongPassphrase(place()), VaultError::Corrupt(place())] {
            assert_eq!(again(&error, Some(Source::SessionFile)), None, "{error}");
        }
    }
}
