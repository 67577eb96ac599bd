//! The opening of a WebSocket: two handshakes of our own, one on each side.
//!
//! Invariants: the upstream is asked first, and only when it agrees is the client's connection changed; nothing of the
//! client's own handshake goes upstream but the subprotocols it offers; no extension is offered or accepted, so that
//! messages pass as they are.
//!
//! An upstream that refuses ends in 502, with one exception: its 426 is passed on, because clients that try a WebSocket
//! first go over to plain HTTP at once on that status and on no other. A 401 refreshes a login once, as for any request.

use std::sync::Arc;
use std::time::Duration;

use base::secret::Secret;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use serde_json::{Map, Value};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use vault::Store;

use crate::account::Account;
use crate::forward::Answer;
use crate::header;
use crate::needle::Needles;
use crate::proxy::{Granted, Proxy, refuse};
use crate::relay::ReplyBody;
use crate::reply::Refusal;
use crate::session::{SESSION, Session};
use crate::slot::Slot;
use crate::upload::Progress;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// What a client said when it asked for a WebSocket.
struct Hello {
    accept: String,
    /// Offered subprotocols, in order.
    protocols: Vec<String>,
    token: Secret,
}

impl Hello {
    fn read(request: &Request<Incoming>) -> Option<Self> {
        let headers = request.headers();
        let plain = *request.method() == Method::GET && request.version() == Version::HTTP_11;
        let upgrades = header::listed(headers, &CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"));
        let version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|v| v == "13");
        let key = headers.get(SEC_WEBSOCKET_KEY)?;
        (plain && upgrades && version).then(|| Self {
            accept: derive_accept_key(key.as_bytes()),
            protocols: header::listed(headers, &SEC_WEBSOCKET_PROTOCOL).map(str::to_owned).collect(),
            token: Secret::new(header::phantom_token(headers).unwrap_or_default()),
        })
    }
}

/// How the upstream reacted.
enum Reaction {
    /// The connection, the chosen subprotocol, and what messages are searched for.
    Open(Box<Upgraded>, Option<HeaderValue>, Option<Arc<Needles>>),
    Answer(Box<Answer>, Option<Arc<Needles>>),
}

impl Proxy {
    /// Answers a request for a WebSocket.
    pub(crate) async fn websocket(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        vault: Arc<Store>,
        granted: Granted,
        account: Account,
        slot: Slot,
    ) -> Response<ReplyBody> {
        let Some(hello) = Hello::read(&request) else {
            return refuse(account, &Refusal::Handshake);
        };
        let Some(charge) = self.budget.charge(SESSION) else {
            tracing::warn!("a WebSocket is refused: the container has as many as its supervisor has memory for");
            return refuse(account, &Refusal::Busy);
        };
        let progress = Progress::new();
        match self.knock(&request, &hello, &vault, &granted, &progress).await {
            Ok(Reaction::Open(upstream, protocol, needles)) => {
                let client = hyper::upgrade::on(&mut request);
                let session = Session::new(self.clone(), hello.token, account, needles, charge);
                tokio::spawn(session.run(client, *upstream));
                switching(&hello.accept, protocol)
            }
            Ok(Reaction::Answer(answer, needles)) => self.reply(*answer, needles, progress, account, slot).await,
            Err(refusal) => refuse(account, &refusal),
        }
    }

    /// Opens the upstream's side, with a refreshed login the second time.
    async fn knock(
        self: &Arc<Self>,
        request: &Request<Incoming>,
        hello: &Hello,
        vault: &Arc<Store>,
        granted: &Granted,
        progress: &Arc<Progress>,
    ) -> Result<Reaction, Refusal> {
        let mut renewed: Option<Map<String, Value>> = None;
        loop {
            let record = renewed.as_ref().unwrap_or(&granted.record);
            let key = generate_key();
            let headers = ask_upgrade(request.headers(), hello, granted, record, &key, request.uri().path())?;
            let upstream = granted.route.upstream_for(request.uri().path());
            let target = request.uri().path_and_query().and_then(|t| upstream.target(t)).ok_or(Refusal::BadPath)?;
            let opening = self.forwarder.open(upstream, target, headers, progress);
            let answer = tokio::time::timeout(HANDSHAKE_LIMIT, opening).await.map_err(|_| Refusal::Websocket)?;
            let answer = answer.map_err(|_| Refusal::Websocket)?;
            let needles = self.needles(&granted.login, record);
            match answer.response.status() {
                StatusCode::SWITCHING_PROTOCOLS => {
                    let (upstream, protocol) = accept(answer, hello, &key).await?;
                    return Ok(Reaction::Open(upstream, protocol, needles));
                }
                StatusCode::UPGRADE_REQUIRED => return Ok(Reaction::Answer(Box::new(answer), needles)),
                StatusCode::UNAUTHORIZED if renewed.is_none() && granted.is_renewable() => {
                    let other = self.after_rejection(vault, &granted.login, record).await;
                    renewed = Some(other.ok_or(Refusal::Websocket)?);
                }
                status => {
                    tracing::info!(status = status.as_u16(), "the upstream refuses a WebSocket");
                    return Err(Refusal::Websocket);
                }
            }
        }
    }
}

fn ask_upgrade(
    client: &HeaderMap,
    hello: &Hello,
    granted: &Granted,
    record: &Map<String, Value>,
    key: &str,
    path: &str,
) -> Result<HeaderMap, Refusal> {
    let mut headers = header::for_upstream(client, &granted.route.upstream_for(path).host);
    let own: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("sec-websocket-")).cloned().collect();
    for name in own {
        headers.remove(name);
    }
    header::inject(&mut headers, &granted.route, record)?;
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_str(key).map_err(|_| Refusal::Websocket)?);
    if !hello.protocols.is_empty() {
        let offered = HeaderValue::from_str(&hello.protocols.join(", ")).map_err(|_| Refusal::Handshake)?;
        headers.insert(SEC_WEBSOCKET_PROTOCOL, offered);
    }
    Ok(headers)
}

/// Checks that the upstream's agreement is one to what was asked.
async fn accept(mut answer: Answer, hello: &Hello, key: &str) -> Result<(Box<Upgraded>, Option<HeaderValue>), Refusal> {
    let headers = answer.response.headers();
    let upgraded = header::wants_websocket(headers);
    let proven =
        headers.get(SEC_WEBSOCKET_ACCEPT).is_some_and(|v| v.as_bytes() == derive_accept_key(key.as_bytes()).as_bytes());
    let extended = header::listed(headers, &SEC_WEBSOCKET_EXTENSIONS).next().is_some();
    let protocol = headers.get(SEC_WEBSOCKET_PROTOCOL).cloned();
    let offered = protocol.as_ref().is_none_or(|chosen| hello.protocols.iter().any(|p| chosen == p.as_str()));
    if !upgraded || !proven || extended || !offered {
        tracing::warn!("the upstream's WebSocket handshake is not valid");
        return Err(Refusal::Websocket);
    }
    let opening = hyper::upgrade::on(&mut answer.response);
    let upgraded = tokio::time::timeout(HANDSHAKE_LIMIT, opening).await;
    let upgraded = upgraded.map_err(|_| Refusal::Websocket)?.map_err(|_| Refusal::Websocket)?;
    Ok((Box::new(upgraded), protocol))
}

fn switching(accept: &str, protocol: Option<HeaderValue>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::full(String::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}
