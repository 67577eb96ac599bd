//! Netlink messages: framing of what is sent, and an iterator over what was received.

use crate::attribute::{Writer, aligned};
use crate::constant::SUBSYSTEM_NFTABLES;

/// Bytes of a message header.
pub const HEADER: usize = 16;
/// Bytes of the nfnetlink header that follows it.
pub const GENERAL: usize = 4;

/// One received message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its type.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// The sequence number of the request it answers.
    pub sequence: u32,
    /// Everything after the header.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The address family of an nfnetlink message and its attributes.
    pub fn payload(&self) -> (u8, &'a [u8]) {
        (self.body.first().copied().unwrap_or_default(), self.body.get(GENERAL..).unwrap_or_default())
    }
}

/// Splits a received buffer into messages; stops at the first that does not fit.
pub fn split(buffer: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        let header = rest.get(..HEADER)?;
        let number = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let short = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let length = usize::try_from(number(0)).ok().filter(|length| *length >= HEADER)?;
        let body = rest.get(HEADER..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(Message { kind: short(4), flags: short(6), sequence: number(8), body })
    })
}

/// Appends one message to `buffer`; `fill` writes what follows the header.
pub fn append(buffer: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&kind.to_ne_bytes());
    buffer.extend_from_slice(&flags.to_ne_bytes());
    buffer.extend_from_slice(&sequence.to_ne_bytes());
    buffer.extend_from_slice(&[0; 4]);
    fill(buffer);
    let length = u32::try_from(buffer.len() - start).unwrap_or(u32::MAX);
    buffer[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    buffer.resize(aligned(buffer.len()), 0);
}

/// Appends one nfnetlink message with its attributes.
pub fn append_netfilter(
    buffer: &mut Vec<u8>,
    (kind, flags, sequence): (u16, u16, u32),
    (family, resource): (u8, u16),
    fill: impl FnOnce(&mut Writer),
) {
    append(buffer, kind, flags, sequence, |bytes| {
        let resource = resource.to_be_bytes();
        bytes.extend_from_slice(&[family, 0, resource[0], resource[1]]);
        let mut writer = Writer::after(std::mem::take(bytes));
        fill(&mut writer);
        *bytes = writer.into_bytes();
    });
}

/// The type of an nf_tables message.
pub const fn nftables(number: u16) -> u16 {
    SUBSYSTEM_NFTABLES << 8 | number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_a_round_trip() {
        let mut buffer = Vec::new();
        append(&mut buffer, 5, 1, 7, |bytes| bytes.extend_from_slice(&[1, 2, 3]));
        append_netfilter(&mut buffer, (nftables(0), 0, 8), (1, 0x0a0b), |writer| writer.byte(1, 9));
        let found: Vec<_> = split(&buffer).collect();
        assert_eq!((found[0].kind, found[0].flags, found[0].sequence, found[0].body), (5, 1, 7, &[1, 2, 3][..]));
        assert_eq!((found[1].kind, found[1].payload().0), (0x0a00, 1));
        assert_eq!(found[1].body[..4], [1, 0, 0x0a, 0x0b]);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn splitting_stops_at_a_length_that_lies() {
        for buffer in [&[][..], &[0; 15], &[0; 16], &[255; 64]] {
            assert_eq!(split(buffer).count(), 0, "{buffer:?}");
        }
    }
}
