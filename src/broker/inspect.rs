//! Looks at an answer's body on its way down: what it consumed, and whether the real credential is in it.
//!
//! Invariants:
//! - no byte is changed; what passes is what came, in order;
//! - bytes that may be the beginning of the credential are held back until it is known that they are not;
//! - of a coded answer the decoded text is looked at as well, and its coded bytes pass only after that;
//! - memory is bounded: less than one form of the credential, or [`MAX_HELD`] coded bytes, beside the decoder's.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use server::Budget;

use crate::coding::{Coding, CodingError, Decoder};
use crate::needle::{Needles, Scanner, Sight};
use crate::usage::{Found, Usage};

/// Coded bytes that are held while their text may be the beginning of the credential.
const MAX_HELD: usize = 64 * 1024;

/// Why an answer must not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The real credential is in it.
    #[error("it holds the real credential")]
    Credential,
    /// Whether it is in it cannot be told.
    #[error("it cannot be searched for the real credential: {0}")]
    Unsearchable(#[from] CodingError),
}

/// What becomes of a piece.
#[derive(Debug, PartialEq, Eq)]
pub struct Passage {
    /// What passes now; may be empty.
    pub bytes: Bytes,
    /// Set when nothing passes afterwards.
    pub stopped: Option<Stopped>,
}

/// Looks at one body.
#[derive(Default)]
pub struct Inspection {
    needles: Option<Arc<Needles>>,
    raw: Scanner,
    text: Scanner,
    /// Bytes at the end of the text that may be the beginning of the credential.
    begun: usize,
    decoder: Option<Decoder>,
    usage: Option<Box<Usage>>,
    held: BytesMut,
}

impl Inspection {
    /// For an answer with these headers, whose credential has these forms.
    ///
    /// # Errors
    /// [`Stopped::Credential`] when it is in a header, [`Stopped::Unsearchable`] when the body's coding is unknown.
    pub fn new(
        headers: &HeaderMap,
        has_body: bool,
        needles: Option<Arc<Needles>>,
        usage: Option<Usage>,
        budget: &Budget,
    ) -> Result<Self, Stopped> {
        let coding = if has_body { Coding::of(headers) } else { Coding::Identity };
        let decoder = match (&needles, &usage) {
            (None, None) => None,
            (Some(needles), _) => {
                check_headers(headers, needles)?;
                Decoder::of(coding, budget)?
            }
            // Nothing depends on the accounting.
            (None, Some(_)) => match Decoder::of(coding, budget) {
                Ok(decoder) => decoder,
                Err(_) => return Ok(Self::default()),
            },
        };
        Ok(Self { needles, decoder, usage: usage.map(Box::new), ..Self::default() })
    }

    /// Looks at the next piece.
    pub fn pass(&mut self, piece: Bytes) -> Passage {
        if self.decoder.is_some() { self.pass_coded(piece) } else { self.pass_plain(piece) }
    }

    fn pass_plain(&mut self, piece: Bytes) -> Passage {
        if let Some(usage) = &mut self.usage {
            usage.feed(&piece);
        }
        let Some(needles) = &self.needles else { return Passage { bytes: piece, stopped: None } };
        match self.raw.look(needles, &piece) {
            Sight::Clear { hold } => Passage { bytes: self.release(piece, hold), stopped: None },
            Sight::Found { at } => {
                let before = self.held.len() as isize;
                self.held.extend_from_slice(&piece);
                self.held.truncate((before + at).max(0) as usize);
                Passage { bytes: self.held.split().freeze(), stopped: Some(Stopped::Credential) }
            }
        }
    }

    /// Coded bytes cannot be cut where the credential begins, so a piece passes whole or not at all.
    fn pass_coded(&mut self, piece: Bytes) -> Passage {
        let stop = |stopped| Passage { bytes: Bytes::new(), stopped: Some(stopped) };
        match self.look_inside(&piece) {
            Ok(0) => Passage { bytes: self.release(piece, 0), stopped: None },
            Ok(_) if self.held.len() + piece.len() > MAX_HELD => stop(Stopped::Unsearchable(CodingError::Memory)),
            Ok(_) => {
                self.held.extend_from_slice(&piece);
                Passage { bytes: Bytes::new(), stopped: None }
            }
            Err(stopped) => stop(stopped),
        }
    }

    /// How many bytes at the end of the text, or of the coded bytes, may be the beginning of the credential.
    fn look_inside(&mut self, piece: &[u8]) -> Result<usize, Stopped> {
        let Some(decoder) = &mut self.decoder else { return Ok(0) };
        let (usage, text, needles) = (&mut self.usage, &mut self.text, self.needles.as_deref());
        let mut sight = Sight::Clear { hold: self.begun };
        let decoded = decoder.feed(piece, |step| {
            if let Some(usage) = usage {
                usage.feed(step);
            }
            if let (Some(needles), Sight::Clear { .. }) = (needles, sight) {
                sight = text.look(needles, step);
            }
        });
        let Some(needles) = needles else {
            // For the accounting alone; an answer that cannot be decoded is not accounted for.
            if decoded.is_err() {
                (self.decoder, self.usage) = (None, None);
            }
            return Ok(0);
        };
        decoded?;
        match (sight, self.raw.look(needles, piece)) {
            (Sight::Clear { hold: inside }, Sight::Clear { hold }) => {
                self.begun = inside;
                Ok(inside.max(hold))
            }
            _ => Err(Stopped::Credential),
        }
    }

    /// What is held and the piece, but for the last `hold` bytes, which are held now.
    fn release(&mut self, piece: Bytes, hold: usize) -> Bytes {
        if self.held.is_empty() && hold == 0 {
            return piece;
        }
        if self.held.is_empty() && hold < piece.len() {
            let (pass, rest) = piece.split_at(piece.len() - hold);
            self.held.extend_from_slice(rest);
            return piece.slice(..pass.len());
        }
        self.held.extend_from_slice(&piece);
        let pass = self.held.len().saturating_sub(hold);
        self.held.split_to(pass).freeze()
    }

    /// What is held, once nothing more can come.
    pub fn finish(&mut self) -> Option<Bytes> {
        (!self.held.is_empty()).then(|| self.held.split().freeze())
    }

    /// How many bytes are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Looks at the headers that follow a body.
    ///
    /// # Errors
    /// [`Stopped::Credential`].
    pub fn check_trailers(&self, trailers: &HeaderMap) -> Result<(), Stopped> {
        self.needles.as_ref().map_or(Ok(()), |needles| check_headers(trailers, needles))
    }

    /// What the answer said about its consumption so far.
    pub fn found(&mut self) -> Option<Found> {
        self.usage.as_mut().map(|usage| usage.found())
    }
}

/// Looks through all values at once.
fn check_headers(headers: &HeaderMap, needles: &Needles) -> Result<(), Stopped> {
    let size = headers.values().map(|value| value.len() + 1).sum();
    let mut text = Vec::with_capacity(size);
    for value in headers.values() {
        text.extend_from_slice(value.as_bytes());
        // No form of a credential has a line's end in it.
        text.push(b'\n');
    }
    needles.find(&text).map_or(Ok(()), |_| Err(Stopped::Credential))
}
