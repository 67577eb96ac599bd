//! The data types of SSH: lengths before bytes, big-endian numbers.
//!
//! Invariant: reading never goes beyond the input and allocates nothing.

/// Takes values from the front of a byte string; every method gives `None` when too little is left.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(4)?.try_into().ok()?))
    }

    pub fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.bytes(usize::try_from(length).ok()?)
    }

    /// A number that is not negative, without its leading zero bytes.
    pub fn number(&mut self) -> Option<&'a [u8]> {
        let bytes = self.string()?;
        if bytes.first().is_some_and(|first| first & 0x80 != 0) {
            return None;
        }
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        Some(&bytes[zeros..])
    }
}

pub(super) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A big-endian number that is not negative; a zero byte keeps the sign bit clear.
pub(super) fn put_number(out: &mut Vec<u8>, bytes: &[u8]) {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let bytes = &bytes[zeros..];
    let sign = usize::from(bytes.first().is_some_and(|first| first & 0x80 != 0));
    out.extend_from_slice(&u32::try_from(bytes.len() + sign).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(std::iter::repeat_n(0, sign));
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_carry_a_sign_byte_only_when_they_need_one() {
        for (number, wire) in [
            (&[0u8, 0][..], &[0u8, 0, 0, 0][..]),
            (&[0, 0x7f], &[0, 0, 0, 1, 0x7f]),
            (&[0x80, 1], &[0, 0, 0, 3, 0, 0x80, 1]),
        ] {
            let mut out = Vec::new();
            put_number(&mut out, number);
            assert_eq!(out, wire);
            let zeros = number.iter().take_while(|b| **b == 0).count();
            assert_eq!(Reader(wire).number(), Some(&number[zeros..]));
        }
        assert_eq!(Reader(&[0, 0, 0, 1, 0x80]).number(), None, "negative");
        assert_eq!(Reader(&[0, 0, 0, 2, 1]).string(), None, "too short");
    }
}
