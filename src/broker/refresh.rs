//! Keeping OAuth logins fresh: ahead of their end, when a request finds one over, and when an upstream rejects one.
//!
//! Invariants: only logins that this container's tokens and markers use; one refresh of a login at a time on the whole
//! host, and the record is read again under the lock; the vendor is asked only when there is room to keep what it gives;
//! that is kept before anything else happens, and the lock is held until the vault has it; a record that was deleted or
//! logged in anew meanwhile is left alone; no request of others waits; nothing that a token endpoint says is logged.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::secret::Secret;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::Instant;
use vault::{Owner, Store, VaultError, VaultState};

use crate::backoff::{self, Cause};
use crate::endpoint::{Endpoint, EndpointError, Fresh, now};
use crate::proxy::Proxy;
use crate::{journal, lease};

/// Pause between two passes over all logins.
const EVERY: Duration = Duration::from_secs(300);
/// So long before its end a login is refreshed, in seconds.
const MARGIN: f64 = 600.0;
/// How long a request waits for somebody else's refresh, and for all of it.
const PATIENCE: Duration = Duration::from_secs(10);
const REQUEST_WAITS: Duration = Duration::from_secs(20);
/// A login that was just refreshed and is rejected again has another trouble.
const REJECTED_AGAIN: Duration = Duration::from_secs(300);
/// How long one attempt to write may keep others from the vault, and the pauses between attempts.
const WRITE_WAITS: Duration = Duration::from_millis(20);
const WRITE_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(30));

/// One stored login.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Login {
    /// Credential set.
    pub set: String,
    /// Provider.
    pub provider: String,
}

/// Why a login should be refreshed.
#[derive(Clone)]
pub enum Reason {
    /// It ends soon, or has ended.
    Due,
    /// An upstream rejected this access token.
    Rejected(Secret),
}

impl Reason {
    /// Whether the record as it is now still needs it.
    fn holds(&self, record: &Map<String, Value>) -> bool {
        match self {
            Self::Due => ends(record).is_none_or(|end| now() >= end - MARGIN),
            Self::Rejected(token) => text(record, "access_token").is_some_and(|current| token.matches(current)),
        }
    }

    /// True while another supervisor's refresh for this reason is too recent for another one.
    fn rests(&self, pauses: &Path) -> bool {
        match self {
            Self::Due => false,
            Self::Rejected(token) => backoff::is_resting(pauses, Cause::Rejected, token.expose()),
        }
    }
}

struct Trouble {
    /// Which refresh token failed; a new login starts with a clean slate.
    token: Vec<u8>,
    failures: u32,
    until: Instant,
}

/// Held while a vendor may have voided an old token whose successor is in this process's memory alone.
pub struct Delicate {
    _held: watch::Receiver<bool>,
}

/// What refreshing remembers; no secret is in it.
pub struct Refreshing {
    locks: PathBuf,
    /// Becomes true when no vendor may be asked any more; its receivers are the [`Delicate`] ones.
    over: watch::Sender<bool>,
    troubles: Mutex<HashMap<Login, Trouble>>,
    rejected: Mutex<HashMap<Login, Instant>>,
}

impl Refreshing {
    /// Locks lie in `locks`.
    pub fn new(locks: PathBuf) -> Self {
        let over = watch::Sender::new(false);
        Self { locks, over, troubles: Mutex::default(), rejected: Mutex::default() }
    }

    /// Leave to ask a vendor; none when the end has begun.
    fn enter(&self) -> Option<Delicate> {
        (!*self.over.borrow()).then(|| Delicate { _held: self.over.subscribe() })
    }

    /// Lets nobody ask a vendor any more; completes when whatever a vendor has given is in safety.
    pub async fn settled(&self) {
        self.over.send_replace(true);
        self.over.closed().await;
    }

    fn troubles(&self) -> MutexGuard<'_, HashMap<Login, Trouble>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while this refresh token is not to be tried, because of this supervisor's failures or of those that
    /// `pauses` records.
    fn is_resting(&self, pauses: &Path, login: &Login, token: &str) -> bool {
        let known =
            self.troubles().get(login).is_some_and(|t| Instant::now() < t.until && t.token == fingerprint(token));
        known || backoff::is_resting(pauses, Cause::Failed, token)
    }

    fn failed(&self, pauses: &Path, login: &Login, token: &str, error: EndpointError) {
        let mut troubles = self.troubles();
        let fingerprint = fingerprint(token);
        let former = troubles.get(login).filter(|t| t.token == fingerprint).map_or(0, |t| t.failures);
        let failures = former.max(backoff::count(pauses, Cause::Failed, token)) + 1;
        let pause = match error {
            EndpointError::NoRoom(_) => rest(1, false),
            _ => rest(failures, matches!(error, EndpointError::Refused(_))),
        };
        tracing::warn!(provider = %login.provider, set = %login.set, "cannot refresh a login: {error}; next try in {pause:?}");
        troubles.insert(login.clone(), Trouble { token: fingerprint, failures, until: Instant::now() + pause });
        if !matches!(error, EndpointError::NoRoom(_)) {
            backoff::note(pauses, Cause::Failed, token, failures, pause);
        }
    }

    fn succeeded(&self, pauses: &Path, login: &Login, reason: &Reason, fresh: &Fresh) {
        self.troubles().remove(login);
        backoff::forget(pauses, Cause::Failed);
        if let Reason::Rejected(token) = reason {
            let count = backoff::count(pauses, Cause::Rejected, token.expose()) + 1;
            let pause = backoff::pause_after_rejections(count);
            backoff::note(pauses, Cause::Rejected, fresh.access_token.expose(), count, pause);
            let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
            rejected.insert(login.clone(), Instant::now());
        }
    }

    fn was_just_rejected(&self, login: &Login) -> bool {
        let rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        rejected.get(login).is_some_and(|when| when.elapsed() < REJECTED_AGAIN)
    }
}

/// A vendor that says no will hardly change its mind; one that cannot be reached may be back soon.
fn rest(failures: u32, refused: bool) -> Duration {
    let (first, most) = if refused { (900, 6 * 3600) } else { (30, 1800) };
    Duration::from_secs((first << (failures - 1).min(10)).min(most))
}

fn fingerprint(token: &str) -> Vec<u8> {
    digest(&SHA256, token.as_bytes()).as_ref().to_vec()
}

fn text<'a>(record: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    record.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// When a login ends, in seconds since 1970; `None` when it does not say.
fn ends(record: &Map<String, Value>) -> Option<f64> {
    let end = record.get("expires_at").and_then(Value::as_f64).filter(|end| *end > 0.0)?;
    // Vendors' own files count in milliseconds.
    Some(if end >= 1e12 { end / 1000.0 } else { end })
}

/// The refresh token of a login that can be refreshed.
fn refresh_token(record: &Map<String, Value>) -> Option<&str> {
    (text(record, "type") == Some("oauth")).then(|| text(record, "refresh_token")).flatten()
}

impl Proxy {
    /// Refreshes what is due, now and every few minutes; never ends.
    pub async fn keep_fresh(self: Arc<Self>) {
        let mut changes = self.vault.watch();
        loop {
            let state = changes.borrow_and_update().clone();
            match state {
                VaultState::Open(store) => self.pass(&store).await,
                _ => self.needles.clear(),
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn pass(self: &Arc<Self>, store: &Arc<Store>) {
        let logins = match self.logins(store) {
            Ok(logins) => logins,
            Err(cause) => return tracing::warn!(%cause, "cannot look for logins to refresh"),
        };
        for login in logins {
            self.renew_apart(store.clone(), login, Reason::Due, Duration::ZERO).await;
        }
    }

    /// The logins that this container may use and that have a token endpoint.
    fn logins(&self, store: &Store) -> Result<Vec<Login>, VaultError> {
        let mut pairs = match self.owner {
            Owner::Everyone => store.credential_rows()?,
            _ => store.credentials_in_use(&self.owner)?,
        };
        pairs.extend(self.markers.credentials(&self.owner, store)?);
        pairs.sort();
        pairs.dedup();
        let logins = pairs.into_iter().map(|(set, provider)| Login { set, provider });
        Ok(logins.filter(|login| self.endpoint_of(login).is_some()).collect())
    }

    fn endpoint_of(&self, login: &Login) -> Option<Endpoint> {
        self.routes.route(&login.provider)?.refresh.clone()
    }

    /// The record of a request, refreshed first when its login is over: after a long sleep of the machine, for example.
    pub async fn fresh_record(
        self: &Arc<Self>,
        store: &Arc<Store>,
        login: &Login,
        record: Map<String, Value>,
    ) -> Map<String, Value> {
        let over = ends(&record).is_some_and(|end| now() >= end);
        let Some(token) = refresh_token(&record).filter(|_| over) else {
            return record;
        };
        if self.endpoint_of(login).is_none() || self.refreshing.is_resting(&pauses(store, login), login, token) {
            return record;
        }
        self.renew_apart(store.clone(), login.clone(), Reason::Due, PATIENCE).await;
        store.load_credential(&login.set, &login.provider).ok().flatten().unwrap_or(record)
    }

    /// A record with another access token than the one in `record`, which an upstream has just rejected.
    pub async fn after_rejection(
        self: &Arc<Self>,
        store: &Arc<Store>,
        login: &Login,
        record: &Map<String, Value>,
    ) -> Option<Map<String, Value>> {
        let rejected = text(record, "access_token")?;
        let load = || store.load_credential(&login.set, &login.provider).ok().flatten();
        let other = |found: &Map<String, Value>| text(found, "access_token").is_some_and(|token| token != rejected);
        let current = load()?;
        if other(&current) {
            return Some(current);
        }
        let token = refresh_token(&current)?;
        let pauses = pauses(store, login);
        if self.refreshing.is_resting(&pauses, login, token)
            || self.refreshing.was_just_rejected(login)
            || backoff::is_resting(&pauses, Cause::Rejected, rejected)
        {
            return None;
        }
        self.renew_apart(store.clone(), login.clone(), Reason::Rejected(Secret::new(rejected)), PATIENCE).await;
        load().filter(other)
    }

    /// Refreshes in a task of its own, so that neither a client that leaves nor the end of serving can stop it between
    /// the vendor's answer and the vault.
    async fn renew_apart(self: &Arc<Self>, store: Arc<Store>, login: Login, reason: Reason, patience: Duration) {
        let proxy = self.clone();
        let work = tokio::spawn(async move { proxy.renew(store, login, reason, patience).await });
        let _ = tokio::time::timeout(REQUEST_WAITS, work).await;
    }

    async fn renew(&self, store: Arc<Store>, login: Login, reason: Reason, patience: Duration) {
        let Some(endpoint) = self.endpoint_of(&login) else { return };
        if !self.wants(&store, &login, &reason) {
            return;
        }
        let lock = match lease::take(&self.refreshing.locks, &login.set, &login.provider, patience).await {
            Ok(Some(lock)) => lock,
            Ok(None) => return,
            Err(error) => return tracing::warn!(%error, "cannot use the lock of a login"),
        };
        let journal = journal::path(store.path(), &login.set, &login.provider);
        if self.adopt(&store, &login, &journal).await {
            self.replace(store, &login, &reason, &endpoint, &journal).await;
        }
        drop(lock);
    }

    /// Finishes a refresh that was cut off before the vault had it; true when the way is free for another one. What was
    /// kept may have waited for so long that it is over itself.
    async fn adopt(&self, store: &Arc<Store>, login: &Login, journal: &Path) -> bool {
        let Some((_, old)) = renewable(store, login) else { return false };
        match journal::recover(journal, old.expose()) {
            Ok(None) => true,
            Ok(Some(fresh)) => {
                tracing::info!(provider = %login.provider, "a refreshed login that was not stored yet is stored now");
                self.refreshing.succeeded(&pauses(store, login), login, &Reason::Due, &fresh);
                store_fresh(store.clone(), login.clone(), old, fresh, None).await
            }
            // Unreadable is not absent: the vendor may have given a token that is in there.
            Err(error) => {
                tracing::warn!(%error, "cannot read a login that was kept");
                false
            }
        }
    }

    /// Asks the vendor for a successor of the login as it is now, if that still needs one, and stores it.
    async fn replace(&self, store: Arc<Store>, login: &Login, reason: &Reason, endpoint: &Endpoint, journal: &Path) {
        let Some((record, old)) = renewable(&store, login) else { return };
        let pauses = pauses(&store, login);
        if !reason.holds(&record) || self.refreshing.is_resting(&pauses, login, old.expose()) || reason.rests(&pauses) {
            return;
        }
        match self.question(endpoint, &old, journal).await {
            Ok((fresh, delicate)) => {
                self.refreshing.succeeded(&pauses, login, reason, &fresh);
                store_fresh(store, login.clone(), old, fresh, Some(delicate)).await;
            }
            Err(EndpointError::Over) => journal::forget(journal),
            Err(error) => {
                journal::forget(journal);
                self.refreshing.failed(&pauses, login, old.expose(), error);
            }
        }
    }

    /// Asks the vendor, once it is certain that the answer can be kept.
    async fn question(
        &self,
        endpoint: &Endpoint,
        old: &Secret,
        journal: &Path,
    ) -> Result<(Fresh, Delicate), EndpointError> {
        let place = journal.to_owned();
        let room = tokio::task::spawn_blocking(move || journal::reserve(&place)).await;
        room.unwrap_or_else(|panic| Err(panic.into())).map_err(|error| EndpointError::NoRoom(error.kind()))?;
        endpoint.ask(&self.forwarder, old.expose(), || self.refreshing.enter()).await
    }

    /// A look without the lock, which saves most passes the trouble.
    fn wants(&self, store: &Store, login: &Login, reason: &Reason) -> bool {
        let Ok(Some(record)) = store.load_credential(&login.set, &login.provider) else { return false };
        let kept = journal::path(store.path(), &login.set, &login.provider);
        refresh_token(&record).is_some() && (reason.holds(&record) || kept.exists())
    }
}

/// Where the supervisors of a user note how long a login pauses.
fn pauses(store: &Store, login: &Login) -> PathBuf {
    backoff::path(store.path(), &login.set, &login.provider)
}

/// The record of a login as it is now, and its refresh token.
fn renewable(store: &Store, login: &Login) -> Option<(Map<String, Value>, Secret)> {
    let record = store.load_credential(&login.set, &login.provider).ok().flatten()?;
    let token = refresh_token(&record).map(Secret::new)?;
    Some((record, token))
}

/// Brings what the vendor gave into the vault, however long that takes; until then it lies in the journal, and when it
/// does, nothing is `delicate` any more. False when the vault was closed first.
async fn store_fresh(
    store: Arc<Store>,
    login: Login,
    old: Secret,
    fresh: Fresh,
    mut delicate: Option<Delicate>,
) -> bool {
    let work = Arc::new(Storing {
        journal: journal::path(store.path(), &login.set, &login.provider),
        kept: Mutex::new(false),
        store,
        login,
        old,
        fresh,
    });
    let mut pause = WRITE_PAUSE.0;
    loop {
        let step = work.clone();
        // Off the runtime's thread, and not to be cut off once it has begun.
        match tokio::task::spawn_blocking(move || step.attempt()).await {
            Ok(Ok(done)) => {
                journal::forget(&work.journal);
                let text = if done { "refreshed a login" } else { "a login changed while it was refreshed; it stays" };
                tracing::info!(provider = %work.login.provider, set = %work.login.set, "{text}");
                return true;
            }
            Ok(Err(VaultError::Closed)) | Err(_) => return false,
            Ok(Err(cause)) => {
                if work.is_kept() {
                    drop(delicate.take());
                }
                if pause == WRITE_PAUSE.0 {
                    tracing::warn!(%cause, "cannot store a refreshed login yet; trying on");
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(WRITE_PAUSE.1);
    }
}

struct Storing {
    store: Arc<Store>,
    login: Login,
    old: Secret,
    fresh: Fresh,
    journal: PathBuf,
    kept: Mutex<bool>,
}

impl Storing {
    fn is_kept(&self) -> bool {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Journal first, then vault; false when there is no such login any more.
    fn attempt(&self) -> Result<bool, VaultError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !*kept {
            match journal::keep(&self.journal, self.old.expose(), &self.fresh) {
                Ok(()) => *kept = true,
                Err(error) => tracing::warn!(%error, "cannot keep a refreshed login beside the vault"),
            }
        }
        let Login { set, provider } = &self.login;
        let Some(record) = self.store.load_credential(set, provider)? else {
            return Ok(false);
        };
        let new = self.fresh.apply_to(&record);
        self.store.update_credential_within(WRITE_WAITS, set, provider, self.old.expose(), &new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn when_a_login_is_due() {
        let due = |end: Value| Reason::Due.holds(&record(json!({"expires_at": end})));
        assert!(due(json!(now() + 599.0)) && !due(json!(now() + 601.0)));
        assert!(due(Value::Null) && due(json!(0)) && due(json!("soon")) && Reason::Due.holds(&Map::new()));
        assert!(!due(json!((now() + 601.0) * 1000.0)) && due(json!((now() + 599.0) * 1000.0)));
        let rejected = Reason::Rejected(Secret::new("a"));
        assert!(rejected.holds(&record(json!({"access_token": "a"}))));
        assert!(!rejected.holds(&record(json!({"access_token": "b"}))) && !rejected.holds(&Map::new()));
    }

    #[test]
    fn which_records_can_be_refreshed() {
        for (value, expected) in [
            (json!({"type": "oauth", "refresh_token": "r"}), Some("r")),
            (json!({"type": "oauth", "refresh_token": ""}), None),
            (json!({"type": "oauth"}), None),
            (json!({"refresh_token": "r"}), None),
            (json!({"type": "oauth_token", "refresh_token": "r"}), None),
        ] {
            assert_eq!(refresh_token(&record(value.clone())), expected, "{value}");
        }
    }

    // improves: 21-5.10-refresh-backoff
    #[test]
    fn pauses_grow_and_a_new_login_ends_them() {
        let seconds = |refused| (1..=12).map(|n| rest(n, refused).as_secs()).collect::<Vec<_>>();
        assert_eq!(seconds(false)[..7], [30, 60, 120, 240, 480, 960, 1800]);
        assert_eq!(seconds(true)[..6], [900, 1800, 3600, 7200, 14_400, 21_600]);
        assert_eq!(seconds(true)[11], 21_600);
        let dir = tempfile::tempdir().unwrap();
        let pauses = dir.path().join("pauses");
        let (state, other) = (Refreshing::new("/l".into()), Refreshing::new("/l".into()));
        let login = Login { set: "s".into(), provider: "p".into() };
        state.failed(&pauses, &login, "r1", EndpointError::Refused(400));
        for supervisor in [&state, &other] {
            assert!(supervisor.is_resting(&pauses, &login, "r1") && !supervisor.is_resting(&pauses, &login, "r2"));
        }
        let fresh = Fresh { access_token: Secret::new("a"), refresh_token: None, expires_at: 1.0 };
        state.succeeded(&pauses, &login, &Reason::Due, &fresh);
        assert!(!state.is_resting(&pauses, &login, "r1"));
    }
}
