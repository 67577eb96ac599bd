//! Decodes coded answers beside the stream, for accounting and for the search for the credential. The client gets the
//! coded bytes as they are.
//!
//! Understood are `gzip`, `deflate` (with and without its zlib frame), `br` and `zstd`, one at a time.
//!
//! Invariants:
//! - a decoder's memory is charged to the budget before it is allocated, and windows beyond [`MAX_WINDOW`] are refused;
//! - one step gives at most [`STEP`] bytes;
//! - what expands further than [`MAX_RATIO`] allows is refused.

use std::io::Write;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use server::{Budget, Charge};
use zstd::stream::raw::{DParameter, Decoder as Zstd, Operation};

/// Largest window of a coding, in bytes; what HTTP allows for zstd.
pub const MAX_WINDOW: usize = 8 * 1024 * 1024;
/// Decoded bytes for each coded one, beyond the first [`FREE`].
pub const MAX_RATIO: u64 = 256;
/// Decoded bytes that are not held against the ratio.
const FREE: u64 = 1024 * 1024;
/// Most bytes that one step gives.
const STEP: usize = 32 * 1024;
/// What decoders hold apart from their window.
const STATE: usize = 128 * 1024;
const DEFLATE_WINDOW: usize = 32 * 1024;

/// How an answer is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// `gzip`.
    Gzip,
    /// `deflate`.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
    /// In a way that is not understood.
    Unknown,
}

impl Coding {
    /// The coding that an answer's headers name.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut named = crate::header::listed(headers, &CONTENT_ENCODING).filter(|name| !is_none(name));
        let coding = match named.next().map(str::to_ascii_lowercase).as_deref() {
            None => Self::Identity,
            Some("gzip" | "x-gzip") => Self::Gzip,
            Some("deflate") => Self::Deflate,
            Some("br") => Self::Brotli,
            Some("zstd") => Self::Zstd,
            Some(_) => Self::Unknown,
        };
        // One coding over another is never sent to clients that asked for none.
        if named.next().is_some() { Self::Unknown } else { coding }
    }
}

/// Words that servers say for no coding.
fn is_none(name: &str) -> bool {
    ["identity", "none", "utf-8", "utf8"].iter().any(|word| name.eq_ignore_ascii_case(word))
}

/// Why an answer cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    /// The coding is not known, or the bytes are not in it.
    #[error("its coding cannot be read")]
    Unreadable,
    /// It needs more memory than there is.
    #[error("its coding needs too much memory")]
    Memory,
    /// It expands too far.
    #[error("it expands too far")]
    Expands,
}

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

enum State {
    /// The first bytes decide.
    Begin(Coding),
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Deflate(Box<DeflateDecoder<Vec<u8>>>),
    Brotli(Box<Brotli>),
    Zstd(Box<Zstd<'static>>),
    /// The coded stream is over; what follows is passed as it is.
    Over,
}

/// Decodes one stream.
pub struct Decoder {
    state: State,
    budget: Budget,
    charge: Option<Charge>,
    /// What came before the decoder could be chosen.
    start: Vec<u8>,
    buffer: Vec<u8>,
    coded: u64,
    decoded: u64,
}

impl Decoder {
    /// A decoder of `coding`; `None` when there is nothing to decode.
    ///
    /// # Errors
    /// [`CodingError::Unreadable`] for an unknown coding.
    pub fn of(coding: Coding, budget: &Budget) -> Result<Option<Self>, CodingError> {
        match coding {
            Coding::Identity => Ok(None),
            Coding::Unknown => Err(CodingError::Unreadable),
            known => Ok(Some(Self {
                state: State::Begin(known),
                budget: budget.clone(),
                charge: None,
                start: Vec::new(),
                buffer: Vec::new(),
                coded: 0,
                decoded: 0,
            })),
        }
    }

    /// Decodes a piece; `each` gets the decoded bytes in steps.
    ///
    /// # Errors
    /// [`CodingError`]; the decoder is of no use afterwards.
    pub fn feed(&mut self, piece: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), CodingError> {
        self.coded += piece.len() as u64;
        let joined;
        let mut input = piece;
        if !self.start.is_empty() {
            self.start.extend_from_slice(piece);
            joined = std::mem::take(&mut self.start);
            input = &joined;
        }
        loop {
            if let State::Begin(coding) = self.state {
                match self.begin(coding, input)? {
                    Some(state) => self.state = state,
                    None => {
                        self.start = input.to_vec();
                        return Ok(());
                    }
                }
            }
            let (read, out) = self.state.step(input, &mut self.buffer)?;
            self.decoded += out.len() as u64;
            if self.decoded > FREE + MAX_RATIO * self.coded {
                return Err(CodingError::Expands);
            }
            let given = out.len();
            if given > 0 {
                each(out);
            }
            input = &input[read..];
            if input.is_empty() && given < STEP {
                return Ok(());
            }
            if read == 0 && given == 0 {
                self.state = State::Over;
            }
        }
    }

    /// The decoder for a stream or frame that begins like this, once that shows enough.
    fn begin(&mut self, coding: Coding, start: &[u8]) -> Result<Option<State>, CodingError> {
        let window = match coding {
            Coding::Brotli => start.first().copied().map(brotli_window),
            Coding::Deflate => (start.len() > 1).then_some(DEFLATE_WINDOW),
            Coding::Zstd => zstd_window(start),
            _ => Some(DEFLATE_WINDOW),
        };
        let Some(window) = window else { return Ok(None) };
        if window > MAX_WINDOW {
            return Err(CodingError::Memory);
        }
        self.charge = None;
        self.charge = Some(self.budget.charge(window + STATE).ok_or(CodingError::Memory)?);
        Ok(Some(match coding {
            Coding::Gzip => State::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Coding::Deflate if is_zlib(start) => State::Zlib(Box::new(ZlibDecoder::new(Vec::new()))),
            Coding::Deflate => State::Deflate(Box::new(DeflateDecoder::new(Vec::new()))),
            Coding::Brotli => {
                let [a, b, c] = [(); 3].map(|()| StandardAlloc::default());
                State::Brotli(Box::new(Brotli::new_strict(a, b, c)))
            }
            Coding::Zstd => State::Zstd(Box::new(zstd_decoder()?)),
            Coding::Identity | Coding::Unknown => State::Over,
        }))
    }
}

impl State {
    /// Decodes from `input`; how much of it was read, and what came of it.
    fn step<'a>(&'a mut self, input: &'a [u8], buffer: &'a mut Vec<u8>) -> Result<(usize, &'a [u8]), CodingError> {
        match self {
            Self::Begin(_) => Ok((0, &[])),
            Self::Over => {
                let count = input.len().min(STEP);
                Ok((count, &input[..count]))
            }
            Self::Gzip(decoder) => push(&mut **decoder, input, buffer, MultiGzDecoder::get_mut),
            Self::Zlib(decoder) => push(&mut **decoder, input, buffer, ZlibDecoder::get_mut),
            Self::Deflate(decoder) => push(&mut **decoder, input, buffer, DeflateDecoder::get_mut),
            Self::Brotli(state) => brotli_step(state, input, buffer),
            Self::Zstd(decoder) => {
                buffer.resize(STEP, 0);
                let done = decoder.run_on_buffers(input, buffer).map_err(|_| CodingError::Unreadable)?;
                // Each frame names a window of its own.
                if done.remaining == 0 && done.bytes_read > 0 {
                    *self = Self::Begin(Coding::Zstd);
                }
                Ok((done.bytes_read, &buffer[..done.bytes_written]))
            }
        }
    }
}

/// One step of a decoder that writes into a vector.
fn push<'a, D: Write>(
    decoder: &mut D,
    input: &[u8],
    buffer: &'a mut Vec<u8>,
    sink: fn(&mut D) -> &mut Vec<u8>,
) -> Result<(usize, &'a [u8]), CodingError> {
    let read = decoder.write(input).map_err(|_| CodingError::Unreadable)?;
    if read == input.len() {
        decoder.flush().map_err(|_| CodingError::Unreadable)?;
    }
    // The two vectors change places from step to step.
    buffer.clear();
    std::mem::swap(buffer, sink(decoder));
    Ok((read, buffer))
}

fn brotli_step<'a>(
    state: &mut Brotli,
    input: &[u8],
    buffer: &'a mut Vec<u8>,
) -> Result<(usize, &'a [u8]), CodingError> {
    buffer.resize(STEP, 0);
    let (mut left, mut read, mut room, mut written, mut total) = (input.len(), 0, STEP, 0, 0);
    let result =
        BrotliDecompressStream(&mut left, &mut read, input, &mut room, &mut written, buffer, &mut total, state);
    match result {
        BrotliResult::ResultFailure => Err(CodingError::Unreadable),
        _ => Ok((read, &buffer[..written])),
    }
}

/// The window that a brotli stream's first byte names.
fn brotli_window(first: u8) -> usize {
    let bits = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        // A large window, which HTTP does not have.
        (_, 0, 1) => 63,
        (_, 0, low) => 8 + u32::from(low),
        (_, high, _) => 17 + u32::from(high),
    };
    1_usize << bits
}

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The window that a zstd frame's header names; `None` while the header is not whole.
fn zstd_window(start: &[u8]) -> Option<usize> {
    let (magic, rest) = start.split_first_chunk::<4>()?;
    if *magic != ZSTD_MAGIC {
        // A frame to be skipped has no window; anything else is refused by the library.
        return Some(0);
    }
    let (descriptor, rest) = rest.split_first()?;
    if descriptor & 0x20 == 0 {
        let window = *rest.first()?;
        let base = 1_usize.checked_shl(10 + u32::from(window >> 3))?;
        return Some(base + base / 8 * usize::from(window & 7));
    }
    // A frame of one segment: its window is its content, whose size follows the dictionary's number.
    let content = rest.get([0, 1, 2, 4][usize::from(descriptor & 3)]..)?;
    let size = match descriptor >> 6 {
        0 => u64::from(*content.first()?),
        1 => u64::from(u16::from_le_bytes(*content.first_chunk()?)) + 256,
        2 => u64::from(u32::from_le_bytes(*content.first_chunk()?)),
        _ => u64::from_le_bytes(*content.first_chunk()?),
    };
    Some(usize::try_from(size).unwrap_or(usize::MAX))
}

fn zstd_decoder() -> Result<Zstd<'static>, CodingError> {
    let mut decoder = Zstd::new().map_err(|_| CodingError::Memory)?;
    let limit = DParameter::WindowLogMax(MAX_WINDOW.ilog2());
    decoder.set_parameter(limit).map_err(|_| CodingError::Unreadable)?;
    Ok(decoder)
}

fn is_zlib(start: &[u8]) -> bool {
    let [first, second, ..] = *start else { return false };
    first & 0x0f == 8 && (u16::from(first) << 8 | u16::from(second)) % 31 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    /// The same text in every coding; brotli's in stored form.
    fn coded(text: &[u8]) -> Vec<(Coding, Vec<u8>)> {
        let level = Compression::default();
        let (mut gzip, mut zlib) = (GzEncoder::new(Vec::new(), level), ZlibEncoder::new(Vec::new(), level));
        let mut raw = DeflateEncoder::new(Vec::new(), level);
        let mut flushed = GzEncoder::new(Vec::new(), level);
        for piece in text.chunks(37) {
            gzip.write_all(piece).unwrap();
            zlib.write_all(piece).unwrap();
            raw.write_all(piece).unwrap();
            flushed.write_all(piece).unwrap();
            flushed.flush().unwrap();
        }
        let zstd = zstd::bulk::compress(text, 3).unwrap();
        let frames = [zstd.clone(), zstd::bulk::compress(b"", 3).unwrap()].concat();
        vec![
            (Coding::Gzip, gzip.finish().unwrap()),
            (Coding::Gzip, flushed.finish().unwrap()),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, raw.finish().unwrap()),
            (Coding::Zstd, zstd),
            (Coding::Zstd, frames),
            (Coding::Brotli, stored_brotli(text)),
        ]
    }

    /// A brotli stream of uncompressed blocks: window of 16 bits, each block with a length of 16 bits.
    fn stored_brotli(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        // The window's one bit goes before the first block's header, which shifts it.
        let mut shift = 1;
        let mut bits = 0_u32;
        for block in text.chunks(65_536) {
            let header = (block.len() as u32 - 1) << 3 | 1 << 19;
            bits |= header << shift;
            let size = (shift + 20_u32).div_ceil(8) as usize;
            out.extend_from_slice(&bits.to_le_bytes()[..size]);
            out.extend_from_slice(block);
            (shift, bits) = (0, 0);
        }
        // The last block is empty.
        out.push(3);
        out
    }

    fn decode(coding: Coding, bytes: &[u8], size: usize) -> Result<Vec<u8>, CodingError> {
        let mut decoder = Decoder::of(coding, &Budget::default())?.unwrap();
        let mut out = Vec::new();
        for piece in bytes.chunks(size) {
            decoder.feed(piece, |step| {
                assert!(step.len() <= 2 * STEP);
                out.extend_from_slice(step);
            })?;
        }
        Ok(out)
    }

    #[test]
    fn every_coding_is_decoded_at_every_cut() {
        let text: Vec<u8> = (0..3000).flat_map(|n: u32| format!("data: {{\"n\": {n}}}\n\n").into_bytes()).collect();
        for (coding, bytes) in coded(&text) {
            for size in [1, 2, 7, 1000, bytes.len()] {
                assert!(decode(coding, &bytes, size).unwrap() == text, "{coding:?} in pieces of {size}");
            }
            if coding != Coding::Brotli {
                let mut damaged = bytes.clone();
                let middle = bytes.len() / 2;
                damaged[middle..].iter_mut().for_each(|byte| *byte ^= 0x5a);
                assert!(decode(coding, &damaged, 100).map_or(true, |out| out != text), "{coding:?}");
            }
        }
    }

    /// `events.br.base64` was made by Node's zlib.
    #[test]
    fn compressed_brotli_is_decoded() {
        use base64::Engine;
        let text: String = (0..300).map(|n| format!("data: {{\"n\": {n}}}\n\n")).collect();
        let fixture = include_str!("../../tests/fixtures/broker/events.br.base64");
        let bytes = base64::engine::general_purpose::STANDARD.decode(fixture).unwrap();
        for size in [1, 10, bytes.len()] {
            assert!(decode(Coding::Brotli, &bytes, size).unwrap() == text.as_bytes());
        }
    }

    #[test]
    fn flushed_pieces_are_decoded_at_once() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mut decoder = Decoder::of(Coding::Gzip, &Budget::default()).unwrap().unwrap();
        for event in ["data: one\n\n", "data: two\n\n"] {
            gzip.write_all(event.as_bytes()).unwrap();
            gzip.flush().unwrap();
            let mut out = Vec::new();
            decoder.feed(&std::mem::take(gzip.get_mut()), |step| out.extend_from_slice(step)).unwrap();
            assert_eq!(out, event.as_bytes());
        }
    }

    // holds: budget-of-one-supervisor
    #[test]
    fn bombs_and_large_windows_are_refused() {
        let zeros = vec![0; 64 << 20];
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&zeros).unwrap();
        let bomb = gzip.finish().unwrap();
        assert_eq!(decode(Coding::Gzip, &bomb, 4096).unwrap_err(), CodingError::Expands);
        let bomb_of_zstd = zstd::bulk::compress(&zeros, 3).unwrap();
        assert_eq!(decode(Coding::Zstd, &bomb_of_zstd, 4096).unwrap_err(), CodingError::Expands);
        // Windows of 16 MiB: with one that is named, and with content of that size in one segment.
        for header in [&[0x00, 0x70][..], &[0xa0, 0, 0, 0, 1][..]] {
            let frame = [&ZSTD_MAGIC, header].concat();
            assert_eq!(decode(Coding::Zstd, &frame, 1).unwrap_err(), CodingError::Memory, "{header:?}");
        }
        for first in [0x0f, 0x11] {
            assert_eq!(decode(Coding::Brotli, &[first, 0, 0], 9).unwrap_err(), CodingError::Memory, "{first:#x}");
        }
        let budget = Budget::new(DEFLATE_WINDOW + STATE);
        let mut first = Decoder::of(Coding::Gzip, &budget).unwrap().unwrap();
        first.feed(&bomb[..10], |_| {}).unwrap();
        let mut second = Decoder::of(Coding::Gzip, &budget).unwrap().unwrap();
        assert_eq!(second.feed(&bomb[..10], |_| {}), Err(CodingError::Memory));
        drop(first);
        assert_eq!(budget.left(), DEFLATE_WINDOW + STATE);
    }

    #[test]
    fn codings_are_named_in_many_ways() {
        for (values, coding) in [
            (&[][..], Coding::Identity),
            (&["identity"][..], Coding::Identity),
            (&["utf-8"][..], Coding::Identity),
            (&["GZip"][..], Coding::Gzip),
            (&["x-gzip", "identity"][..], Coding::Gzip),
            (&["deflate"][..], Coding::Deflate),
            (&["br"][..], Coding::Brotli),
            (&["zstd"][..], Coding::Zstd),
            (&["compress"][..], Coding::Unknown),
            (&["gzip, br"][..], Coding::Unknown),
            (&["gzip", "gzip"][..], Coding::Unknown),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().unwrap());
            }
            assert_eq!(Coding::of(&headers), coding, "{values:?}");
        }
    }
}
