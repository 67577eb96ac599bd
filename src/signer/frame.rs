//! Messages of the agent protocol: a length, a type, a payload.
//!
//! Reading never trusts a length before it is compared with what is there; a frame that is empty or longer than
//! [`LONGEST_FRAME`] ends the connection, because nothing after it can be told apart any more.

use std::io;

use server::{Budget, Charge};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Most bytes of a message, its type included.
pub const LONGEST_FRAME: usize = 256 * 1024;
/// A buffer that has grown beyond this is given back after its message.
pub const KEEP: usize = 16 * 1024;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGNATURE: u8 = 14;
/// Length prefix, type and count of a list of identities.
const LIST_HEAD: usize = 9;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Which keys there are.
    List,
    /// A signature.
    Sign {
        /// Public key, in SSH's wire form.
        blob: &'a [u8],
        /// What is to be signed.
        data: &'a [u8],
        /// Which hash an RSA key uses.
        flags: u32,
    },
    /// A signature, but the message ends too early.
    Torn,
    /// Anything else; the number is the message's type.
    Other(u8),
}

impl<'a> Request<'a> {
    /// Understands a frame's body. What follows a complete request is ignored.
    pub fn parse(body: &'a [u8]) -> Self {
        match body.split_first() {
            Some((&REQUEST_IDENTITIES, _)) => Self::List,
            Some((&SIGN_REQUEST, rest)) => Self::parse_sign(rest).unwrap_or(Self::Torn),
            Some((&kind, _)) => Self::Other(kind),
            None => Self::Torn,
        }
    }

    fn parse_sign(rest: &'a [u8]) -> Option<Self> {
        let (blob, rest) = string(rest)?;
        let (data, rest) = string(rest)?;
        let flags = u32::from_be_bytes(*rest.first_chunk()?);
        Some(Self::Sign { blob, data, flags })
    }
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// What came of reading a frame.
pub enum Arrival {
    /// The whole body, and what is charged for it.
    Whole(Option<Charge>),
    /// No message has this length.
    Impossible,
    /// The supervisor has no memory left for it.
    TooMuch,
}

/// Reads one frame's body into `body`. One beyond [`KEEP`] is charged first.
///
/// # Errors
/// The connection's, also when it ends within the frame.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S, body: &mut Vec<u8>, budget: &Budget) -> io::Result<Arrival> {
    let length = stream.read_u32().await?;
    let Some(length) = usize::try_from(length).ok().filter(|length| (1..=LONGEST_FRAME).contains(length)) else {
        return Ok(Arrival::Impossible);
    };
    // A growing vector may hold twice its content.
    let charge = if length > KEEP { budget.charge(2 * length) } else { None };
    if length > KEEP && charge.is_none() {
        return Ok(Arrival::TooMuch);
    }
    body.clear();
    // Grows with what arrives: a client that only announces much gets no memory.
    let read = (&mut *stream).take(length as u64).read_to_end(body).await?;
    if read < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Arrival::Whole(charge)) }
}

/// The answer to everything that is not done.
pub fn failure() -> Vec<u8> {
    vec![0, 0, 0, 1, FAILURE]
}

/// The answer to [`Request::Sign`]: `signature` is the whole blob, its algorithm's name included.
pub fn signature(signature: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(signature.len() + LIST_HEAD);
    push_u32(&mut out, 1 + 4 + signature.len());
    out.push(SIGNATURE);
    push_string(&mut out, signature);
    out
}

/// The answer to [`Request::List`]: public blobs with their comments, as many as one message holds.
pub fn identities<'a>(keys: impl IntoIterator<Item = (&'a [u8], &'a str)>) -> Vec<u8> {
    let mut out = vec![0; LIST_HEAD];
    let mut count = 0_u32;
    for (blob, comment) in keys {
        if out.len() + 8 + blob.len() + comment.len() > LONGEST_FRAME {
            break;
        }
        push_string(&mut out, blob);
        push_string(&mut out, comment.as_bytes());
        count += 1;
    }
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_be_bytes());
    out[4] = IDENTITIES;
    out[5..LIST_HEAD].copy_from_slice(&count.to_be_bytes());
    out
}

fn push_u32(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
}

fn push_string(out: &mut Vec<u8>, bytes: &[u8]) {
    push_u32(out, bytes.len());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(parts: &[&[u8]], tail: &[u8]) -> Vec<u8> {
        let mut body = vec![SIGN_REQUEST];
        parts.iter().for_each(|part| push_string(&mut body, part));
        body.extend_from_slice(tail);
        body
    }

    #[test]
    fn requests() {
        assert_eq!(Request::parse(&[REQUEST_IDENTITIES, 1, 2]), Request::List);
        let whole = sign(&[b"key", b"data"], &[0, 0, 0, 4]);
        let expected = Request::Sign { blob: b"key", data: b"data", flags: 4 };
        assert_eq!(Request::parse(&whole), expected);
        assert_eq!(Request::parse(&[whole.clone(), vec![9; 7]].concat()), expected);
        for end in 1..whole.len() {
            assert_eq!(Request::parse(&whole[..end]), Request::Torn, "{end} bytes");
        }
        assert_eq!(Request::parse(&[]), Request::Torn);
        assert_eq!(Request::parse(&sign(&[], &[0xff; 8])), Request::Torn);
        for kind in [17, 18, 19, 22, 23, 25, 27, 0, 255] {
            assert_eq!(Request::parse(&[kind, 0, 0]), Request::Other(kind));
        }
    }

    #[test]
    fn answers() {
        assert_eq!(failure(), [0, 0, 0, 1, 5]);
        assert_eq!(signature(b"ab"), [0, 0, 0, 7, 14, 0, 0, 0, 2, b'a', b'b']);
        let none: [(&[u8], &str); 0] = [];
        assert_eq!(identities(none), [0, 0, 0, 5, 12, 0, 0, 0, 0]);
        let one = [0, 0, 0, 15, 12, 0, 0, 0, 1, 0, 0, 0, 1, b'k', 0, 0, 0, 1, b'c'];
        assert_eq!(identities([(&b"k"[..], "c")]), one);
    }

    #[test]
    fn a_list_stays_readable_for_clients() {
        let blob = vec![7; 1000];
        let full = identities(std::iter::repeat_n((blob.as_slice(), "c"), 1000));
        assert!(full.len() - 4 <= LONGEST_FRAME);
        let count = u32::from_be_bytes(*full[5..].first_chunk().unwrap()) as usize;
        assert_eq!(full.len(), LIST_HEAD + count * (8 + blob.len() + 1));
        assert!(count > 250);
    }
}
