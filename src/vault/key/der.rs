//! The little DER that OpenSSL leaves to us.
//!
//! Newer writers append the public key to PKCS#8 (version 2 of RFC 5958), which OpenSSL 3.0 refuses; and an encrypted
//! file may ask for so many rounds of key derivation that reading it would never end.
//! Invariant: definite lengths only, nothing is read beyond its parent.

use zeroize::Zeroizing;

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
/// A current laptop needs seconds for this many rounds; common files ask for 2 048 to 600 000.
const MOST_ROUNDS: u64 = 10_000_000;
const DEEPEST: usize = 16;

/// One element: its tag, its content, all its bytes, and what follows it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
    rest: &'a [u8],
}

fn element(bytes: &[u8]) -> Option<Element<'_>> {
    let (&tag, after) = bytes.split_first()?;
    let (&first, mut after) = after.split_first()?;
    let length = if first < 0x80 {
        usize::from(first)
    } else {
        let (digits, rest) = after.split_at_checked(usize::from(first & 0x7f))?;
        after = rest;
        (1..=4).contains(&digits.len()).then(|| digits.iter().fold(0usize, |n, d| (n << 8) | usize::from(*d)))?
    };
    let (content, rest) = after.split_at_checked(length)?;
    Some(Element { tag, content, whole: &bytes[..bytes.len() - rest.len()], rest })
}

fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    match content.len() {
        short @ ..0x80 => out.push(u8::try_from(short).unwrap_or(0)),
        long => {
            let digits = long.to_be_bytes();
            let digits = &digits[digits.iter().take_while(|d| **d == 0).count()..];
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
            out.extend_from_slice(digits);
        }
    }
    out.extend_from_slice(content);
}

/// The version-1 form of a PKCS#8 private key: version, algorithm, key. `None` when it is none.
pub(super) fn without_public_part(pkcs8: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let outer = element(pkcs8).filter(|e| e.tag == SEQUENCE && e.rest.is_empty())?;
    let version = element(outer.content).filter(|e| e.tag == INTEGER && matches!(e.content, [0 | 1]))?;
    let algorithm = element(version.rest).filter(|e| e.tag == SEQUENCE)?;
    let key = element(algorithm.rest).filter(|e| e.tag == OCTETS)?;
    let size = algorithm.whole.len() + key.whole.len() + 3;
    let mut content = Zeroizing::new(Vec::with_capacity(size));
    content.extend_from_slice(&[INTEGER, 1, 0]);
    content.extend_from_slice(algorithm.whole);
    content.extend_from_slice(key.whole);
    // Growing would leave a copy of the key behind.
    let mut out = Zeroizing::new(Vec::with_capacity(size + 10));
    put(&mut out, SEQUENCE, &content);
    Some(out)
}

/// False when an encrypted PKCS#8 file asks for more work than anybody means.
pub(super) fn is_affordable(encrypted_pkcs8: &[u8]) -> bool {
    fn walk(bytes: &[u8], depth: usize) -> bool {
        let mut rest = bytes;
        while let Some(found) = element(rest) {
            let fine = match found.tag {
                INTEGER => number(found.content) <= MOST_ROUNDS,
                SEQUENCE => depth < DEEPEST && walk(found.content, depth + 1),
                _ => true,
            };
            if !fine {
                return false;
            }
            rest = found.rest;
        }
        true
    }
    walk(encrypted_pkcs8, 0)
}

fn number(content: &[u8]) -> u64 {
    content.iter().fold(0, |n: u64, digit| n.saturating_mul(256).saturating_add(u64::from(*digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_appended_public_key_is_cut_off() {
        let plain = [&[0x30, 0x0a, 2, 1, 0, 0x30, 0, 4, 3, 1, 2, 3][..]].concat();
        let newer = [&[0x30, 0x0e, 2, 1, 1, 0x30, 0, 4, 3, 1, 2, 3, 0x81, 2, 0, 9][..]].concat();
        assert_eq!(without_public_part(&newer).unwrap().as_slice(), plain);
        assert_eq!(without_public_part(&plain).unwrap().as_slice(), plain);
        for bad in [&b""[..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x80], &plain[..9]] {
            assert!(without_public_part(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn long_lengths_are_written_as_they_are_read() {
        for length in [0usize, 127, 128, 255, 256, 70_000] {
            let mut out = Vec::new();
            put(&mut out, OCTETS, &vec![7; length]);
            let read = element(&out).unwrap();
            assert_eq!((read.content.len(), read.whole.len(), read.rest.len()), (length, out.len(), 0));
        }
    }

    #[test]
    fn endless_key_derivation_is_noticed() {
        assert!(is_affordable(&[0x30, 5, 2, 3, 1, 0, 0]));
        assert!(!is_affordable(&[0x30, 8, 0x30, 6, 2, 4, 0x7f, 0xff, 0xff, 0xff]));
    }
}
