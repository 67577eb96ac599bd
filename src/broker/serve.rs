//! The server side: accepting connections, a bounded number of them, and ending in good order.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::proxy::Proxy;

/// Connections served at the same time; further ones wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 1024;
/// Buffer of one client connection; also the largest request head.
const BUFFER: usize = 64 * 1024;
/// Time that requests under way get when the broker is told to stop.
const GRACE: Duration = Duration::from_secs(1);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener.
pub trait Listen {
    /// An accepted connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection; `None` for one that is turned away.
    fn accept(&self) -> impl Future<Output = io::Result<Option<Self::Stream>>>;
}

impl Listen for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<Option<Self::Stream>> {
        Self::accept(self).await.map(|(stream, _)| Some(stream))
    }
}

impl Listen for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<Option<Self::Stream>> {
        let (stream, from) = Self::accept(self).await?;
        if !base::peer::is_ours(from, stream.local_addr()?) {
            tracing::warn!("a connection of another user is turned away");
            return Ok(None);
        }
        stream.set_nodelay(true)?;
        Ok(Some(stream))
    }
}

/// Serves until `stop` resolves, then lets requests under way finish for a moment.
pub async fn serve<L: Listen>(proxy: Arc<Proxy>, listener: L, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let mut connections = JoinSet::new();
    let mut refreshing = pin!(proxy.clone().keep_fresh());
    let mut refreshes = true;
    let (ending, watcher) = watch::channel(false);
    loop {
        let room = connections.len() < MOST_CONNECTIONS;
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            () = &mut refreshing, if refreshes => refreshes = false,
            accepted = listener.accept(), if room => match accepted {
                Ok(Some(stream)) => {
                    connections.spawn(converse(proxy.clone(), stream, watcher.clone()));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    let _ = ending.send(true);
    proxy.ending.send_replace(true);
    let all = async {
        while connections.join_next().await.is_some() {}
        proxy.ending.closed().await;
    };
    // Dropping the set afterwards ends what is left.
    let _ = tokio::time::timeout(GRACE, all).await;
}

async fn told_to_end(ending: &mut watch::Receiver<bool>) {
    // A lost sender means the same.
    let _ = ending.wait_for(|ending| *ending).await;
}

async fn converse<S>(proxy: Arc<Proxy>, stream: S, mut ending: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let proxy = proxy.clone();
        async move { Ok::<_, Infallible>(proxy.handle(request).await) }
    });
    let connection = http1::Builder::new()
        .max_buf_size(BUFFER)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told_to_end(&mut ending) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client connection ended early");
    }
}
