//! The server side: accepting connections, a bounded number of them, and ending in good order.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::peer;
use crate::session::{self, Desk};

/// Connections served at the same time.
pub const MOST_CONNECTIONS: usize = 64;
/// How long one connection too many waits for another to end, before it is closed.
const WAIT_FOR_ROOM: Duration = Duration::from_secs(1);
/// Time that a request under way gets when the signer is told to stop.
const GRACE: Duration = Duration::from_secs(1);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener.
pub trait Listen {
    /// An accepted connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection and who made it; `None` for one that is turned away.
    fn accept(&self) -> impl Future<Output = io::Result<Option<(Self::Stream, String)>>>;
}

impl Listen for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<Option<(Self::Stream, String)>> {
        let (stream, _) = Self::accept(self).await?;
        let who = peer::of_unix(&stream);
        Ok(Some((stream, who)))
    }
}

impl Listen for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<Option<(Self::Stream, String)>> {
        let (stream, from) = Self::accept(self).await?;
        // A client that is gone already has no address any more; that is not the listener's failure.
        let Ok(local) = stream.local_addr() else {
            return Ok(None);
        };
        if !base::peer::is_ours(from, local) {
            tracing::warn!("a connection of another user is turned away");
            return Ok(None);
        }
        stream.set_nodelay(true)?;
        Ok(Some((stream, from.to_string())))
    }
}

/// Serves until `stop` resolves, then lets requests under way finish for a moment.
pub async fn serve<L: Listen>(desk: Arc<Desk>, listener: L, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let mut connections = JoinSet::new();
    let (ending, watcher) = watch::channel(false);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok(Some((stream, who))) => {
                    if has_room(&mut connections).await {
                        connections.spawn(session::attend(desk.clone(), stream, who, told_to_end(watcher.clone())));
                    } else {
                        tracing::warn!("a connection ({who}) is closed: {MOST_CONNECTIONS} are open already");
                    }
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
    let all = async { while connections.join_next().await.is_some() {} };
    // Dropping the set afterwards ends what is left.
    let _ = timeout(GRACE, all).await;
}

/// Waits for a moment: a client that closes one connection and opens the next may be seen in the other order.
async fn has_room(connections: &mut JoinSet<()>) -> bool {
    connections.len() < MOST_CONNECTIONS || timeout(WAIT_FOR_ROOM, connections.join_next()).await.is_ok()
}

async fn told_to_end(mut ending: watch::Receiver<bool>) {
    // A lost sender means the same.
    let _ = ending.wait_for(|ending| *ending).await;
}
