//! The response body on its way down.
//!
//! Invariants: pieces are passed on as they arrive, but for bytes that may be the beginning of the credential; when the
//! client goes away the upstream connection is closed at once; when the upstream breaks in the middle, or the answer must
//! not pass, the client's connection is cut, so that a half answer never looks whole; the account is closed exactly once,
//! however the exchange ends.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use crate::account::Account;
use crate::dial::Upstreaming;
use crate::header;
use crate::inspect::{Inspection, Stopped};
use crate::pool::Pool;
use crate::reply::Refusal;
use crate::routes::Origin;
use crate::slot::Slot;
use crate::upload::Progress;

/// Longest silence of an upstream. Model replies can take many minutes to begin.
pub const SILENCE: Duration = Duration::from_secs(1200);

/// Why a response body ended early.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The upstream broke off.
    #[error("the upstream broke off")]
    Upstream(#[source] hyper::Error),
    /// The upstream fell silent.
    #[error("the upstream fell silent")]
    Silence,
    /// The rest must not pass.
    #[error("the answer is cut off: {0}")]
    Stopped(Stopped),
}

/// The upstream side of a response under way.
pub struct Exchange {
    /// Where the connection belongs.
    pub pool: Pool,
    /// Its origin.
    pub origin: Arc<Origin>,
    /// The connection.
    pub connection: Upstreaming,
    /// How the request body gets on.
    pub progress: Arc<Progress>,
    /// Its slot among the exchanges under way.
    pub _slot: Slot,
}

impl Exchange {
    /// Gives the connection back after a whole exchange.
    fn complete(self) {
        // A connection whose request body is still going up cannot be told from a fresh one by the next request.
        if self.progress.sent_all() {
            self.pool.put(self.origin, self.connection);
        }
    }
}

type Piece = Result<Frame<Bytes>, RelayError>;

struct Relay {
    body: Incoming,
    /// `None` once the upstream's part is over.
    exchange: Option<Exchange>,
    /// `None` once it is closed.
    account: Option<Account>,
    inspection: Inspection,
    /// What may pass now.
    ready: VecDeque<Piece>,
    silence: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

enum Kind {
    Full(Option<Bytes>),
    Relay(Box<Relay>),
}

/// The body of every reply.
pub struct ReplyBody(Kind);

impl ReplyBody {
    /// A text of our own.
    pub(crate) fn full(text: String) -> Self {
        Self(Kind::Full(Some(text).filter(|text| !text.is_empty()).map(Bytes::from)))
    }

    /// An upstream's body, which ends the exchange. What is there of it already is looked at before anything passes.
    ///
    /// # Errors
    /// The account and the reason, when the answer must not pass.
    pub(crate) async fn relay(
        body: Incoming,
        exchange: Exchange,
        inspection: Inspection,
        account: Account,
    ) -> Result<Self, (Account, Stopped)> {
        let mut relay = Relay {
            body,
            exchange: Some(exchange),
            account: Some(account),
            inspection,
            ready: VecDeque::new(),
            silence: None,
            waiting: false,
        };
        relay.settle();
        if relay.exchange.is_some() {
            let _ = poll_fn(|cx| Poll::Ready(relay.fill(cx))).await;
        }
        if let (Some(Err(RelayError::Stopped(stopped))), Some(_)) = (relay.ready.back(), &relay.account) {
            let stopped = *stopped;
            return Err((relay.account.take().expect("open"), stopped));
        }
        Ok(Self(Kind::Relay(Box::new(relay))))
    }
}

impl Relay {
    /// Completes the exchange as soon as the body is known to be over.
    fn settle(&mut self) {
        if self.body.is_end_stream() {
            self.complete();
        }
    }

    fn complete(&mut self) {
        let Some(exchange) = self.exchange.take() else { return };
        if let Some(rest) = self.inspection.finish() {
            self.ready.push_back(Ok(Frame::data(rest)));
        }
        exchange.complete();
        self.close("ok");
    }

    fn close(&mut self, outcome: &'static str) {
        let Some(mut account) = self.account.take() else { return };
        if let Some(found) = self.inspection.found() {
            account.consumed(found);
        }
        account.close(outcome);
    }

    /// Ends the upstream's part at once; what is queued before the error still passes.
    fn fail(&mut self, error: RelayError) {
        self.exchange = None;
        self.ready.push_back(Err(error));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        loop {
            match self.ready.pop_front() {
                Some(Err(error)) => {
                    self.close(match error {
                        RelayError::Stopped(stopped) => {
                            tracing::warn!("an upstream's answer is cut off: {stopped}");
                            Refusal::from(stopped).outcome()
                        }
                        RelayError::Upstream(_) | RelayError::Silence => "upstream_error",
                    });
                    return Poll::Ready(Some(Err(error)));
                }
                Some(piece) => return Poll::Ready(Some(piece)),
                None if self.exchange.is_none() => return Poll::Ready(None),
                None => ready!(self.fill(cx)),
            }
        }
    }

    /// Takes what comes next from the upstream and lets pass what may.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(self.poll_silence(cx));
                self.fail(RelayError::Silence);
                return Poll::Ready(());
            }
        };
        self.waiting = false;
        match frame.transpose() {
            Ok(Some(frame)) => match frame.into_data() {
                Ok(piece) => self.pass(piece),
                Err(frame) => self.pass_trailers(frame.into_trailers().unwrap_or_default()),
            },
            Ok(None) => self.complete(),
            Err(error) => self.fail(RelayError::Upstream(error)),
        }
        self.settle();
        Poll::Ready(())
    }

    fn pass(&mut self, piece: Bytes) {
        let passage = self.inspection.pass(piece);
        if !passage.bytes.is_empty() {
            self.ready.push_back(Ok(Frame::data(passage.bytes)));
        }
        if let Some(stopped) = passage.stopped {
            self.fail(RelayError::Stopped(stopped));
        }
    }

    fn pass_trailers(&mut self, mut trailers: HeaderMap) {
        if let Err(stopped) = self.inspection.check_trailers(&trailers) {
            return self.fail(RelayError::Stopped(stopped));
        }
        if let Some(rest) = self.inspection.finish() {
            self.ready.push_back(Ok(Frame::data(rest)));
        }
        header::for_client(&mut trailers);
        self.ready.push_back(Ok(Frame::trailers(trailers)));
    }

    /// Ready when nothing has come for too long. The timer exists only once a body has made us wait.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(SILENCE)));
        if !self.waiting {
            self.waiting = true;
            sleep.as_mut().reset(tokio::time::Instant::now() + SILENCE);
        }
        sleep.as_mut().poll(cx)
    }

    /// Bytes that have come and not passed yet.
    fn pending(&self) -> usize {
        let ready = self.ready.iter().filter_map(|piece| piece.as_ref().ok()?.data_ref());
        ready.map(Bytes::len).sum::<usize>() + self.inspection.held()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // A client that leaves in the middle.
        self.close("upstream_error");
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = RelayError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        match &mut self.0 {
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Kind::Relay(relay) => relay.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_none(),
            Kind::Relay(relay) => relay.exchange.is_none() && relay.ready.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Relay(relay) => match relay.body.size_hint().exact() {
                Some(rest) => SizeHint::with_exact(rest + relay.pending() as u64),
                None => SizeHint::new(),
            },
        }
    }
}
