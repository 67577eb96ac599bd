//! A request's body on its way into git.
//!
//! Invariants: one piece is under way at a time; a body that stands still, breaks off or grows beyond its limit ends the
//! request; compressed bodies are unpacked here, bounded. When git stops reading, the rest is read and dropped, because
//! a client looks at the answer only after it has sent everything.

use std::io::Write;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzDecoder;
use http_body::Body;
use hyper::body::Incoming;
use tokio::io::AsyncWrite;
use tokio::process::ChildStdin;

/// Most bytes of a compressed body once it is unpacked: what a fetch wants and has, tens of bytes per reference.
pub const MOST_UNPACKED: u64 = 64 * 1024 * 1024;
/// A compressed body is unpacked in steps of this size.
const STEP: usize = 4 * 1024;

/// Why a body did not arrive as a whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client broke off.
    #[error("the client broke off")]
    Gone(#[source] hyper::Error),
    /// The client sent nothing for too long.
    #[error("the client sent nothing for too long")]
    Stalled,
    /// More than allowed.
    #[error("the request is larger than allowed")]
    TooLarge,
    /// The compressed body cannot be unpacked.
    #[error("the compressed request cannot be unpacked")]
    Compressed,
}

/// A body that is read piece by piece, with limits.
pub struct Source {
    body: Incoming,
    idle: Duration,
    left: u64,
}

impl Source {
    /// Reads `body`; `most` bytes at most, and no pause longer than `idle`.
    pub fn new(body: Incoming, idle: Duration, most: u64) -> Self {
        Self { body, idle, left: most }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`BodyError`].
    pub async fn piece(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            let frame = tokio::time::timeout(self.idle, frame).await.map_err(|_| BodyError::Stalled)?;
            let Some(frame) = frame else { return Ok(None) };
            let Ok(data) = frame.map_err(BodyError::Gone)?.into_data() else { continue };
            self.left = self.left.checked_sub(data.len() as u64).ok_or(BodyError::TooLarge)?;
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// Lets `most` more bytes through.
    pub fn extend(&mut self, most: u64) {
        self.left = most;
    }

    /// Reads and drops the rest, so that the client gets to see the answer.
    ///
    /// # Errors
    /// [`BodyError`].
    pub async fn drain(&mut self) -> Result<(), BodyError> {
        while self.piece().await?.is_some() {}
        Ok(())
    }
}

/// Feeds `first` and then everything of `source` to `stdin`, unpacking it when it is `packed`.
///
/// # Errors
/// [`BodyError`], with what is left of the source; a git that stops reading is none.
pub async fn pump(
    first: Bytes,
    mut source: Source,
    stdin: ChildStdin,
    packed: bool,
) -> Result<(), (BodyError, Source)> {
    let mut sink = Sink { stdin: Some(stdin) };
    let fed = if packed { unpack(&mut source, &mut sink).await } else { feed(first, &mut source, &mut sink).await };
    fed.map_err(|error| (error, source))
}

async fn feed(first: Bytes, source: &mut Source, sink: &mut Sink) -> Result<(), BodyError> {
    sink.write(&first).await;
    drop(first);
    while let Some(piece) = source.piece().await? {
        sink.write(&piece).await;
    }
    Ok(())
}

/// How long git is left alone with a full pipe. It reads little by little; filling every little at once would cost both
/// sides a change of context for it.
const MOMENT: Duration = Duration::from_millis(1);

/// Git's standard input, until git closes it.
struct Sink {
    stdin: Option<ChildStdin>,
}

impl Sink {
    async fn write(&mut self, mut bytes: &[u8]) {
        while let Some(stdin) = self.stdin.as_mut().filter(|_| !bytes.is_empty()) {
            let mut waited = false;
            let written = std::future::poll_fn(|cx| {
                let outcome = Pin::new(&mut *stdin).poll_write(cx, bytes);
                waited |= outcome.is_pending();
                outcome
            });
            match written.await {
                Ok(count) => bytes = &bytes[count..],
                Err(_) => self.stdin = None,
            }
            if waited {
                tokio::time::sleep(MOMENT).await;
            }
        }
    }
}

async fn unpack(source: &mut Source, sink: &mut Sink) -> Result<(), BodyError> {
    let mut decoder = GzDecoder::new(Vec::new());
    let mut left = MOST_UNPACKED;
    while let Some(piece) = source.piece().await? {
        for step in piece.chunks(STEP) {
            decoder.write_all(step).map_err(|_| BodyError::Compressed)?;
            let unpacked = std::mem::take(decoder.get_mut());
            left = left.checked_sub(unpacked.len() as u64).ok_or(BodyError::TooLarge)?;
            sink.write(&unpacked).await;
        }
    }
    let rest = decoder.finish().map_err(|_| BodyError::Compressed)?;
    sink.write(&rest).await;
    Ok(())
}
