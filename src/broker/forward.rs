//! Sending a request to its upstream and getting the head of the answer.
//!
//! Invariants: a request that may have side effects is written to at most one connection; one that has none is repeated
//! once, on a fresh connection, and only when the first was closed before any answer; a redirect is followed without the
//! credential and without anything else that names the client.

use std::error::Error as _;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::LOCATION;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;

use crate::dial::{Reach, Upstreaming, dial};
use crate::header;
use crate::path::redirect_target;
use crate::pool::Pool;
use crate::relay::SILENCE;
use crate::reply::Refusal;
use crate::routes::{Origin, Upstream};
use crate::tls::Tls;
use crate::upload::{Progress, Replay, Upload};

const MOST_REDIRECTS: usize = 5;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request ready to go, body apart.
pub struct Outgoing<'a> {
    /// Method.
    pub method: Method,
    /// Where to.
    pub upstream: &'a Upstream,
    /// Path and query below the upstream's base.
    pub target: PathAndQuery,
    /// Headers, credential included.
    pub headers: HeaderMap,
    /// Headers as the client sent them.
    pub client: &'a HeaderMap,
    /// Whether redirects may be followed.
    pub follow: bool,
}

/// The head of an answer, and the connection its body comes from.
pub struct Answer {
    /// The answer.
    pub response: Response<Incoming>,
    /// The connection.
    pub connection: Upstreaming,
    /// Its origin.
    pub origin: Arc<Origin>,
    /// True for the answer of a place that a redirect led to, which got no credential.
    pub redirected: bool,
}

/// The client side of the broker.
#[derive(Default)]
pub struct Forwarder {
    /// Idle connections.
    pub pool: Pool,
    tls: Tls,
}

impl Forwarder {
    /// Sends the request and follows redirects where that is allowed. With `spare` it is sent once more when the
    /// upstream leaves before it answers.
    ///
    /// # Errors
    /// [`Refusal::UpstreamDisconnected`] or [`Refusal::UpstreamError`].
    pub async fn send(
        &self,
        outgoing: Outgoing<'_>,
        upload: Upload,
        spare: Option<Replay>,
        progress: &Arc<Progress>,
    ) -> Result<Answer, Refusal> {
        let head = Head { method: outgoing.method, target: outgoing.target, headers: outgoing.headers };
        let follow = outgoing.follow.then(|| (head.method.clone(), head.target.clone()));
        let origin = &outgoing.upstream.origin;
        let call = Call { origin, reach: Reach::Anywhere, progress };
        let first = self.exchange(&call, head, upload, spare).await?;
        match follow {
            Some((method, target)) => {
                let from = (outgoing.upstream.clone(), target);
                self.follow(first, method, from, outgoing.client, progress).await
            }
            None => Ok(first),
        }
    }

    /// Follows redirects from `answer`; one that leads nowhere we would go is the answer.
    async fn follow(
        &self,
        mut answer: Answer,
        mut method: Method,
        mut from: (Upstream, PathAndQuery),
        client: &HeaderMap,
        progress: &Arc<Progress>,
    ) -> Result<Answer, Refusal> {
        let inside = !Reach::PublicOnly.allows(answer.connection.peer.ip());
        let reach = if inside { Reach::Anywhere } else { Reach::PublicOnly };
        for _ in 0..MOST_REDIRECTS {
            let Some(next) = next_hop(&answer.response, &from) else {
                break;
            };
            if answer.response.status() == StatusCode::SEE_OTHER && method != Method::HEAD {
                method = Method::GET;
            }
            let head = Head {
                method: method.clone(),
                target: next.1.clone(),
                headers: header::for_redirect(client, &next.0.host),
            };
            let call = Call { origin: &next.0.origin, reach, progress };
            let upload = Upload::empty(progress.clone());
            answer = self.exchange(&call, head, upload, None).await?;
            answer.redirected = true;
            from = next;
        }
        Ok(answer)
    }

    /// Opens a connection for [`Forwarder::post`].
    ///
    /// # Errors
    /// [`Refusal::UpstreamError`].
    pub async fn connect(&self, upstream: &Upstream) -> Result<Upstreaming, Refusal> {
        dial(&upstream.origin, &self.tls, Reach::Anywhere).await.map_err(|error| log(error).into())
    }

    /// Posts a text of our own, once.
    ///
    /// # Errors
    /// As [`Forwarder::send`].
    pub async fn post(
        &self,
        connection: Upstreaming,
        upstream: &Upstream,
        target: PathAndQuery,
        headers: HeaderMap,
        text: Bytes,
    ) -> Result<Answer, Refusal> {
        let progress = Progress::new();
        let call = Call { origin: &upstream.origin, reach: Reach::Anywhere, progress: &progress };
        let upload = Upload::ours(text, progress.clone());
        let head = Head { method: Method::POST, target, headers };
        write(&call, head.request(upload), connection).await.map_err(|unanswered| unanswered.failed().into())
    }

    /// Opens a connection of its own for a request without a body, such as one that asks for another protocol.
    ///
    /// # Errors
    /// As [`Forwarder::send`].
    pub async fn open(
        &self,
        upstream: &Upstream,
        target: PathAndQuery,
        headers: HeaderMap,
        progress: &Arc<Progress>,
    ) -> Result<Answer, Refusal> {
        let call = Call { origin: &upstream.origin, reach: Reach::Anywhere, progress };
        let head = Head { method: Method::GET, target, headers };
        self.attempt(&call, head.request(Upload::empty(progress.clone())), true).await.map_err(Refusal::from)
    }

    async fn exchange(
        &self,
        call: &Call<'_>,
        head: Head,
        upload: Upload,
        replay: Option<Replay>,
    ) -> Result<Answer, Refusal> {
        let spare = replay.map(|replay| (head.clone(), replay));
        match self.attempt(call, head.request(upload), false).await {
            Ok(answer) => Ok(answer),
            Err(Failed::Disconnected) => {
                let again = spare.and_then(|(head, replay)| Some((head, replay.upload()?)));
                let Some((head, upload)) = again else {
                    return Err(Refusal::UpstreamDisconnected);
                };
                let second = self.attempt(call, head.request(upload), true).await;
                second.map_err(Refusal::from)
            }
            Err(failed) => Err(failed.into()),
        }
    }

    /// Writes the request to one connection. An idle one that turns out to be closed before anything was written to it
    /// is replaced; that is no repetition.
    async fn attempt(&self, call: &Call<'_>, mut request: Request<Upload>, fresh: bool) -> Result<Answer, Failed> {
        let mut idle = if fresh { None } else { self.pool.take(call.origin, call.reach) };
        loop {
            let reused = idle.is_some();
            let connection = match idle.take() {
                Some(connection) => connection,
                None => dial(call.origin, &self.tls, call.reach).await.map_err(log)?,
            };
            match write(call, request, connection).await {
                Ok(answer) => return Ok(answer),
                Err(Unanswered::Unsent(unsent, _)) if reused => request = *unsent,
                Err(unanswered) => return Err(unanswered.failed()),
            }
        }
    }
}

/// Writes a request to this connection and waits for the head of the answer.
async fn write(call: &Call<'_>, request: Request<Upload>, mut connection: Upstreaming) -> Result<Answer, Unanswered> {
    let sending = connection.sender.try_send_request(request);
    let Some(sent) = within_silence(sending, call.progress).await else {
        return Err(Unanswered::Silence);
    };
    match sent {
        Ok(response) => Ok(Answer { response, connection, origin: call.origin.clone(), redirected: false }),
        Err(mut error) => Err(match error.take_message() {
            Some(unsent) => Unanswered::Unsent(Box::new(unsent), error.into_error()),
            None => Unanswered::Cut(error.into_error()),
        }),
    }
}

/// Why there is no answer from a connection.
enum Unanswered {
    /// Nothing of the request was written.
    Unsent(Box<Request<Upload>>, hyper::Error),
    Cut(hyper::Error),
    Silence,
}

impl Unanswered {
    fn failed(self) -> Failed {
        match self {
            Self::Unsent(_, error) | Self::Cut(error) => classify(&error),
            Self::Silence => Failed::Other,
        }
    }
}

struct Call<'a> {
    origin: &'a Arc<Origin>,
    reach: Reach,
    progress: &'a Arc<Progress>,
}

#[derive(Clone)]
struct Head {
    method: Method,
    target: PathAndQuery,
    headers: HeaderMap,
}

impl Head {
    fn request(self, upload: Upload) -> Request<Upload> {
        let mut request = Request::new(upload);
        *request.method_mut() = self.method;
        *request.uri_mut() = Uri::from(self.target);
        *request.headers_mut() = self.headers;
        request
    }
}

enum Failed {
    Disconnected,
    Other,
}

impl From<Failed> for Refusal {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Disconnected => Self::UpstreamDisconnected,
            Failed::Other => Self::UpstreamError,
        }
    }
}

fn log(error: io::Error) -> Failed {
    tracing::warn!(%error, "cannot connect to the upstream");
    Failed::Other
}

fn classify(error: &hyper::Error) -> Failed {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let cut = io.is_some_and(|io| {
        matches!(
            io.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
        )
    });
    if cut || error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return Failed::Disconnected;
    }
    tracing::warn!(%error, "the upstream failed");
    Failed::Other
}

/// True when the request may be sent again after an upstream left without an answer.
pub fn is_repeatable(method: &Method, headers: &HeaderMap) -> bool {
    is_harmless(method) || headers.contains_key(IDEMPOTENCY_KEY)
}

/// True for methods that change nothing.
pub fn is_harmless(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn next_hop(response: &Response<Incoming>, from: &(Upstream, PathAndQuery)) -> Option<(Upstream, PathAndQuery)> {
    matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308).then_some(())?;
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    redirect_target(&from.0, &from.1, location)
}

/// The result of `sending`, or `None` when neither side has moved for [`SILENCE`].
async fn within_silence<F: Future>(sending: F, progress: &Progress) -> Option<F::Output> {
    let mut sending = pin!(sending);
    loop {
        let left = SILENCE.saturating_sub(progress.idle());
        if left.is_zero() {
            tracing::warn!("the upstream does not answer");
            return None;
        }
        if let Ok(output) = tokio::time::timeout(left, sending.as_mut()).await {
            return Some(output);
        }
    }
}
