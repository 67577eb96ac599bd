//! One leg of a WebSocket, frame by frame: messages are passed on in the pieces they come in, never assembled.
//!
//! Invariants:
//! - a leg holds at most [`BUFFER`] bytes that came and not much more that go, however long frames and messages are;
//! - what a leg sends is framed again: small frames stay whole, long ones become fragments;
//! - reading and flushing may be dropped at any moment and begun again; no byte is lost by that;
//! - pings are answered by the leg they came on; masks, reserved bits, opcodes and fragments are checked as the protocol
//!   says.

use std::io::{self, Cursor};

use bytes::{Buf, Bytes, BytesMut};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, FrameHeader};

/// Bytes that one leg reads ahead, and the largest piece of a message.
pub const BUFFER: usize = 16 * 1024;
/// Largest message.
const MAX_MESSAGE: u64 = 16 * 1024 * 1024;
/// Largest payload of a control frame.
const MAX_CONTROL: u64 = 125;

/// Which side of the handshake the peer of a leg has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// It masks what it sends.
    Client,
    /// It gets masked frames.
    Server,
}

/// What comes next on a leg.
#[derive(Debug)]
pub enum Part {
    /// A piece of a message.
    Data {
        /// Text or binary.
        kind: Data,
        /// True for the first piece of a message.
        first: bool,
        /// True for the last one.
        last: bool,
        /// The piece; may be empty.
        bytes: Bytes,
    },
    /// A ping, which wants to be answered with the same bytes.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// The peer ends the session.
    Close(Option<CloseFrame>),
}

/// Why a leg is over.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection ended or broke.
    #[error("the connection ended")]
    Ended(#[source] io::Error),
    /// The peer does not keep to the protocol.
    #[error("the peer breaks the protocol")]
    Protocol,
    /// A message is too large.
    #[error("a message is too large")]
    TooLarge,
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        Self::Ended(error)
    }
}

/// The frame that is being read.
struct Current {
    opcode: OpCode,
    last: bool,
    mask: Option<[u8; 4]>,
    left: u64,
    /// Position in the mask.
    at: usize,
    /// False once a piece of it was given.
    untouched: bool,
}

/// The reading side of a leg.
pub struct FrameReader<R> {
    from: R,
    peer: Peer,
    buffer: BytesMut,
    frame: Option<Current>,
    /// The message under way, and how much of it has come.
    message: Option<(Data, u64)>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads frames of `peer`.
    pub fn new(from: R, peer: Peer) -> Self {
        Self { from, peer, buffer: BytesMut::new(), frame: None, message: None }
    }

    /// The next part. May be dropped and called again.
    ///
    /// # Errors
    /// [`FrameError`]; the leg is over then.
    pub async fn next(&mut self) -> Result<Part, FrameError> {
        loop {
            if let Some(part) = self.parse()? {
                return Ok(part);
            }
            if self.buffer.capacity() < BUFFER {
                self.buffer.reserve(BUFFER - self.buffer.len());
            }
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// The next part of what has come; `None` when more must come first.
    fn parse(&mut self) -> Result<Option<Part>, FrameError> {
        let frame = match self.frame.take() {
            Some(frame) => frame,
            None => match self.head()? {
                Some(frame) => frame,
                None => return Ok(None),
            },
        };
        let whole = frame.left <= self.buffer.len() as u64;
        let is_control = matches!(frame.opcode, OpCode::Control(_));
        // A frame that fits stays whole; of a longer one each piece passes as it comes.
        let waits =
            !whole && (is_control || (frame.untouched && frame.left <= BUFFER as u64) || self.buffer.is_empty());
        if waits {
            self.frame = Some(frame);
            return Ok(None);
        }
        self.take(frame).map(Some)
    }

    fn head(&mut self) -> Result<Option<Current>, FrameError> {
        let mut cursor = Cursor::new(&self.buffer[..]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| FrameError::Protocol)?;
        let size = cursor.position() as usize;
        let Some((head, length)) = parsed else { return Ok(None) };
        self.check(&head, length)?;
        self.buffer.advance(size);
        let FrameHeader { opcode, is_final: last, mask, .. } = head;
        Ok(Some(Current { opcode, last, mask, left: length, at: 0, untouched: true }))
    }

    fn check(&mut self, head: &FrameHeader, length: u64) -> Result<(), FrameError> {
        let is_masked = head.mask.is_some() == (self.peer == Peer::Client);
        let fits = match (head.opcode, &self.message) {
            (OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)), _) => false,
            (OpCode::Control(_), _) => head.is_final && length <= MAX_CONTROL,
            (OpCode::Data(Data::Continue), under_way) => under_way.is_some(),
            (OpCode::Data(_), under_way) => under_way.is_none(),
        };
        if !is_masked || !fits || head.rsv1 || head.rsv2 || head.rsv3 {
            return Err(FrameError::Protocol);
        }
        if let OpCode::Data(kind) = head.opcode {
            let (kind, before) = self.message.unwrap_or((kind, 0));
            let size = before.checked_add(length).filter(|size| *size <= MAX_MESSAGE).ok_or(FrameError::TooLarge)?;
            self.message = Some((kind, size));
        }
        Ok(())
    }

    /// What has come of this frame.
    fn take(&mut self, mut frame: Current) -> Result<Part, FrameError> {
        let size = frame.left.min(self.buffer.len() as u64) as usize;
        let mut bytes = self.buffer.split_to(size);
        if let Some(mask) = frame.mask {
            apply_mask(&mut bytes, mask, frame.at);
        }
        let first = frame.untouched && frame.opcode != OpCode::Data(Data::Continue);
        (frame.left, frame.at, frame.untouched) = (frame.left - size as u64, frame.at + size, false);
        let bytes = bytes.freeze();
        let is_over = frame.left == 0;
        let part = match frame.opcode {
            OpCode::Control(Control::Ping) => Part::Ping(bytes),
            OpCode::Control(Control::Pong) => Part::Pong,
            OpCode::Control(_) => Part::Close(close_frame(&bytes)?),
            OpCode::Data(_) => {
                let last = is_over && frame.last;
                let (kind, _) = if last { self.message.take() } else { self.message }.ok_or(FrameError::Protocol)?;
                Part::Data { kind, first, last, bytes }
            }
        };
        if !is_over {
            self.frame = Some(frame);
        }
        Ok(part)
    }
}

fn apply_mask(bytes: &mut [u8], mask: [u8; 4], at: usize) {
    let keys: [u8; 8] = std::array::from_fn(|n| mask[(at + n) % 4]);
    let mut words = bytes.chunks_exact_mut(keys.len());
    for word in &mut words {
        let masked = u64::from_ne_bytes(keys) ^ u64::from_ne_bytes((&*word).try_into().expect("eight bytes"));
        word.copy_from_slice(&masked.to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(keys) {
        *byte ^= key;
    }
}

fn close_frame(bytes: &[u8]) -> Result<Option<CloseFrame>, FrameError> {
    let Some((code, reason)) = bytes.split_first_chunk::<2>() else {
        return if bytes.is_empty() { Ok(None) } else { Err(FrameError::Protocol) };
    };
    let reason = std::str::from_utf8(reason).map_err(|_| FrameError::Protocol)?;
    Ok(Some(CloseFrame { code: CloseCode::from(u16::from_be_bytes(*code)), reason: reason.into() }))
}

/// The writing side of a leg.
pub struct FrameWriter<W> {
    to: W,
    peer: Peer,
    out: BytesMut,
    /// True until everything is written and flushed; what lies below buffers as well.
    is_pending: bool,
    is_inside_message: bool,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Writes frames to `peer`.
    pub fn new(to: W, peer: Peer) -> Self {
        Self { to, peer, out: BytesMut::new(), is_pending: false, is_inside_message: false }
    }

    /// True when another piece may be put in.
    pub fn has_room(&self) -> bool {
        self.out.len() < BUFFER
    }

    /// True when there is something to be flushed.
    pub fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// Puts in a piece of a message.
    pub fn data(&mut self, kind: Data, bytes: &[u8], last: bool) {
        let opcode = if self.is_inside_message { Data::Continue } else { kind };
        self.is_inside_message = !last;
        self.put(OpCode::Data(opcode), bytes, last);
    }

    /// Puts in a ping.
    pub fn ping(&mut self) {
        self.put(OpCode::Control(Control::Ping), &[], true);
    }

    /// Puts in the answer to a ping. A peer that asks and does not read gets none.
    pub fn pong(&mut self, bytes: &[u8]) {
        if self.has_room() {
            self.put(OpCode::Control(Control::Pong), bytes, true);
        }
    }

    /// Puts in the last frame.
    pub fn close(&mut self, frame: &CloseFrame) {
        let code = u16::from(frame.code).to_be_bytes();
        self.put(OpCode::Control(Control::Close), &[&code, frame.reason.as_bytes()].concat(), true);
    }

    fn put(&mut self, opcode: OpCode, bytes: &[u8], is_final: bool) {
        let mask = (self.peer == Peer::Server).then(random_mask);
        let head = FrameHeader { opcode, is_final, mask, ..FrameHeader::default() };
        let mut text = Vec::with_capacity(16);
        head.format(bytes.len() as u64, &mut text).expect("a vector takes it");
        self.out.extend_from_slice(&text);
        self.is_pending = true;
        let start = self.out.len();
        self.out.extend_from_slice(bytes);
        if let Some(mask) = mask {
            apply_mask(&mut self.out[start..], mask, 0);
        }
    }

    /// Writes what was put in. May be dropped and called again.
    ///
    /// # Errors
    /// The connection's.
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            if self.to.write_buf(&mut self.out).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        self.to.flush().await?;
        self.is_pending = false;
        Ok(())
    }
}

fn random_mask() -> [u8; 4] {
    let mut mask = [0; 4];
    // Masks keep proxies from taking frames for requests; without random bytes the frames pass all the same.
    let _ = SystemRandom::new().fill(&mut mask);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a writer makes of pieces of a message.
    async fn written(peer: Peer, pieces: &[(&[u8], bool)]) -> Vec<u8> {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let mut writer = FrameWriter::new(ours, peer);
        for (bytes, last) in pieces {
            writer.data(Data::Text, bytes, *last);
        }
        writer.flush().await.unwrap();
        drop(writer);
        let mut out = Vec::new();
        theirs.read_to_end(&mut out).await.unwrap();
        out
    }

    /// What a reader makes of these bytes, given in pieces: the messages, and how it ends.
    async fn read(peer: Peer, bytes: &[u8], size: usize) -> (Vec<Vec<u8>>, FrameError) {
        let (mut ours, theirs) = tokio::io::duplex(1 << 20);
        let mut reader = FrameReader::new(theirs, peer);
        let (mut messages, mut largest) = (Vec::new(), 0);
        let mut pieces = bytes.chunks(size);
        loop {
            tokio::select! {
                biased;
                part = reader.next() => match part {
                    Ok(Part::Data { first, bytes, .. }) => {
                        if first {
                            messages.push(Vec::new());
                        }
                        largest = largest.max(bytes.len());
                        messages.last_mut().unwrap().extend_from_slice(&bytes);
                    }
                    Ok(_) => {}
                    Err(error) => {
                        assert!(largest <= BUFFER);
                        return (messages, error);
                    }
                },
                // Each piece interrupts the reading.
                () = std::future::ready(()) => match pieces.next() {
                    Some(piece) => ours.write_all(piece).await.unwrap(),
                    None => drop(std::mem::replace(&mut ours, tokio::io::duplex(1).0)),
                },
            }
        }
    }

    #[tokio::test]
    async fn messages_survive_every_cut_and_both_masks() {
        let long: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        for (peer, other) in [(Peer::Client, Peer::Server), (Peer::Server, Peer::Client)] {
            let bytes =
                written(other, &[(b"one", true), (b"", true), (&long, true), (b"a", false), (b"b", true)]).await;
            for size in [1, 5, 999, bytes.len()] {
                let (messages, end) = read(peer, &bytes, size).await;
                assert!(messages == [b"one".to_vec(), Vec::new(), long.clone(), b"ab".to_vec()], "{peer:?} {size}");
                assert!(matches!(end, FrameError::Ended(_)));
            }
        }
    }

    #[tokio::test]
    async fn malformed_frames_end_the_leg() {
        for (what, bytes) in [
            ("no mask", &[0x81, 1, b'a'][..]),
            ("reserved bit", &[0xc1, 0x80, 0, 0, 0, 0]),
            ("reserved opcode", &[0x83, 0x80, 0, 0, 0, 0]),
            ("continuation of nothing", &[0x80, 0x80, 0, 0, 0, 0]),
            ("message within a message", &[0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0]),
            ("fragmented ping", &[0x09, 0x80, 0, 0, 0, 0]),
            ("long ping", &[0x89, 0xfe, 0, 126, 0, 0, 0, 0]),
            ("close of one byte", &[0x88, 0x81, 0, 0, 0, 0, 3]),
        ] {
            assert!(matches!(read(Peer::Client, bytes, 1).await.1, FrameError::Protocol), "{what}");
        }
        for length in [(16_u64 << 20) + 1, u64::MAX] {
            let head = [&[0x82, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
            assert!(matches!(read(Peer::Client, &head, 1).await.1, FrameError::TooLarge | FrameError::Protocol));
        }
        let half = [&[0x02, 0xff][..], &(16_u64 << 20).to_be_bytes(), &[0; 4]].concat();
        assert!(matches!(read(Peer::Client, &half, 4).await.1, FrameError::Ended(_)));
    }
}
