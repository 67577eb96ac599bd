//! A WebSocket under way: messages pass, each leg answers its own pings, and the end of one is the end of the other.
//!
//! Invariants: one message per direction is in memory, of at most 16 MiB; a side that does not read holds back the other;
//! the token is looked up again for every message of the client, so that revoking it ends the session at the next one;
//! the account is closed when the session is, with what its answers consumed.
//!
//! Toward the client a session ends with the upstream's close code, 1000 without one, 1011 when the upstream failed, 1009
//! after a message of the client that is too large, 1008 when the token is revoked or the upstream says the real
//! credential, 1001 when the broker stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base::secret::Secret;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use vault::VaultState;

use crate::account::Account;
use crate::needle::{Needles, Scanner, Sight};
use crate::proxy::Proxy;
use crate::reply::Refusal;
use crate::usage::{Found, Usage};

/// Largest message, both ways.
const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;
const BUFFER: usize = 16 * 1024;
/// An upstream that was silent for so long is asked whether it is there, and is gone after as much again.
const BEAT: Duration = Duration::from_secs(30);
/// How long an upstream may take in nothing.
const STALL: Duration = Duration::from_secs(300);
const OPENING: Duration = Duration::from_secs(10);
/// How long the two legs get to say good-bye.
const FAREWELL: Duration = Duration::from_millis(800);

type Leg = WebSocketStream<TokioIo<Upgraded>>;

/// Why a session ends.
enum End {
    Client(Option<CloseFrame>),
    Upstream(Option<CloseFrame>),
    UpstreamFailed,
    /// A message of the upstream holds the real credential.
    Echoed,
    TooLarge,
    Revoked,
    Stopping,
}

/// One WebSocket of a container.
pub struct Session {
    proxy: Arc<Proxy>,
    token: Secret,
    account: Account,
    needles: Option<Arc<Needles>>,
    ending: watch::Receiver<bool>,
    pulse: Pulse,
}

/// When the upstream was last heard of; nothing while it is us who do not listen.
struct Pulse {
    began: Instant,
    heard: AtomicU64,
}

const NOT_LISTENING: u64 = u64::MAX;

impl Pulse {
    fn listen(&self) {
        self.heard.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn pause(&self) {
        self.heard.store(NOT_LISTENING, Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        match self.heard.load(Ordering::Relaxed) {
            NOT_LISTENING => Duration::ZERO,
            heard => self.began.elapsed().saturating_sub(Duration::from_millis(heard)),
        }
    }
}

impl Session {
    /// A session that ends with the broker.
    pub fn new(proxy: Arc<Proxy>, token: Secret, account: Account, needles: Option<Arc<Needles>>) -> Self {
        let ending = proxy.ending.subscribe();
        let pulse = Pulse { began: Instant::now(), heard: AtomicU64::new(0) };
        Self { proxy, token, account, needles, ending, pulse }
    }

    /// Relays until one side ends it.
    pub async fn run(mut self, client: OnUpgrade, upstream: Upgraded) {
        self.account.line().status = 101;
        let Ok(Ok(client)) = tokio::time::timeout(OPENING, client).await else {
            return;
        };
        let client = open(client, Role::Server).await;
        let upstream = open(upstream, Role::Client).await;
        let ((mut to_client, mut from_client), (mut to_upstream, mut from_upstream)) =
            (client.split(), upstream.split());
        let mut found = Found::default();
        let end = {
            let mut ending = self.ending.clone();
            let stopped = async move {
                let _ = ending.wait_for(|ending| *ending).await;
            };
            tokio::select! {
                end = self.upward(&mut from_client, &mut to_upstream) => end,
                end = self.downward(&mut from_upstream, &mut to_client, &mut found) => end,
                () = stopped => End::Stopping,
            }
        };
        let outcome = match end {
            End::UpstreamFailed => "upstream_error",
            End::Echoed => Refusal::CredentialEchoed.outcome(),
            _ => "ok",
        };
        let (for_client, for_upstream) = farewells(end);
        let both = async {
            tokio::join!(
                part(&mut to_client, &mut from_client, for_client),
                part(&mut to_upstream, &mut from_upstream, for_upstream)
            )
        };
        let _ = tokio::time::timeout(FAREWELL, both).await;
        self.account.consumed(found);
        self.account.close(outcome);
    }

    async fn upward(&self, from: &mut SplitStream<Leg>, to: &mut SplitSink<Leg, Message>) -> End {
        let mut beat = tokio::time::interval(BEAT / 2);
        loop {
            let said = tokio::select! {
                said = from.next() => Some(said),
                _ = beat.tick() => None,
            };
            let message = match said {
                None => match self.pulse.silence() {
                    silence if silence < BEAT => continue,
                    silence if silence < 2 * BEAT => Message::Ping(Bytes::new()),
                    _ => return End::UpstreamFailed,
                },
                Some(Some(Ok(Message::Close(frame)))) => return End::Client(frame),
                Some(Some(Ok(message @ (Message::Text(_) | Message::Binary(_))))) => {
                    if !self.is_allowed() {
                        return End::Revoked;
                    }
                    message
                }
                // Pings are answered on the leg they came on.
                Some(Some(Ok(_))) => continue,
                Some(Some(Err(Error::Capacity(_)))) => return End::TooLarge,
                Some(Some(Err(_)) | None) => return End::Client(None),
            };
            if !matches!(tokio::time::timeout(STALL, to.send(message)).await, Ok(Ok(()))) {
                return End::UpstreamFailed;
            }
        }
    }

    async fn downward(&self, from: &mut SplitStream<Leg>, to: &mut SplitSink<Leg, Message>, found: &mut Found) -> End {
        let mut scanner = Scanner::default();
        loop {
            self.pulse.listen();
            let message = match from.next().await {
                Some(Ok(Message::Close(frame))) => return End::Upstream(frame),
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => message,
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return End::UpstreamFailed,
            };
            if let Some(needles) = &self.needles
                && let Sight::Found { .. } = scanner.look(needles, &message.clone().into_data())
            {
                tracing::warn!("a message of the upstream holds the real credential; the session ends");
                return End::Echoed;
            }
            if let Message::Text(text) = &message {
                found.add(Usage::of_document(text.as_bytes()));
            }
            self.pulse.pause();
            if to.send(message).await.is_err() {
                return End::Client(None);
            }
        }
    }

    fn is_allowed(&self) -> bool {
        match self.proxy.vault.state() {
            VaultState::Open(store) => self.proxy.labels(&store, self.token.expose()).is_ok(),
            _ => false,
        }
    }
}

async fn open(stream: Upgraded, role: Role) -> Leg {
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = BUFFER;
    config.write_buffer_size = BUFFER;
    config.max_message_size = Some(MESSAGE_LIMIT);
    config.max_frame_size = Some(MESSAGE_LIMIT);
    WebSocketStream::from_raw_socket(TokioIo::new(stream), role, Some(config)).await
}

/// What the client and the upstream are told.
fn farewells(end: End) -> (CloseFrame, CloseFrame) {
    let say = |code| CloseFrame { code, reason: Default::default() };
    let known = |frame: Option<CloseFrame>| frame.filter(|f| f.code.is_allowed()).unwrap_or(say(CloseCode::Normal));
    match end {
        End::Client(frame) => (say(CloseCode::Normal), known(frame)),
        End::Upstream(frame) => (known(frame), say(CloseCode::Normal)),
        End::UpstreamFailed => (say(CloseCode::Error), say(CloseCode::Away)),
        End::Echoed => (
            CloseFrame { code: CloseCode::Policy, reason: Refusal::CredentialEchoed.text().into() },
            say(CloseCode::Policy),
        ),
        End::TooLarge => (say(CloseCode::Size), say(CloseCode::Away)),
        End::Revoked => (say(CloseCode::Policy), say(CloseCode::Normal)),
        End::Stopping => (say(CloseCode::Away), say(CloseCode::Away)),
    }
}

/// Says good-bye on one leg and hears the answer. The leg that spoke first has had its answer queued already; reading on
/// sends it.
async fn part(to: &mut SplitSink<Leg, Message>, from: &mut SplitStream<Leg>, farewell: CloseFrame) {
    let _ = to.send(Message::Close(Some(farewell))).await;
    while let Some(Ok(_)) = from.next().await {}
}
