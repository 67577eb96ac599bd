//! Connects to a name from the host's network: to an address of that name, and to nothing private.
//!
//! The address that the container saw is a hint. It is tried first when the name opened it; what the name resolves to
//! now comes after.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use terok_shield_policy::Name;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::engine::Engine;

/// How long a connection may take to be made.
const IN_ALL: Duration = Duration::from_secs(10);
/// How long one address has before the next is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);
const MAX_ADDRESSES: usize = 8;

/// Connects to a name; `hint` is an address that it had.
///
/// # Errors
/// `PermissionDenied` when every address is private or this host's; else the last error of a connection.
pub async fn connect(engine: &Engine, name: &Name, hint: Option<IpAddr>, port: u16) -> io::Result<TcpStream> {
    timeout(IN_ALL, connect_within(engine, name, hint, port)).await.unwrap_or_else(|_| Err(timed_out()))
}

async fn connect_within(engine: &Engine, name: &Name, hint: Option<IpAddr>, port: u16) -> io::Result<TcpStream> {
    if let Some(hint) = hint.filter(|hint| engine.may_connect(*hint))
        && let Ok(Ok(stream)) = timeout(STAGGER * 8, TcpStream::connect((hint, port))).await
    {
        return Ok(stream);
    }
    let found = engine.resolver.addresses(name).await;
    let missing = found.is_empty();
    let allowed: Vec<IpAddr> = found.into_iter().filter(|address| engine.may_connect(*address)).collect();
    if allowed.is_empty() {
        let (kind, text) = if missing {
            (io::ErrorKind::NotFound, "the name does not resolve")
        } else {
            (io::ErrorKind::PermissionDenied, "the name leads to private addresses only")
        };
        return Err(io::Error::new(kind, text));
    }
    race(alternate(allowed).into_iter().take(MAX_ADDRESSES).map(|address| SocketAddr::new(address, port))).await
}

/// Connects to an address for which no name is known; with the firewall down only.
///
/// # Errors
/// As [`connect`].
pub async fn connect_to_address(engine: &Engine, to: SocketAddr) -> io::Result<TcpStream> {
    if !engine.may_connect(to.ip()) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the address is private"));
    }
    timeout(IN_ALL, TcpStream::connect(to)).await.unwrap_or_else(|_| Err(timed_out()))
}

/// Addresses of both families in turn.
fn alternate(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.into_iter().partition(IpAddr::is_ipv4);
    let mut turns = Vec::with_capacity(v4.len() + v6.len());
    let (mut v4, mut v6) = (v4.into_iter(), v6.into_iter());
    loop {
        let (a, b) = (v6.next(), v4.next());
        if a.is_none() && b.is_none() {
            return turns;
        }
        turns.extend(a);
        turns.extend(b);
    }
}

async fn race(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    for (number, address) in addresses.enumerate() {
        let head_start = STAGGER * u32::try_from(number).unwrap_or_default();
        attempts.spawn(async move {
            sleep(head_start).await;
            TcpStream::connect(address).await
        });
    }
    let mut last = timed_out();
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => {}
        }
    }
    Err(last)
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|text| text.parse().unwrap());
        let turns: Vec<String> = alternate(addresses.into()).iter().map(ToString::to_string).collect();
        assert_eq!(turns, ["2001:db8::1", "192.0.2.1", "192.0.2.2"]);
    }
}
