//! The response body on its way down, and the account of the exchange it ends.
//!
//! Invariants: pieces are passed on as they arrive; when the client goes away the upstream connection is closed at once;
//! when the upstream breaks in the middle the client's connection is cut, so that a half answer never looks whole; the
//! audit line is written exactly once, however the exchange ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use wire::audit::AuditLine;

use crate::audit::Audit;
use crate::dial::Upstreaming;
use crate::pool::Pool;
use crate::routes::Origin;
use crate::upload::Progress;
use crate::usage::{Found, Usage};

/// Longest silence of an upstream. Model replies can take many minutes to begin.
pub const SILENCE: Duration = Duration::from_secs(1200);

/// Longest method and path in a log or audit line: a container must not be able to push everybody's lines out of the
/// audit file with a few thousand requests.
const LONGEST_METHOD: usize = 32;
const LONGEST_PATH: usize = 1024;

fn clipped(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let cut = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..cut])
}

/// Why a response body ended early.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The upstream broke off.
    #[error("the upstream broke off")]
    Upstream(#[source] hyper::Error),
    /// The upstream fell silent.
    #[error("the upstream fell silent")]
    Silence,
}

/// The account of one exchange: logged and audited when it is closed, or as a failure when it is dropped open.
pub struct Account {
    line: Option<AuditLine>,
    audit: Arc<Audit>,
    began: Instant,
    usage: Option<Box<Usage>>,
}

impl Account {
    /// Opens the account of a request.
    pub fn new(audit: &Arc<Audit>, method: &str, path: &str) -> Self {
        let line = AuditLine {
            method: clipped(method, LONGEST_METHOD),
            path: clipped(path, LONGEST_PATH),
            // What a client that leaves before the answer would have been told.
            status: 502,
            outcome: "upstream_error",
            ..AuditLine::default()
        };
        Self { line: Some(line), audit: audit.clone(), began: Instant::now(), usage: None }
    }

    /// The line, to be filled in.
    pub fn line(&mut self) -> &mut AuditLine {
        self.line.as_mut().expect("the account is open")
    }

    /// Reads consumption out of the answer while it passes.
    pub fn watch(&mut self, usage: Option<Usage>) {
        self.usage = usage.map(Box::new);
    }

    fn observe(&mut self, piece: &[u8]) {
        if let Some(usage) = &mut self.usage {
            usage.feed(piece);
        }
    }

    /// Notes what an answer consumed.
    pub fn consumed(&mut self, found: Found) {
        let line = self.line();
        line.model = found.model;
        line.input_tokens = found.input;
        line.output_tokens = found.output;
    }

    /// Closes the account with this outcome.
    pub fn close(mut self, outcome: &'static str) {
        self.line().outcome = outcome;
    }

    /// Closes the account without a line in the audit file.
    pub fn forget(mut self) {
        self.line = None;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.line.is_none() {
            return;
        }
        if let Some(mut usage) = self.usage.take() {
            self.consumed(usage.found());
        }
        let Some(mut line) = self.line.take() else {
            return;
        };
        line.duration_ms = self.began.elapsed().as_millis() as u64;
        tracing::info!(
            method = %base::text::sanitize_tty(&line.method),
            path = %base::text::sanitize_tty(&line.path),
            status = line.status,
            outcome = line.outcome,
            "request"
        );
        self.audit.write(line);
    }
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
    /// The account to close.
    pub account: Account,
}

impl Exchange {
    fn complete(self) {
        // A connection whose request body is still going up cannot be told from a fresh one by the next request.
        if self.progress.sent_all() {
            self.pool.put(self.origin, self.connection);
        }
        self.account.close("ok");
    }
}

struct Relay {
    body: Incoming,
    exchange: Option<Exchange>,
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
        Self(Kind::Full(Some(text.into())).normal())
    }

    /// An upstream's body, which ends the exchange.
    pub(crate) fn relay(body: Incoming, exchange: Exchange) -> Self {
        let mut relay = Relay { body, exchange: Some(exchange), silence: None, waiting: false };
        relay.settle();
        Self(Kind::Relay(Box::new(relay)))
    }
}

impl Kind {
    fn normal(self) -> Self {
        match self {
            Self::Full(Some(bytes)) if bytes.is_empty() => Self::Full(None),
            other => other,
        }
    }
}

impl Relay {
    /// Completes the exchange as soon as the body is known to be over.
    fn settle(&mut self) {
        if self.body.is_end_stream()
            && let Some(exchange) = self.exchange.take()
        {
            exchange.complete();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(self.poll_silence(cx));
                self.exchange = None;
                return Poll::Ready(Some(Err(RelayError::Silence)));
            }
        };
        self.waiting = false;
        match frame {
            Some(Ok(frame)) => {
                if let (Some(exchange), Some(piece)) = (&mut self.exchange, frame.data_ref()) {
                    exchange.account.observe(piece);
                }
                self.settle();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.exchange = None;
                Poll::Ready(Some(Err(RelayError::Upstream(error))))
            }
            None => {
                if let Some(exchange) = self.exchange.take() {
                    exchange.complete();
                }
                Poll::Ready(None)
            }
        }
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
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = RelayError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        match &mut self.0 {
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Kind::Relay(relay) => relay.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_none(),
            Kind::Relay(relay) => relay.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Relay(relay) => relay.body.size_hint(),
        }
    }
}
