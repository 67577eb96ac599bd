//! Opening a connection to an upstream: resolve, connect, shake hands, all within ten seconds.
//!
//! Addresses are tried with a short head start each, so that a dead one costs little. A connection that follows a
//! redirect may be limited to public addresses, so that nobody out there can aim us at the host's own network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustix::net::RecvFlags;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use crate::routes::Origin;
use crate::tls::Tls;
use crate::upload::Upload;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const HEAD_START: Duration = Duration::from_millis(300);
/// Largest buffer of one upstream connection; also the largest response head.
const BUFFER: usize = 64 * 1024;

/// Which addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    Anywhere,
    /// Public ones alone.
    PublicOnly,
}

impl Reach {
    /// Whether `address` is within reach.
    pub fn allows(self, address: IpAddr) -> bool {
        self == Self::Anywhere || !is_internal(address)
    }
}

/// One connection to an upstream. Dropping it closes it, whatever it was doing.
pub struct Upstreaming {
    /// The HTTP side.
    pub sender: SendRequest<Upload>,
    /// The far end.
    pub peer: SocketAddr,
    /// When it was last put aside.
    pub idle_since: Instant,
    driver: JoinHandle<()>,
    probe: OwnedFd,
}

impl Upstreaming {
    /// True when an idle connection can take a request. Asks the kernel, because the event of the peer's closing may
    /// not have been delivered yet, and a request sent into a closed connection may be one that must not be repeated.
    pub fn is_reusable(&self) -> bool {
        let mut byte = [0_u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let silent = matches!(rustix::net::recv(&self.probe, &mut byte, flags), Err(rustix::io::Errno::AGAIN));
        silent && self.sender.is_ready()
    }
}

impl Drop for Upstreaming {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Opens a connection to `origin`.
///
/// # Errors
/// The operating system's, TLS's, or `TimedOut`.
pub async fn dial(origin: &Origin, tls: &Tls, reach: Reach) -> io::Result<Upstreaming> {
    match tokio::time::timeout(CONNECT_LIMIT, open(origin, tls, reach)).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn open(origin: &Origin, tls: &Tls, reach: Reach) -> io::Result<Upstreaming> {
    let stream = connect(resolve(origin, reach).await?).await?;
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?;
    let probe = stream.as_fd().try_clone_to_owned()?;
    let (sender, driver) =
        if origin.tls { handshake(tls.connect(stream, &origin.host).await?).await? } else { handshake(stream).await? };
    Ok(Upstreaming { sender, peer, idle_since: Instant::now(), driver, probe })
}

async fn handshake<S>(stream: S) -> io::Result<(SendRequest<Upload>, JoinHandle<()>)>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let driver = tokio::spawn(async move {
        // The request or the body that was under way reports the same trouble to whoever waits for it.
        let _ = connection.with_upgrades().await;
    });
    Ok((sender, driver))
}

async fn resolve(origin: &Origin, reach: Reach) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = match origin.host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, origin.port)],
        Err(_) => tokio::net::lookup_host((origin.host.as_str(), origin.port)).await?.collect(),
    };
    let within: Vec<_> = found.into_iter().filter(|address| reach.allows(address.ip())).collect();
    if within.is_empty() {
        return Err(io::Error::other("no address within reach"));
    }
    Ok(within)
}

/// Connects to the first address that answers.
async fn connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    if let [only] = addresses[..] {
        return TcpStream::connect(only).await;
    }
    let mut attempts = JoinSet::new();
    let mut rest = addresses.into_iter();
    let mut last = io::Error::other("no address");
    loop {
        if let Some(address) = rest.next() {
            attempts.spawn(TcpStream::connect(address));
        } else if attempts.is_empty() {
            return Err(last);
        }
        let more = rest.len() > 0;
        tokio::select! {
            done = attempts.join_next() => match done {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => last = error,
                Some(Err(error)) => last = io::Error::other(error),
                None => {}
            },
            () = tokio::time::sleep(HEAD_START), if more => {}
        }
    }
}

/// True for addresses that only this host or its surroundings can reach.
fn is_internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => is_internal(IpAddr::V4(v4)),
            None => {
                v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_multicast()
                    || v6.is_unique_local()
                    || v6.is_unicast_link_local()
            }
        },
    }
}

/// The address of the older kind that a gateway, or the kernel itself, takes this one for.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let (halves, bytes) = (v6.segments(), v6.octets());
    let at = |start: usize| Ipv4Addr::new(bytes[start], bytes[start + 1], bytes[start + 2], bytes[start + 3]);
    match halves {
        // NAT64 and 6to4.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(at(12)),
        [0x2002, ..] => Some(at(2)),
        _ => v6.to_ipv4_mapped(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_addresses() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::1",
        ] {
            assert!(!Reach::PublicOnly.allows(text.parse().unwrap()), "{text}");
            assert!(Reach::Anywhere.allows(text.parse().unwrap()), "{text}");
        }
        for text in ["140.82.112.3", "100.128.0.1", "172.32.0.1", "2606:4700::1", "64:ff9b::140.82.112.3"] {
            assert!(Reach::PublicOnly.allows(text.parse().unwrap()), "{text}");
        }
    }

    #[tokio::test]
    async fn a_redirect_from_outside_cannot_lead_inside() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            let origin = Origin { tls: false, host: host.into(), port };
            assert!(dial(&origin, &Tls::default(), Reach::PublicOnly).await.is_err());
        }
        let origin = Origin { tls: false, host: "localhost".into(), port };
        assert!(dial(&origin, &Tls::default(), Reach::Anywhere).await.is_ok());
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_ok() && listener.accept().is_err(), "one connection was made");
    }
}
