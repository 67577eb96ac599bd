//! Questions to the routing table of a namespace, and addresses of its loopback interface.

use std::net::IpAddr;

use crate::attribute::{Attributes, Writer};
use crate::constant as k;
use crate::fault::NftError;
use crate::message;
use crate::range::octets;
use crate::socket::Netlink;

const NEW_ADDRESS: u16 = 20;
const GET_ROUTE: u16 = 26;
const ROUTE_HEADER: usize = 12;
const ROUTE_DESTINATION: u16 = 1;
const ADDRESS_ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const LOOPBACK_INDEX: u32 = 1;

/// What the routing table does with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// It is sent on.
    Unicast,
    /// It is an address of this host.
    Local,
    /// Broadcast, multicast, refused or no route at all.
    Other,
}

/// A socket for questions to the routing table of the namespace it was opened in.
#[derive(Debug)]
pub struct Routes {
    socket: Netlink,
}

impl Routes {
    /// Opens the socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`NftError::Socket`].
    pub fn open() -> Result<Self, NftError> {
        Ok(Self { socket: Netlink::open(k::NETLINK_ROUTE, "routes")? })
    }

    /// Looks up an address.
    ///
    /// # Errors
    /// [`NftError::Refused`] or [`NftError::Malformed`]. A missing route is [`RouteKind::Other`].
    pub fn kind_of(&mut self, address: IpAddr) -> Result<RouteKind, NftError> {
        let bytes = octets(address);
        let sequence = self.socket.next_sequence();
        let mut buffer = Vec::new();
        message::append(&mut buffer, GET_ROUTE, k::NLM_F_REQUEST | k::NLM_F_ACK, sequence, |body| {
            let mut header = [0; ROUTE_HEADER];
            header[0] = family_number(address);
            header[1] = u8::try_from(bytes.len() * 8).unwrap_or_default();
            body.extend_from_slice(&header);
            let mut writer = Writer::after(std::mem::take(body));
            writer.bytes(ROUTE_DESTINATION, &bytes);
            *body = writer.into_bytes();
        });
        let mut kind = None;
        let asked = self.socket.collect(&buffer, sequence, "look up a route", |message| {
            Attributes::parse(message.body.get(ROUTE_HEADER..).unwrap_or_default())?;
            kind = message.body.get(7).copied();
            Ok(())
        });
        match asked {
            Err(NftError::Refused { source, .. }) if source.raw_os_error().is_some_and(is_unreachable) => {
                Ok(RouteKind::Other)
            }
            Err(error) => Err(error),
            Ok(_) => Ok(match kind {
                Some(1) => RouteKind::Unicast,
                Some(2) => RouteKind::Local,
                _ => RouteKind::Other,
            }),
        }
    }
}

/// Adds an address to the loopback interface of the calling thread's namespace; one that is there already is fine.
///
/// # Errors
/// [`NftError::Refused`].
pub fn add_loopback_address(address: IpAddr) -> Result<(), NftError> {
    let mut socket = Netlink::open(k::NETLINK_ROUTE, "addresses")?;
    let bytes = octets(address);
    let flags = k::NLM_F_REQUEST | k::NLM_F_CREATE | k::NLM_F_EXCL;
    let added = socket.request((NEW_ADDRESS, flags), "add an address to the loopback interface", |body| {
        let length = u8::try_from(bytes.len() * 8).unwrap_or_default();
        body.extend_from_slice(&[family_number(address), length, 0, 0]);
        body.extend_from_slice(&LOOPBACK_INDEX.to_ne_bytes());
        let mut writer = Writer::after(std::mem::take(body));
        writer.bytes(ADDRESS_LOCAL, &bytes);
        writer.bytes(ADDRESS_ADDRESS, &bytes);
        *body = writer.into_bytes();
    });
    match added {
        Err(error) if error.errno() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

fn family_number(address: IpAddr) -> u8 {
    if address.is_ipv4() { k::FAMILY_IPV4 } else { k::FAMILY_IPV6 }
}

fn is_unreachable(errno: i32) -> bool {
    matches!(errno, libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
}
