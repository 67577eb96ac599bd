//! pkt-line: the frames of git's protocols. Four hexadecimal digits of length, themselves included, then the payload.
//!
//! Reading takes nothing it has not got: an incomplete frame is asked for again when more has come.

use std::ops::Range;

/// Longest frame of the protocol, with its length.
pub const LONGEST: usize = 65520;
/// The frame that ends a section.
pub const FLUSH: &[u8] = b"0000";

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// `0000`
    Flush,
    /// `0001`
    Delimiter,
    /// `0002`
    End,
    /// A payload, as a place in the bytes that were read.
    Data(Range<usize>),
}

/// The bytes are no pkt-line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request is not made of pkt-lines")]
pub struct Malformed;

/// The frame at `at`, and where the next one begins; `None` when more bytes are needed.
///
/// # Errors
/// [`Malformed`] when no more bytes can help.
pub fn next(bytes: &[u8], at: usize) -> Result<Option<(Frame, usize)>, Malformed> {
    let rest = bytes.get(at..).unwrap_or_default();
    let digits = &rest[..rest.len().min(4)];
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(Malformed);
    }
    if digits.len() < 4 {
        return Ok(None);
    }
    let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
    let length = usize::from_str_radix(text, 16).map_err(|_| Malformed)?;
    let frame = match length {
        0 => (Frame::Flush, at + 4),
        1 => (Frame::Delimiter, at + 4),
        2 => (Frame::End, at + 4),
        3 => return Err(Malformed),
        _ if length > LONGEST => return Err(Malformed),
        _ if rest.len() < length => return Ok(None),
        _ => (Frame::Data(at + 4..at + length), at + length),
    };
    Ok(Some(frame))
}

/// Appends a frame with `payload`, which must fit into one.
pub fn push(out: &mut Vec<u8>, payload: &[u8]) {
    debug_assert!(payload.len() + 4 <= LONGEST);
    out.extend_from_slice(format!("{:04x}", payload.len() + 4).as_bytes());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_one_after_another() {
        let mut bytes = Vec::new();
        push(&mut bytes, b"hello\n");
        push(&mut bytes, b"");
        bytes.extend_from_slice(b"000100020000");
        let mut at = 0;
        let mut frames = Vec::new();
        while let Some((frame, next)) = next(&bytes, at).unwrap() {
            frames.push(frame);
            at = next;
        }
        let data = |range| Frame::Data(range);
        assert_eq!(frames, [data(4..10), data(14..14), Frame::Delimiter, Frame::End, Frame::Flush]);
        assert_eq!(at, bytes.len());
    }

    #[test]
    fn half_a_frame_waits_and_nonsense_does_not() {
        for part in ["", "0", "000", "000ahell", "fff0"] {
            assert_eq!(next(part.as_bytes(), 0), Ok(None), "{part}");
        }
        for part in ["PACK", "0x1", "-001", "+00a", "0003", "fff1", "ffff", "g"] {
            assert_eq!(next(part.as_bytes(), 0), Err(Malformed), "{part}");
        }
    }
}
