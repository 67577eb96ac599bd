//! The destination that a connection had before a rule redirected it.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use rustix::net::sockopt;

/// The original destination of an accepted TCP connection; `None` when no rule redirected it or it has ended.
///
/// `v6` tells the family of the listener that accepted it.
pub fn original_destination(stream: impl AsFd, v6: bool) -> Option<SocketAddr> {
    if v6 {
        sockopt::ipv6_original_dst(stream).ok().map(SocketAddr::V6)
    } else {
        sockopt::ip_original_dst(stream).ok().map(SocketAddr::V4)
    }
}
