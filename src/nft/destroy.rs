//! Ends the sockets of a namespace that reach beyond its loopback interface (`SOCK_DESTROY`).
//!
//! A kernel without that call leaves the sockets as they are; the rules alone stop their packets.

use std::net::IpAddr;

use crate::constant as k;
use crate::fault::NftError;
use crate::message;
use crate::range::from_octets;
use crate::socket::Netlink;

const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
const REQUEST_LENGTH: usize = 56;
/// Where the socket's identity starts in a request and in an answer.
const REQUEST_IDENTITY: usize = 8;
const ANSWER_IDENTITY: usize = 4;
const IDENTITY_LENGTH: usize = 48;
/// Listening sockets reach nothing.
const STATE_LISTEN: u8 = 10;
const MAX_SOCKETS: usize = 65_536;

/// Ends every TCP and UDP socket of the calling thread's namespace whose peer is not a loopback address; how many.
///
/// # Errors
/// [`NftError::Socket`], or [`NftError::Refused`] where the kernel has no such call (`EOPNOTSUPP`) or denies it.
pub fn destroy_outward_sockets() -> Result<usize, NftError> {
    destroy_sockets(|peer, _| !peer.is_loopback())
}

/// Ends every socket whose peer and port `chosen` picks; how many.
///
/// # Errors
/// As [`destroy_outward_sockets`].
pub fn destroy_sockets(chosen: impl Fn(IpAddr, u16) -> bool) -> Result<usize, NftError> {
    let mut socket = Netlink::open(k::NETLINK_SOCK_DIAG, "sockets")?;
    let mut destroyed = 0;
    for family in [k::FAMILY_IPV4, k::FAMILY_IPV6] {
        for protocol in [libc::IPPROTO_TCP, libc::IPPROTO_UDP] {
            let protocol = u8::try_from(protocol).unwrap_or_default();
            for identity in list(&mut socket, family, protocol, &chosen)? {
                match end(&mut socket, family, protocol, &identity) {
                    Ok(()) => destroyed += 1,
                    // It ended by itself meanwhile.
                    Err(error) if error.errno() == Some(libc::ENOENT) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(destroyed)
}

type Identity = [u8; IDENTITY_LENGTH];

fn list(
    socket: &mut Netlink,
    family: u8,
    protocol: u8,
    chosen: &impl Fn(IpAddr, u16) -> bool,
) -> Result<Vec<Identity>, NftError> {
    let sequence = socket.next_sequence();
    let mut buffer = Vec::new();
    message::append(&mut buffer, BY_FAMILY, k::NLM_F_REQUEST | k::NLM_F_DUMP, sequence, |body| {
        body.extend_from_slice(&request(family, protocol, &[0; IDENTITY_LENGTH]));
    });
    let mut found = Vec::new();
    socket.collect(&buffer, sequence, "list the sockets", |message| {
        let identity = message.body.get(ANSWER_IDENTITY..ANSWER_IDENTITY + IDENTITY_LENGTH);
        let identity = identity.and_then(|bytes| Identity::try_from(bytes).ok());
        let listens = message.body.get(1) == Some(&STATE_LISTEN);
        if let Some(identity) = identity.filter(|_| !listens && found.len() < MAX_SOCKETS) {
            let port = u16::from_be_bytes([identity[2], identity[3]]);
            let peer = peer(family, &identity).filter(|peer| port > 0 && chosen(*peer, port));
            found.extend(peer.map(|_| identity));
        }
        Ok(())
    })?;
    Ok(found)
}

/// The destination of a socket; an IPv4 address in IPv6 clothes counts as IPv4.
fn peer(family: u8, identity: &Identity) -> Option<IpAddr> {
    let length = if family == k::FAMILY_IPV4 { 4 } else { 16 };
    from_octets(&identity[20..20 + length]).map(|address| address.to_canonical())
}

fn end(socket: &mut Netlink, family: u8, protocol: u8, identity: &Identity) -> Result<(), NftError> {
    socket.request((DESTROY, k::NLM_F_REQUEST), "end a socket", |body| {
        body.extend_from_slice(&request(family, protocol, identity));
    })
}

fn request(family: u8, protocol: u8, identity: &Identity) -> [u8; REQUEST_LENGTH] {
    let mut bytes = [0; REQUEST_LENGTH];
    bytes[0] = family;
    bytes[1] = protocol;
    // All states.
    bytes[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    bytes[REQUEST_IDENTITY..].copy_from_slice(identity);
    bytes
}
