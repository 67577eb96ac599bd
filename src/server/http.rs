//! The frame of HTTP/1 around a service's answers.

use std::convert::Infallible;
use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Ending;

/// Buffer of one client connection; also the largest request head.
const BUFFER: usize = 64 * 1024;

/// Answers the requests of one connection until it ends, or is upgraded, or `ending` is told between two requests. With
/// a `head_limit`, a client that takes longer than that to send a request's head is sent away.
pub async fn converse<S, F, A, B>(stream: S, head_limit: Option<Duration>, answer: F, ending: Ending)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Response<B>>,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    let service = service_fn(|request| {
        let answer = answer(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut frame = http1::Builder::new();
    frame.max_buf_size(BUFFER).auto_date_header(false);
    if let Some(limit) = head_limit {
        frame.timer(TokioTimer::new()).header_read_timeout(limit);
    }
    let mut connection = pin!(frame.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ending.told() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client connection ended early");
    }
}
