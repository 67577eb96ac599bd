//! The packet log (NFLOG): packets that rules with a `log` term hand over.
//!
//! One reader per namespace and group. Packets are hostile: everything read from them is bounded, and what does not
//! parse is skipped.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::net::RecvFlags;

use crate::attribute::Attributes;
use crate::constant as k;
use crate::fault::NftError;
use crate::message::{self, append_netfilter};
use crate::range::from_octets;
use crate::socket::Netlink;

/// Bytes of each packet that the kernel copies.
pub const COPY_RANGE: u32 = 128;
const RECEIVE_BUFFER: usize = 256 * 1024;
const MAX_PREFIX: usize = 64;

/// One logged packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedPacket {
    /// The text of the rule.
    pub prefix: String,
    /// The sender.
    pub source: IpAddr,
    /// The receiver.
    pub destination: IpAddr,
    /// The protocol above IP.
    pub protocol: u8,
    /// The sender's port; 0 where the protocol has none.
    pub source_port: u16,
    /// The receiver's port; 0 where the protocol has none.
    pub port: u16,
}

/// Result of one read.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// Packets, perhaps none that parse.
    Packets(Vec<LoggedPacket>),
    /// The queue was full and packets are lost. There may be more to read.
    Lost,
    /// Nothing is there now.
    Empty,
}

/// The reader of one log group.
#[derive(Debug)]
pub struct PacketLog {
    fd: OwnedFd,
}

impl AsFd for PacketLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for PacketLog {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl PacketLog {
    /// Another handle on the same socket.
    ///
    /// # Errors
    /// The operating system's, when no descriptor is left.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()? })
    }

    /// Takes the group in the calling thread's network namespace. The descriptor does not block afterwards.
    ///
    /// # Errors
    /// [`NftError::Refused`], `EBUSY` or `EPERM` when another reader has the group.
    pub fn open(group: u16) -> Result<Self, NftError> {
        let mut socket = Netlink::open(k::NETLINK_NETFILTER, "the packet log")?;
        let mut configure = |fill: &dyn Fn(&mut crate::attribute::Writer)| {
            let sequence = socket.next_sequence();
            let kind = k::SUBSYSTEM_ULOG << 8 | k::ulog::MESSAGE_CONFIG;
            let mut buffer = Vec::new();
            append_netfilter(
                &mut buffer,
                (kind, k::NLM_F_REQUEST | k::NLM_F_ACK, sequence),
                (k::FAMILY_UNSPECIFIED, group),
                |w| fill(w),
            );
            socket.acknowledged(&buffer, sequence, "take the packet log's group")
        };
        configure(&|w| w.byte(k::ulog::CONFIG_COMMAND, k::ulog::COMMAND_BIND))?;
        let range = COPY_RANGE.to_be_bytes();
        let mode = [range[0], range[1], range[2], range[3], k::ulog::COPY_PACKET, 0];
        configure(&|w| {
            w.bytes(k::ulog::CONFIG_MODE, &mode);
            // Without it the kernel collects packets for about a second.
            w.be32(k::ulog::CONFIG_THRESHOLD, 1);
        })?;
        let fd = rustix::io::fcntl_dupfd_cloexec(&socket, 3)
            .map_err(|errno| NftError::Socket { purpose: "the packet log", source: errno.into() })?;
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&fd, RECEIVE_BUFFER);
        rustix::io::ioctl_fionbio(&fd, true)
            .map_err(|errno| NftError::Socket { purpose: "the packet log", source: errno.into() })?;
        Ok(Self { fd })
    }

    /// Reads what one datagram of the kernel has.
    pub fn read(&self) -> Reading {
        let mut buffer = [0; 32 * 1024];
        match rustix::net::recv(&self.fd, &mut buffer, RecvFlags::empty()) {
            Ok((length, _)) => Reading::Packets(parse(&buffer[..length])),
            Err(rustix::io::Errno::AGAIN) => Reading::Empty,
            Err(_) => Reading::Lost,
        }
    }
}

/// Parses a datagram of the packet log.
pub fn parse(buffer: &[u8]) -> Vec<LoggedPacket> {
    let ours = k::SUBSYSTEM_ULOG << 8 | k::ulog::MESSAGE_PACKET;
    message::split(buffer).filter(|message| message.kind == ours).filter_map(|m| parse_packet(m.payload().1)).collect()
}

fn parse_packet(bytes: &[u8]) -> Option<LoggedPacket> {
    let list = Attributes::parse(bytes).ok()?;
    let mut prefix = list.text(k::ulog::PREFIX).unwrap_or_default();
    prefix.retain(|c| !c.is_control());
    prefix.truncate((0..=MAX_PREFIX).rev().find(|at| prefix.is_char_boundary(*at)).unwrap_or(0));
    let packet = list.find(k::ulog::PAYLOAD)?;
    let (source, destination, protocol, transport) = match packet.first()? >> 4 {
        4 => parse_ipv4(packet)?,
        6 => parse_ipv6(packet)?,
        _ => return None,
    };
    let port = |at: usize| {
        let found = transport.get(at..at + 2).filter(|_| has_ports(protocol));
        found.map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    Some(LoggedPacket { prefix, source, destination, protocol, source_port: port(0), port: port(2) })
}

/// TCP, UDP, DCCP, SCTP and UDP-Lite begin with their ports.
fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 33 | 132 | 136)
}

type Parsed<'a> = (IpAddr, IpAddr, u8, &'a [u8]);

fn parse_ipv4(packet: &[u8]) -> Option<Parsed<'_>> {
    let header = usize::from(packet[0] & 0x0f) * 4;
    let fixed = packet.get(..20).filter(|_| header >= 20)?;
    // Only the first fragment has ports.
    let offset = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x1fff;
    let transport = packet.get(header..).filter(|_| offset == 0).unwrap_or_default();
    Some((from_octets(&fixed[12..16])?, from_octets(&fixed[16..20])?, fixed[9], transport))
}

fn parse_ipv6(packet: &[u8]) -> Option<Parsed<'_>> {
    let fixed = packet.get(..40)?;
    let (mut protocol, mut rest) = (fixed[6], &packet[40..]);
    // Hop-by-hop, routing and destination options; a fragment or anything unknown ends the walk.
    for _ in 0..8 {
        if !matches!(protocol, 0 | 43 | 60) {
            break;
        }
        let Some(length) = rest.get(1).map(|length| (usize::from(*length) + 1) * 8) else { break };
        protocol = rest[0];
        rest = rest.get(length..).unwrap_or_default();
    }
    Some((from_octets(&fixed[8..24])?, from_octets(&fixed[24..40])?, protocol, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::Writer;

    fn datagram(packet: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::new();
        let kind = k::SUBSYSTEM_ULOG << 8 | k::ulog::MESSAGE_PACKET;
        append_netfilter(&mut buffer, (kind, 0, 0), (2, 100), |w: &mut Writer| {
            w.text(k::ulog::PREFIX, "TEROK_SHIELD_BLOCKED: ");
            w.bytes(k::ulog::PAYLOAD, packet);
        });
        buffer
    }

    #[test]
    fn packet_is_parsed_when_it_is_whole() {
        let mut v4 = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 2, 100, 198, 51, 100, 7];
        v4.extend_from_slice(&[0x80, 0, 0x01, 0xbb, 0, 0]);
        let found = parse(&datagram(&v4));
        assert_eq!(found[0].destination.to_string(), "198.51.100.7");
        assert_eq!((found[0].protocol, found[0].source_port, found[0].port), (6, 0x8000, 443));
        assert_eq!(found[0].prefix, "TEROK_SHIELD_BLOCKED: ");

        let mut v6 = vec![0x60, 0, 0, 0, 0, 16, 0, 64];
        v6.extend_from_slice(&[0xfd; 16]);
        v6.extend_from_slice(&[0x20; 16]);
        v6.extend_from_slice(&[17, 0, 0, 0, 0, 0, 0, 0]);
        v6.extend_from_slice(&[0, 99, 0, 123]);
        let found = parse(&datagram(&v6));
        assert_eq!((found[0].protocol, found[0].source_port, found[0].port), (17, 99, 123));
    }

    #[test]
    fn packet_is_skipped_when_it_is_cut() {
        for packet in [&[][..], &[0x45; 19], &[0x60; 39], &[0x41; 40], &[0x15; 60]] {
            assert!(parse(&datagram(packet)).is_empty(), "{packet:?}");
        }
        let icmp = [0x45, 0, 0, 24, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 2, 100, 8, 8, 8, 8, 8, 0, 1, 2];
        assert_eq!(parse(&datagram(&icmp))[0].port, 0);
    }
}
