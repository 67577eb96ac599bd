//! What happens to one request: who asks, may they, with which credential, to where.
//!
//! Invariants: the provider comes from the token alone; the token is looked up for every request; a token of another
//! container is as good as none; no reply and no log line holds a token, a header value or a query.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use serde_json::{Map, Value};
use server::Budget;
use tokio::sync::{Semaphore, watch};
use vault::{Owner, Store, TokenRow, UNLOCK_WAIT, VaultCell, VaultError};

use crate::account::Account;
use crate::audit::Audit;
use crate::forward::{Answer, Forwarder, Outgoing, is_harmless, is_repeatable};
use crate::header;
use crate::identity::Markers;
use crate::inspect::{Inspection, Stopped};
use crate::needle::Needles;
use crate::needle_cache::NeedleCache;
use crate::path;
use crate::refresh::{Login, Refreshing};
use crate::relay::{Exchange, ReplyBody};
use crate::reply::{Refusal, healthy};
use crate::routes::{LiveRoute, RouteBook};
use crate::slot::{Heads, Slot};
use crate::upload::{Progress, Upload};
use crate::usage::Usage;

const HEALTH: &str = "/-/health";
/// How long a question after the health waits for a running unlock. Launchers, which want to know that somebody is here,
/// wait not much longer; an unlock that asks a person may take its time.
const HEALTH_WAIT: Duration = Duration::from_millis(500);
/// Requests at their upstreams at the same time. Each may fill the buffers of two connections, and TLS's.
pub const MAX_EXCHANGES: usize = 96;
/// How much of a refused request's body is read, so that the client gets to see the refusal.
const DRAIN_BYTES: usize = 16 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// Longest method; the longest registered one has 17 letters.
const LONGEST_METHOD: usize = 20;

/// Everything the requests of one container share.
pub struct Proxy {
    pub(crate) routes: RouteBook,
    pub(crate) owner: Owner,
    pub(crate) markers: Markers,
    pub(crate) vault: VaultCell,
    pub(crate) audit: Arc<Audit>,
    pub(crate) forwarder: Forwarder,
    pub(crate) refreshing: Refreshing,
    pub(crate) needles: NeedleCache,
    pub(crate) budget: Budget,
    /// One permit for each of [`MAX_EXCHANGES`].
    pub(crate) exchanges: Arc<Semaphore>,
    /// Becomes true when WebSocket sessions should end; each holds a receiver.
    pub(crate) ending: watch::Sender<bool>,
}

/// What a request may use.
pub(crate) struct Granted {
    pub(crate) route: Arc<LiveRoute>,
    pub(crate) record: Map<String, Value>,
    pub(crate) login: Login,
}

impl Granted {
    /// True when the credential is a login that can be refreshed.
    pub(crate) fn is_renewable(&self) -> bool {
        self.route.refresh.is_some() && header::is_oauth(&self.record)
    }

    fn outgoing<'a>(
        &'a self,
        parts: &'a http::request::Parts,
        record: &Map<String, Value>,
        follow: bool,
    ) -> Result<Outgoing<'a>, Refusal> {
        let upstream = self.route.upstream_for(parts.uri.path());
        let mut headers = header::for_upstream(&parts.headers, &upstream.host);
        header::ask_plain(&mut headers);
        header::inject(&mut headers, &self.route, record)?;
        let target = parts.uri.path_and_query().and_then(|t| upstream.target(t)).ok_or(Refusal::BadPath)?;
        Ok(Outgoing { method: parts.method.clone(), upstream, target, headers, client: &parts.headers, follow })
    }
}

impl Proxy {
    /// Answers one request.
    pub async fn handle(self: &Arc<Self>, request: Request<Incoming>) -> Response<ReplyBody> {
        if is_refused(request.method()) {
            return Refusal::NotFound.response();
        }
        let path = request.uri().path();
        let asks_health = path == HEALTH && matches!(*request.method(), Method::GET | Method::HEAD);
        let patience = if asks_health { HEALTH_WAIT } else { UNLOCK_WAIT };
        let Some(vault) = self.vault.wait_at_most(patience).await else {
            tracing::info!(method = %request.method(), status = 503, "the vault is locked");
            return Refusal::VaultLocked.response();
        };
        if asks_health {
            return healthy();
        }
        let mut account = Account::new(&self.audit, request.method().as_str(), path);
        let (mut granted, slot) = match self.admit(&vault, &request, &mut account).await {
            Ok(admitted) => admitted,
            Err(refusal) => {
                drain(request).await;
                return refuse(account, &refusal);
            }
        };
        if granted.is_renewable() {
            granted.record = self.fresh_record(&vault, &granted.login, granted.record).await;
        }
        if header::wants_websocket(request.headers()) {
            return self.websocket(request, vault, granted, account, slot).await;
        }
        self.relay(request, &vault, granted, account, slot).await
    }

    /// Returns what an authorized request may use, and its slot among the exchanges under way.
    async fn admit(
        &self,
        vault: &Store,
        request: &Request<Incoming>,
        account: &mut Account,
    ) -> Result<(Granted, Slot), Refusal> {
        let granted = self.authorize(vault, request, account)?;
        let heads = Heads::charge(&self.budget, request.headers()).ok_or(Refusal::Busy)?;
        if let Ok(permit) = self.exchanges.clone().try_acquire_owned() {
            return Ok((granted, Slot { heads, _permit: permit }));
        }
        tracing::warn!("a request waits: {MAX_EXCHANGES} are at their upstreams already");
        let permit = self.exchanges.clone().acquire_owned().await.expect("never closed");
        // Its token or credential may have changed meanwhile.
        Ok((self.authorize(vault, request, account)?, Slot { heads, _permit: permit }))
    }

    fn authorize(&self, vault: &Store, request: &Request<Incoming>, account: &mut Account) -> Result<Granted, Refusal> {
        let token = header::phantom_token(request.headers())?;
        let (labels, is_marker) = self.labels(vault, token)?;
        let route = self.routes.route(&labels.provider);
        let login = Login { set: labels.credential_set.clone(), provider: labels.provider.clone() };
        let line = account.line();
        line.scope = labels.scope;
        line.subject = labels.subject;
        line.credential_set = labels.credential_set;
        line.provider = labels.provider;
        let route = route.ok_or_else(|| Refusal::NoRoute(line.provider.clone()))?;
        let record = match vault.load_credential(&login.set, &login.provider) {
            // A record that is not an object is there, but holds no secret.
            Err(VaultError::Record { .. }) => Map::new(),
            found => found.map_err(unreadable)?.ok_or(Refusal::CredentialMissing)?,
        };
        // A marker stands for a login; it must not turn into a way to a key.
        if is_marker && !header::is_oauth(&record) {
            return Err(Refusal::InvalidToken);
        }
        if !path::is_safe(request.uri().path()) {
            return Err(Refusal::BadPath);
        }
        if route.denies(request.method().as_str(), request.uri().path()) {
            return Err(Refusal::EndpointDenied);
        }
        Ok(Granted { route, record, login })
    }

    /// Whom a token speaks for, and whether it is a public marker.
    pub(crate) fn labels(&self, vault: &Store, token: &str) -> Result<(TokenRow, bool), Refusal> {
        if let Some(labels) = self.owner.token(vault, token).map_err(unreadable)? {
            return Ok((labels, false));
        }
        let labels = self.markers.labels(token, &self.owner, vault).map_err(unreadable)?;
        labels.map(|labels| (labels, true)).ok_or(Refusal::InvalidToken)
    }

    async fn relay(
        self: &Arc<Self>,
        request: Request<Incoming>,
        vault: &Arc<Store>,
        granted: Granted,
        account: Account,
        slot: Slot,
    ) -> Response<ReplyBody> {
        let (parts, body) = request.into_parts();
        let progress = Progress::new();
        match self.ask(&parts, body, vault, granted, &progress).await {
            Ok((answer, needles)) => self.reply(answer, needles, progress, account, slot).await,
            Err(refusal) => refuse(account, &refusal),
        }
    }

    /// What an answer to a request with this record is searched for.
    pub(crate) fn needles(&self, login: &Login, record: &Map<String, Value>) -> Option<Arc<Needles>> {
        self.needles.get(login, header::secret(record)?)
    }

    /// Sends the request with the real credential. One that is rejected with 401 was not acted upon; it is sent once
    /// more when that was a login's, the login could be refreshed, and the body is still there.
    async fn ask(
        self: &Arc<Self>,
        parts: &http::request::Parts,
        body: Incoming,
        vault: &Arc<Store>,
        granted: Granted,
        progress: &Arc<Progress>,
    ) -> Result<(Answer, Option<Arc<Needles>>), Refusal> {
        let follow = is_harmless(&parts.method) && body.is_end_stream();
        let repeatable = is_repeatable(&parts.method, &parts.headers);
        let (upload, replay) = if repeatable || granted.is_renewable() {
            let (upload, replay) = Upload::repeatable(body, progress.clone(), &self.budget);
            (upload, Some(replay))
        } else {
            (Upload::once(body, progress.clone()), None)
        };
        let spare = replay.clone().filter(|_| repeatable);
        let outgoing = granted.outgoing(parts, &granted.record, follow)?;
        let answer = self.forwarder.send(outgoing, upload, spare, progress).await?;
        let rejected = answer.response.status() == StatusCode::UNAUTHORIZED && !answer.redirected;
        let needles = self.needles(&granted.login, &granted.record);
        if !rejected || !granted.is_renewable() {
            return Ok((answer, needles));
        }
        let Some(record) = self.after_rejection(vault, &granted.login, &granted.record).await else {
            return Ok((answer, needles));
        };
        let Some(upload) = replay.and_then(|replay| replay.upload()) else {
            return Ok((answer, needles));
        };
        let outgoing = granted.outgoing(parts, &record, follow)?;
        let answer = self.forwarder.send(outgoing, upload, None, progress).await?;
        Ok((answer, self.needles(&granted.login, &record)))
    }

    /// Passes an answer on, as far as it may pass.
    pub(crate) async fn reply(
        &self,
        answer: Answer,
        needles: Option<Arc<Needles>>,
        progress: Arc<Progress>,
        mut account: Account,
        mut slot: Slot,
    ) -> Response<ReplyBody> {
        let (head, body) = answer.response.into_parts();
        if !slot.heads.add(&head.headers) {
            tracing::warn!("an upstream's answer is withheld: its head is large and no memory is left for it");
            return refuse(account, &Refusal::Busy);
        }
        let usage = head.status.is_success().then(|| Usage::of(&head.headers)).flatten();
        let inspection = match Inspection::new(&head.headers, !body.is_end_stream(), needles, usage, &self.budget) {
            Ok(inspection) => inspection,
            Err(stopped) => return withhold(account, stopped),
        };
        account.line().status = head.status.as_u16();
        let exchange = Exchange {
            pool: self.forwarder.pool.clone(),
            origin: answer.origin,
            connection: answer.connection,
            progress,
            _slot: slot,
        };
        let body = match ReplyBody::relay(body, exchange, inspection, account).await {
            Ok(body) => body,
            Err((account, stopped)) => return withhold(account, stopped),
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        header::for_client(response.headers_mut());
        response
    }
}

/// Ends the account of an answer of which nothing passes.
fn withhold(account: Account, stopped: Stopped) -> Response<ReplyBody> {
    tracing::warn!("an upstream's answer is withheld: {stopped}");
    refuse(account, &stopped.into())
}

/// True for a method that asks a server to open a tunnel or to return the request, credential included, and for one
/// that is no registered method's form: a server may reduce `TRACE!` or `TRACE1` to `TRACE`.
fn is_refused(method: &Method) -> bool {
    let name = method.as_str();
    // Servers differ in whether a method's case counts.
    let is_known_danger = ["CONNECT", "TRACE", "TRACK"].iter().any(|bad| name.eq_ignore_ascii_case(bad));
    let is_malformed = name.len() > LONGEST_METHOD || !name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-');
    is_known_danger || is_malformed
}

/// Ends the account of a request that gets no upstream's answer.
pub(crate) fn refuse(mut account: Account, refusal: &Refusal) -> Response<ReplyBody> {
    account.line().status = refusal.status().as_u16();
    match refusal.label() {
        Some(label) => account.close(label),
        None => account.forget(),
    }
    refusal.response()
}

fn unreadable(cause: VaultError) -> Refusal {
    tracing::warn!(%cause, "the vault cannot be read");
    Refusal::VaultUnreadable
}

/// Reads on for a while: a connection that is closed on unread data may take the refusal with it.
async fn drain(request: Request<Incoming>) {
    // A client that asked first sends nothing after a refusal.
    if request.body().is_end_stream() || request.headers().contains_key(http::header::EXPECT) {
        return;
    }
    let mut body = request.into_body();
    let reading = async {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(frame)) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
            let size = frame.data_ref().map_or(0, bytes::Bytes::len);
            match left.checked_sub(size) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
}
