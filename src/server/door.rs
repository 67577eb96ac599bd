//! Where connections come in: a bound socket in the runtime's hands. It never fails, and lets in whom it may.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use base::socket::Listener;
use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::Stream;

/// Between a failure to accept and the next try: most are want of descriptors, and end when connections do.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener of either kind.
pub enum Door {
    Unix(UnixListener),
    Tcp(TcpListener),
    Ports { host: TcpListener, container: TcpListener },
}

impl Door {
    /// Hands a bound socket to the runtime.
    pub fn open(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Self::Unix(UnixListener::from_std(listener)?)
            }
            Listener::Tcp(listener) => Self::Tcp(adopt(listener)?),
            Listener::Ports { host, container } => Self::Ports { host: adopt(host)?, container: adopt(container)? },
        })
    }

    /// The next connection that may come in. May be dropped and called again; no connection is lost by that.
    pub async fn next(&self) -> Stream {
        loop {
            match self.accept().await {
                Ok(Some(stream)) => return stream,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// `None` for a connection that is not let in.
    async fn accept(&self) -> io::Result<Option<Stream>> {
        match self {
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Some(Stream::Unix(stream))),
            Self::Tcp(listener) => listener.accept().await.map(|(stream, from)| vet(stream, from)),
            Self::Ports { host, container } => tokio::select! {
                accepted = host.accept() => accepted.map(|(stream, from)| vet(stream, from)),
                // Only processes in the container's network can connect here.
                accepted = container.accept() => accepted.map(|(stream, _)| prepare(stream)),
            },
        }
    }
}

fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Lets our own user's connections in. One whose client is gone already has no address and takes no option any more;
/// that is not the listener's failure.
fn vet(stream: TcpStream, from: SocketAddr) -> Option<Stream> {
    let local = stream.local_addr().ok()?;
    if !base::peer::is_ours(from, local) {
        tracing::warn!("a connection of another user is turned away");
        return None;
    }
    prepare(stream)
}

/// `None` when the client has gone already.
fn prepare(stream: TcpStream) -> Option<Stream> {
    stream.set_nodelay(true).ok()?;
    Some(Stream::Tcp(stream))
}
