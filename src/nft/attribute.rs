//! Netlink attributes: a writer, and a reader that checks a whole list before it hands out the first value.

use crate::constant::{NLA_F_NESTED, NLA_TYPE_MASK};
use crate::fault::NftError;

const HEADER: usize = 4;
/// The largest value that an attribute's 16-bit length can describe.
pub const MAX_VALUE: usize = u16::MAX as usize - HEADER;

/// Rounds up to the four bytes that netlink aligns to.
pub const fn aligned(length: usize) -> usize {
    (length + 3) & !3
}

/// Appends attributes to a buffer.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A writer that continues after `bytes`.
    pub fn after(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// The buffer.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends plain bytes. A value beyond [`MAX_VALUE`] is cut: callers bound what they pass.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        let value = &value[..value.len().min(MAX_VALUE)];
        let length = u16::try_from(HEADER + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }

    /// Appends one byte.
    pub fn byte(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    /// Appends a 16-bit number in network order.
    pub fn be16(&mut self, kind: u16, value: u16) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Appends a 32-bit number in network order.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Appends a 64-bit number in network order.
    pub fn be64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Appends text with the NUL that the kernel expects.
    pub fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    /// Appends a list of attributes as one value.
    pub fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes(kind | NLA_F_NESTED, &[]);
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

/// A checked list of attributes.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Checks the list.
    ///
    /// # Errors
    /// [`NftError::Malformed`] when a length leaves the buffer.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NftError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (_, _, next) = split(rest).ok_or(NftError::Malformed("an attribute ends outside its message"))?;
            rest = next;
        }
        Ok(Self { rest: bytes })
    }

    /// The first value of `kind`.
    pub fn find(self, kind: u16) -> Option<&'a [u8]> {
        self.into_iter().find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// The list inside the first value of `kind`; an absent one is an empty list.
    ///
    /// # Errors
    /// As [`Attributes::parse`].
    pub fn nested(self, kind: u16) -> Result<Self, NftError> {
        Self::parse(self.find(kind).unwrap_or_default())
    }

    /// A 16-bit number in network order.
    pub fn be16(self, kind: u16) -> Option<u16> {
        self.find(kind).and_then(|value| value.try_into().ok()).map(u16::from_be_bytes)
    }

    /// A 32-bit number in network order.
    pub fn be32(self, kind: u16) -> Option<u32> {
        self.find(kind).and_then(|value| value.try_into().ok()).map(u32::from_be_bytes)
    }

    /// A 64-bit number in network order.
    pub fn be64(self, kind: u16) -> Option<u64> {
        self.find(kind).and_then(|value| value.try_into().ok()).map(u64::from_be_bytes)
    }

    /// Text up to its first NUL; bytes that are no UTF-8 are replaced.
    pub fn text(self, kind: u16) -> Option<String> {
        let value = self.find(kind)?;
        let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
        Some(String::from_utf8_lossy(&value[..end]).into_owned())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, value, rest) = split(self.rest)?;
        self.rest = rest;
        Some((kind, value))
    }
}

fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let header = bytes.get(..HEADER)?;
    let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
    let kind = u16::from_ne_bytes([header[2], header[3]]) & NLA_TYPE_MASK;
    if length < HEADER {
        return None;
    }
    let value = bytes.get(HEADER..length)?;
    // The padding of the last attribute may be missing.
    let rest = bytes.get(aligned(length)..).unwrap_or_default();
    Some((kind, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_survive_a_round_trip() {
        let mut writer = Writer::default();
        writer.byte(1, 7);
        writer.be16(2, 0x1234);
        writer.text(3, "lo");
        writer.nested(4, |inner| {
            inner.be32(1, 9);
            inner.be64(2, 10);
        });
        let bytes = writer.into_bytes();
        let all = Attributes::parse(&bytes).unwrap();
        assert_eq!(all.find(1), Some(&[7][..]));
        assert_eq!((all.be16(2), all.text(3).as_deref()), (Some(0x1234), Some("lo")));
        let inner = all.nested(4).unwrap();
        assert_eq!((inner.be32(1), inner.be64(2), inner.be64(1)), (Some(9), Some(10), None));
        assert!(all.find(9).is_none() && all.nested(9).unwrap().next().is_none());
    }

    #[test]
    fn attributes_are_refused_when_a_length_lies() {
        for bytes in [&[3, 0, 1, 0][..], &[9, 0, 1, 0, 1], &[4, 0, 1], &[0, 0, 0, 0], &[4, 0, 1, 0, 5, 0]] {
            assert!(Attributes::parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
