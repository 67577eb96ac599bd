//! The body of a reply: a short text of ours, or what git writes, passed on as it comes.
//!
//! Invariants: one piece is under way at a time, so a slow client slows git down instead of filling our memory; a git
//! that fails in the middle cuts the client's connection, so that half an answer never looks whole; a client that leaves
//! ends git.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::process::ChildStdout;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};

use crate::places::Place;
use crate::process::{Ended, Leash};
use crate::reply::Refusal;

/// Most bytes of one piece.
const PIECE: usize = 64 * 1024;
/// After this much, git is left alone for a moment whenever its pipe is empty. Git writes little by little; taking every
/// little at once would cost everybody a change of context for it.
const BULK: usize = 256 * 1024;
const MOMENT: Duration = Duration::from_millis(1);

/// The label of a push.
pub const RECEIVES: &str = "receive-pack";

/// What follows a reply that was complete.
pub type Sequel = Box<dyn FnOnce() + Send>;

/// Git's output and everything that ends with it.
pub struct Stream {
    /// The pipe.
    stdout: Option<ChildStdout>,
    /// Completes with the process.
    end: JoinHandle<Ended>,
    /// Ends the process when the client has gone.
    leash: Option<Leash>,
    /// The request's place among those at work.
    _place: Place,
    /// Which request this is, for the log.
    pub label: &'static str,
    /// What to do when git has succeeded.
    pub sequel: Option<Sequel>,
    /// The repository, when what git wrote there is to be on the disk before the reply ends.
    pub seal: Option<PathBuf>,
    sealing: Option<JoinHandle<()>>,
    ended: Option<Ended>,
    buffer: BytesMut,
    taken: usize,
    pause: Option<Pin<Box<Sleep>>>,
    read_all: bool,
}

impl Stream {
    /// Nothing read yet.
    pub fn new(
        stdout: ChildStdout,
        (end, leash): (JoinHandle<Ended>, Leash),
        place: Place,
        label: &'static str,
    ) -> Self {
        let buffer = BytesMut::new();
        Self {
            stdout: Some(stdout),
            end,
            leash: Some(leash),
            _place: place,
            label,
            sequel: None,
            seal: None,
            sealing: None,
            ended: None,
            buffer,
            taken: 0,
            pause: None,
            read_all: false,
        }
    }

    /// The first piece, or none when git ends without a word.
    ///
    /// # Errors
    /// When the pipe cannot be read.
    pub async fn first(&mut self) -> io::Result<Option<Bytes>> {
        self.buffer.reserve(PIECE);
        let Some(stdout) = &mut self.stdout else { return Ok(None) };
        let count = stdout.read_buf(&mut self.buffer).await?;
        Ok((count > 0).then(|| self.buffer.split().freeze()))
    }

    /// Waits for a git that has nothing to say.
    ///
    /// # Errors
    /// [`Refusal::GitFailed`]; the cause is in the log.
    pub async fn finish(mut self) -> Result<(), Refusal> {
        let ended = (&mut self.end).await.unwrap_or_default();
        if let Some(sealing) = self.begin_to_seal(&ended) {
            let _ = sealing.await;
        }
        self.settle(&ended).map_err(|_| Refusal::GitFailed)
    }

    fn begin_to_seal(&mut self, ended: &Ended) -> Option<JoinHandle<()>> {
        let repository = self.seal.take().filter(|_| ended.well())?;
        Some(tokio::task::spawn_blocking(move || {
            let synced = std::fs::File::open(repository).and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
            if let Err(error) = synced {
                tracing::warn!(%error, "cannot write the references of a push through to the disk");
            }
        }))
    }

    fn settle(&mut self, ended: &Ended) -> Result<(), Cut> {
        let well = ended.well();
        if !well || !ended.complaint.is_empty() {
            tracing::warn!(request = self.label, well, complaint = %ended.complaint, "git has ended");
        }
        if !well {
            return Err(Cut::Git);
        }
        if let Some(sequel) = self.sequel.take() {
            sequel();
        }
        Ok(())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        if !self.read_all {
            match ready!(self.poll_piece(cx)) {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
                Ok(None) => self.read_all = true,
                Err(error) => return Poll::Ready(Some(Err(Cut::Pipe(error)))),
            }
        }
        let ended = match self.ended.take() {
            Some(ended) => ended,
            None => {
                let ended = ready!(Pin::new(&mut self.end).poll(cx)).unwrap_or_default();
                self.sealing = self.begin_to_seal(&ended);
                ended
            }
        };
        if let Some(sealing) = &mut self.sealing {
            if Pin::new(sealing).poll(cx).is_pending() {
                self.ended = Some(ended);
                return Poll::Pending;
            }
            self.sealing = None;
        }
        Poll::Ready(self.settle(&ended).err().map(Err))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if let Some(pause) = self.pause.as_mut().filter(|_| self.taken > BULK) {
            ready!(pause.as_mut().poll(cx));
        }
        // The last piece has been sent and dropped by now, so this takes its memory again.
        self.buffer.reserve(PIECE);
        let mut space = ReadBuf::uninit(&mut self.buffer.spare_capacity_mut()[..PIECE]);
        let Some(stdout) = &mut self.stdout else { return Poll::Ready(Ok(None)) };
        ready!(Pin::new(stdout).poll_read(cx, &mut space))?;
        let count = space.filled().len();
        // SAFETY: the pipe has just filled and thereby initialised this many bytes.
        unsafe { self.buffer.set_len(self.buffer.len() + count) };
        self.taken += count;
        if self.taken > BULK && count < PIECE {
            self.rest();
        }
        Poll::Ready(Ok((count > 0).then(|| self.buffer.split().freeze())))
    }

    fn rest(&mut self) {
        let until = Instant::now() + MOMENT;
        match &mut self.pause {
            Some(pause) => pause.as_mut().reset(until),
            None => self.pause = Some(Box::pin(tokio::time::sleep_until(until))),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Only a git that receives has something to put in order.
        if let (RECEIVES, Some(leash), Some(stdout)) = (self.label, self.leash.take(), self.stdout.take()) {
            leash.release(stdout);
        }
    }
}

/// Why a reply ended early.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// Git failed after it had begun to answer.
    #[error("git failed in the middle of its answer")]
    Git,
    /// Its output cannot be read.
    #[error("git's output cannot be read")]
    Pipe(#[source] io::Error),
}

/// The body of every reply.
pub enum Reply {
    /// A text of ours.
    Whole(Option<Bytes>),
    /// Pieces that were read already, then the rest of git's output.
    Stream(Option<Bytes>, Box<Stream>),
}

impl Reply {
    /// A reply of these bytes.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Stream(first, stream) => match first.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Poll::Ready(ready!(stream.poll(cx)).map(|piece| piece.map(Frame::data))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Stream(..) => SizeHint::default(),
        }
    }
}
