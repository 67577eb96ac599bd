//! Who is at the other end of a loopback connection: only the operator's own processes get in.
//!
//! A loopback port is open to every user of the host. The kernel's socket table says whose socket a connection comes
//! from; users outside our user namespace appear there with the overflow id and stay out. The owner counts only while a
//! process holds the socket: the table gives closed ones (TIME_WAIT, orphaned FIN_WAIT2) no inode, and root as owner.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// True when the socket at `peer`, connected to our `local`, belongs to our own effective user.
pub fn is_ours(peer: SocketAddr, local: SocketAddr) -> bool {
    let (IpAddr::V4(peer_ip), IpAddr::V4(local_ip)) = (peer.ip(), local.ip()) else {
        return false;
    };
    let us = rustix::process::geteuid().as_raw();
    let plain = [hex(peer_ip), hex(local_ip)];
    let mapped = [mapped_hex(peer_ip), mapped_hex(local_ip)];
    let found = owner("/proc/net/tcp", &plain, peer.port(), local.port())
        .or_else(|| owner("/proc/net/tcp6", &mapped, peer.port(), local.port()));
    found == Some(us)
}

/// True when a socket of our own effective user listens on this port of 127.0.0.1.
pub fn is_our_listener(port: u16) -> bool {
    const LISTEN: &str = "0A";
    let (local, remote) =
        (format!("{}:{port:04X}", hex(Ipv4Addr::LOCALHOST)), format!("{}:0000", hex(Ipv4Addr::UNSPECIFIED)));
    let Ok(table) = File::open("/proc/net/tcp") else { return false };
    let us = rustix::process::geteuid().as_raw().to_string();
    BufReader::new(table).lines().skip(1).map_while(Result::ok).any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        fields.get(1..4) == Some(&[local.as_str(), remote.as_str(), LISTEN]) && fields.get(7) == Some(&us.as_str())
    })
}

/// The table prints addresses as native-endian words of the network-order bytes.
fn hex(ip: Ipv4Addr) -> String {
    format!("{:08X}", u32::from_ne_bytes(ip.octets()))
}

fn mapped_hex(ip: Ipv4Addr) -> String {
    let marker = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
    format!("{:016X}{marker:08X}{}", 0, hex(ip))
}

/// The owner of the socket that goes from `ips[0]` to `ips[1]`.
fn owner(table: &str, ips: &[String; 2], from: u16, to: u16) -> Option<u32> {
    let (from, to) = (format!("{}:{from:04X}", ips[0]), format!("{}:{to:04X}", ips[1]));
    let reader = BufReader::new(File::open(table).ok()?);
    for line in reader.lines().skip(1) {
        let line = line.ok()?;
        let mut fields = line.split_ascii_whitespace().skip(1);
        if fields.next() == Some(&from) && fields.next() == Some(&to) {
            // After both addresses: state, queues, timer, retransmissions, owner, timeout, inode.
            let (owner, inode) = (fields.nth(4)?, fields.nth(1)?);
            if inode != "0" {
                return owner.parse().ok();
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    // holds: loopback-port-owner
    #[test]
    fn closed_connection_has_no_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let half = TcpStream::connect(local).unwrap();
        let (_kept, peer) = listener.accept().unwrap();
        half.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(is_ours(peer, local), "a process still holds it");
        drop(half);
        assert!(!is_ours(peer, local), "the kernel names root as the owner of a socket without a process");
    }

    #[test]
    fn our_own_connections_are_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let plain = TcpStream::connect(local).unwrap();
        let (_kept, peer) = listener.accept().unwrap();
        assert_eq!(peer, plain.local_addr().unwrap());
        assert!(is_ours(peer, local));
        assert!(is_our_listener(local.port()) && !is_our_listener(plain.local_addr().unwrap().port()));
        let nobody = SocketAddr::new(peer.ip(), 1);
        assert!(!is_ours(nobody, local));
        if let Ok(mapped) = TcpStream::connect(("::ffff:127.0.0.1", local.port())) {
            let (_kept, peer) = listener.accept().unwrap();
            assert!(is_ours(peer, local));
            drop(mapped);
        }
    }
}
