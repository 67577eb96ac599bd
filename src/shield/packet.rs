//! A packet as far as rules look at it.

use std::net::IpAddr;

use terok_nft::Family;

/// Where a packet is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// It leaves a socket of the container.
    Output,
    /// It arrives for a socket of the container.
    Input,
}

/// The state of a packet's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tracking {
    /// The first packet of a connection.
    New,
    /// A packet of a known connection.
    Established,
    /// An error about a known connection.
    Related,
    /// A packet that belongs to no connection.
    Invalid,
}

impl Tracking {
    /// The kernel's bit.
    pub fn bit(self) -> u32 {
        match self {
            Self::Invalid => 1,
            Self::Established => 2,
            Self::Related => 4,
            Self::New => 8,
        }
    }
}

/// TCP, UDP, ICMP and ICMPv6 by their numbers.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6.
    pub const ICMP6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Packet {
    /// Where it is seen.
    pub direction: Direction,
    /// True when its interface is the loopback interface.
    pub loopback: bool,
    /// The receiver.
    pub destination: IpAddr,
    /// The protocol above IP.
    pub protocol: u8,
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub port: u16,
    /// The type of an ICMP or ICMPv6 message.
    pub icmp_type: u8,
    /// The hop limit or time to live.
    pub hop_limit: u8,
    /// The state of its connection.
    pub tracking: Tracking,
    /// True against the direction of the connection's first packet.
    pub reply: bool,
    /// True when the quota of its destination is used up.
    pub quota_spent: bool,
    /// True when the rate of the log is not exhausted.
    pub below_limit: bool,
}

impl Packet {
    /// The first packet of a connection to the outside.
    pub fn first(destination: IpAddr, protocol: u8, port: u16) -> Self {
        Self {
            direction: Direction::Output,
            loopback: false,
            destination,
            protocol,
            source_port: 40_000,
            port,
            icmp_type: 8,
            hop_limit: 64,
            tracking: Tracking::New,
            reply: false,
            quota_spent: false,
            below_limit: true,
        }
    }

    /// The family.
    pub fn family(&self) -> Family {
        Family::of(self.destination)
    }

    /// The bytes of the header after IP, as far as rules look at them.
    pub fn transport(&self) -> [u8; 4] {
        if matches!(self.protocol, protocol::ICMP | protocol::ICMP6) {
            return [self.icmp_type, 0, 0, 0];
        }
        let (source, port) = (self.source_port.to_be_bytes(), self.port.to_be_bytes());
        [source[0], source[1], port[0], port[1]]
    }
}
