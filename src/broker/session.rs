//! A WebSocket under way: pieces of messages pass, each leg answers its own pings, and the end of one is the end of the
//! other.
//!
//! Invariants: each leg holds a bounded number of bytes, whatever messages pass; a side that does not read holds back the
//! other; the token is looked up again for every message of the client, so that revoking it ends the session at the next
//! one; what comes down is searched for the real credential; the account is closed when the session is, with what its
//! answers consumed.
//!
//! Toward the client a session ends with the upstream's close code, 1000 without one, 1011 when the upstream failed, 1009
//! after a message of the client that is too large, 1008 when the token is revoked or the upstream says the real
//! credential, 1001 when the broker stops.

use std::sync::Arc;
use std::time::Duration;

use base::secret::Secret;
use bytes::BytesMut;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use server::Charge;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data};
use vault::VaultState;

use crate::account::Account;
use crate::frame::{BUFFER, FrameError, FrameReader, FrameWriter, Part, Peer};
use crate::needle::{Needles, Scanner, Sight};
use crate::proxy::Proxy;
use crate::reply::Refusal;
use crate::usage::{Found, Usage};

/// What a session holds at most: both legs in both directions, and what TLS and the connections hold below them.
pub const SESSION: usize = 4 * 2 * BUFFER + 64 * 1024;
/// An upstream that was silent for so long is asked whether it is there, and is gone after as much again.
const BEAT: Duration = Duration::from_secs(30);
/// How long an upstream may take in nothing.
const STALL: Duration = Duration::from_secs(300);
const OPENING: Duration = Duration::from_secs(10);
/// How long the two legs get to say good-bye.
const FAREWELL: Duration = Duration::from_millis(800);

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

struct Leg {
    reader: FrameReader<ReadHalf<TokioIo<Upgraded>>>,
    writer: FrameWriter<WriteHalf<TokioIo<Upgraded>>>,
}

impl Leg {
    fn new(stream: Upgraded, peer: Peer) -> Self {
        let (from, to) = tokio::io::split(TokioIo::new(stream));
        Self { reader: FrameReader::new(from, peer), writer: FrameWriter::new(to, peer) }
    }

    /// Says good-bye and reads on until the peer has done so, too.
    async fn part(&mut self, farewell: &CloseFrame) {
        self.writer.close(farewell);
        if self.writer.flush().await.is_ok() {
            while !matches!(self.reader.next().await, Ok(Part::Close(_)) | Err(_)) {}
        }
    }
}

/// One WebSocket of a container.
pub struct Session {
    proxy: Arc<Proxy>,
    token: Secret,
    account: Account,
    ending: watch::Receiver<bool>,
    watch: Watch,
    _charge: Charge,
}

/// Looks at the messages that come down.
struct Watch {
    needles: Option<Arc<Needles>>,
    scanner: Scanner,
    /// The end of a piece that may be the beginning of the credential.
    held: BytesMut,
    usage: Usage,
    found: Found,
}

impl Watch {
    /// What of a piece may pass; `None` when the credential is in it.
    fn pass(&mut self, kind: Data, bytes: &[u8], last: bool) -> Option<BytesMut> {
        if kind == Data::Text {
            self.usage.feed(bytes);
            if last {
                self.found.add(self.usage.found());
                self.usage = Usage::of_text();
            }
        }
        self.held.extend_from_slice(bytes);
        let hold = match self.needles.as_ref().map(|needles| self.scanner.look(needles, bytes)) {
            Some(Sight::Found { .. }) => return None,
            // No message can hold back what belongs to it.
            Some(Sight::Clear { hold }) if !last => hold,
            _ => 0,
        };
        Some(self.held.split_to(self.held.len().saturating_sub(hold)))
    }
}

impl Session {
    /// A session that ends with the broker.
    pub fn new(
        proxy: Arc<Proxy>,
        token: Secret,
        account: Account,
        needles: Option<Arc<Needles>>,
        charge: Charge,
    ) -> Self {
        let ending = proxy.ending.subscribe();
        let (scanner, held) = (Scanner::default(), BytesMut::new());
        let watch = Watch { needles, scanner, held, usage: Usage::of_text(), found: Found::default() };
        Self { proxy, token, account, ending, watch, _charge: charge }
    }

    /// Relays until one side ends it.
    pub async fn run(mut self, client: OnUpgrade, upstream: Upgraded) {
        self.account.line().status = 101;
        let Ok(Ok(client)) = tokio::time::timeout(OPENING, client).await else {
            return;
        };
        let (mut client, mut upstream) = (Leg::new(client, Peer::Client), Leg::new(upstream, Peer::Server));
        let end = self.relay(&mut client, &mut upstream).await;
        let outcome = match end {
            End::UpstreamFailed => "upstream_error",
            End::Echoed => {
                tracing::warn!("a message of the upstream holds the real credential; the session ends");
                Refusal::CredentialEchoed.outcome()
            }
            _ => "ok",
        };
        let (for_client, for_upstream) = farewells(end);
        let both = async { tokio::join!(client.part(&for_client), upstream.part(&for_upstream)) };
        let _ = tokio::time::timeout(FAREWELL, both).await;
        self.account.consumed(self.watch.found);
        self.account.close(outcome);
    }

    async fn relay(&mut self, client: &mut Leg, upstream: &mut Leg) -> End {
        let mut beat = tokio::time::interval(BEAT / 2);
        let (mut heard, mut took) = (Instant::now(), Instant::now());
        let mut ending = self.ending.clone();
        loop {
            let (up, down) = (upstream.writer.has_room(), client.writer.has_room());
            let (to_client, to_upstream) = (client.writer.is_pending(), upstream.writer.is_pending());
            tokio::select! {
                part = client.reader.next(), if up => {
                    if let Some(end) = self.go_up(part, client, upstream) {
                        return end;
                    }
                }
                part = upstream.reader.next(), if down => {
                    heard = Instant::now();
                    if let Some(end) = self.go_down(part, client, upstream) {
                        return end;
                    }
                }
                sent = client.writer.flush(), if to_client => if sent.is_err() {
                    return End::Client(None);
                },
                sent = upstream.writer.flush(), if to_upstream => match sent {
                    Ok(()) => took = Instant::now(),
                    Err(_) => return End::UpstreamFailed,
                },
                _ = beat.tick() => {
                    let now = Instant::now();
                    // Nothing can be heard while it is us who do not listen.
                    heard = if down { heard } else { now };
                    took = if to_upstream { took } else { now };
                    if now - heard >= 2 * BEAT || now - took >= STALL {
                        return End::UpstreamFailed;
                    }
                    if now - heard >= BEAT && up {
                        upstream.writer.ping();
                    }
                }
                _ = ending.wait_for(|ending| *ending) => return End::Stopping,
            }
        }
    }

    fn go_up(&self, part: Result<Part, FrameError>, client: &mut Leg, upstream: &mut Leg) -> Option<End> {
        match part {
            Ok(Part::Data { first: true, .. }) if !self.is_allowed() => return Some(End::Revoked),
            Ok(Part::Data { kind, bytes, last, .. }) => upstream.writer.data(kind, &bytes, last),
            Ok(Part::Ping(bytes)) => client.writer.pong(&bytes),
            Ok(Part::Pong) => {}
            Ok(Part::Close(frame)) => return Some(End::Client(frame)),
            Err(FrameError::TooLarge) => return Some(End::TooLarge),
            Err(_) => return Some(End::Client(None)),
        }
        None
    }

    fn go_down(&mut self, part: Result<Part, FrameError>, client: &mut Leg, upstream: &mut Leg) -> Option<End> {
        match part {
            Ok(Part::Data { kind, bytes, last, .. }) => match self.watch.pass(kind, &bytes, last) {
                Some(pass) if pass.is_empty() && !last => {}
                Some(pass) => client.writer.data(kind, &pass, last),
                None => return Some(End::Echoed),
            },
            Ok(Part::Ping(bytes)) => upstream.writer.pong(&bytes),
            Ok(Part::Pong) => {}
            Ok(Part::Close(frame)) => return Some(End::Upstream(frame)),
            Err(_) => return Some(End::UpstreamFailed),
        }
        None
    }

    fn is_allowed(&self) -> bool {
        match self.proxy.vault.state() {
            VaultState::Open(store) => self.proxy.labels(&store, self.token.expose()).is_ok(),
            _ => false,
        }
    }
}

/// What the client and the upstream are told.
fn farewells(end: End) -> (CloseFrame, CloseFrame) {
    let say = |code| CloseFrame { code, reason: Default::default() };
    let known = |frame: Option<CloseFrame>| frame.filter(|f| f.code.is_allowed()).unwrap_or(say(CloseCode::Normal));
    match end {
        // The side that ends the session gets its own code back.
        End::Client(frame) | End::Upstream(frame) => {
            let frame = known(frame);
            (frame.clone(), frame)
        }
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
