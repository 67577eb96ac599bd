//! The request body on its way up: streamed, never gathered. A small body of a request that may be repeated is
//! remembered while it passes, so that the one allowed repetition can send it again.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use server::{Budget, Charge};

/// A body beyond this is not remembered.
const REMEMBERED: usize = 1024 * 1024;
/// The least that is set aside for a body.
const STEP: usize = 16 * 1024;
/// Largest piece of a body that is sent again.
const PIECE: usize = 64 * 1024;

/// How an exchange gets on, seen from outside the body.
pub struct Progress {
    started: Instant,
    last_ms: AtomicU64,
    sent_all: AtomicBool,
}

impl Progress {
    /// Starts now.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), last_ms: AtomicU64::new(0), sent_all: AtomicBool::new(false) })
    }

    fn touch(&self) {
        let ms = self.started.elapsed().as_millis() as u64;
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    /// Time since the last piece of the body went up.
    pub fn idle(&self) -> Duration {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }

    /// True when the body has gone up whole.
    pub fn sent_all(&self) -> bool {
        self.sent_all.load(Ordering::Relaxed)
    }
}

/// What a body that can be sent again is made of. What has passed is copied, because a piece of the connection's buffer
/// would keep all of that buffer.
struct Memory {
    rest: Incoming,
    seen: Vec<u8>,
    /// What `seen` may hold; `None` once the body cannot be sent again.
    charge: Option<Charge>,
}

impl Memory {
    fn new(rest: Incoming, budget: &Budget) -> Self {
        Self { rest, seen: Vec::new(), charge: budget.charge(0) }
    }

    /// Remembers a piece, or forgets everything when there is too much.
    fn remember(&mut self, piece: &[u8]) {
        let Some(charge) = &mut self.charge else { return };
        let size = self.seen.len() + piece.len();
        let fits = size <= REMEMBERED && {
            let capacity = size.next_power_of_two().max(STEP);
            let more = capacity.saturating_sub(self.seen.capacity());
            more == 0 || (charge.grow(more) && self.seen.try_reserve_exact(capacity - self.seen.len()).is_ok())
        };
        if fits {
            self.seen.extend_from_slice(piece);
        } else {
            (self.charge, self.seen) = (None, Vec::new());
        }
    }

    fn poll_at(&mut self, at: usize, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(again) = self.seen.get(at..).filter(|again| !again.is_empty()) {
            let piece = Bytes::copy_from_slice(&again[..again.len().min(PIECE)]);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let frame = ready!(Pin::new(&mut self.rest).poll_frame(cx));
        if let Some(bytes) = data_of(frame.as_ref()) {
            self.remember(bytes);
        }
        Poll::Ready(frame)
    }
}

/// A handle that can make the same upload once more.
#[derive(Clone)]
pub struct Replay {
    memory: Option<Arc<Mutex<Memory>>>,
    progress: Arc<Progress>,
}

impl Replay {
    /// The upload from its beginning, unless too much of it is gone.
    pub fn upload(&self) -> Option<Upload> {
        let Some(memory) = &self.memory else {
            return Some(Upload::empty(self.progress.clone()));
        };
        let lost = memory.lock().unwrap_or_else(PoisonError::into_inner).charge.is_none();
        self.progress.sent_all.store(false, Ordering::Relaxed);
        (!lost).then(|| Upload { source: Source::Remembered(memory.clone(), 0), progress: self.progress.clone() })
    }
}

enum Source {
    Empty,
    Ours(Option<Bytes>),
    Client(Incoming),
    Remembered(Arc<Mutex<Memory>>, usize),
}

/// The request body as the upstream connection sees it.
pub struct Upload {
    source: Source,
    progress: Arc<Progress>,
}

impl Upload {
    /// No body.
    pub fn empty(progress: Arc<Progress>) -> Self {
        progress.sent_all.store(true, Ordering::Relaxed);
        Self { source: Source::Empty, progress }
    }

    /// A text of our own.
    pub fn ours(text: Bytes, progress: Arc<Progress>) -> Self {
        Self { source: Source::Ours(Some(text)), progress }
    }

    /// A body that is sent at most once.
    pub fn once(body: Incoming, progress: Arc<Progress>) -> Self {
        if body.is_end_stream() {
            return Self::empty(progress);
        }
        Self { source: Source::Client(body), progress }
    }

    /// A body that can be sent again through the handle that comes with it.
    pub fn repeatable(body: Incoming, progress: Arc<Progress>, budget: &Budget) -> (Self, Replay) {
        let memory = (!body.is_end_stream()).then(|| Arc::new(Mutex::new(Memory::new(body, budget))));
        let replay = Replay { memory, progress };
        let source = replay.memory.clone().map_or(Source::Empty, |memory| Source::Remembered(memory, 0));
        replay.progress.sent_all.store(replay.memory.is_none(), Ordering::Relaxed);
        (Self { source, progress: replay.progress.clone() }, replay)
    }
}

fn data_of(frame: Option<&Result<Frame<Bytes>, hyper::Error>>) -> Option<&Bytes> {
    frame?.as_ref().ok()?.data_ref()
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = match &mut self.source {
            Source::Empty => None,
            Source::Ours(text) => text.take().map(|text| Ok(Frame::data(text))),
            Source::Client(body) => ready!(Pin::new(body).poll_frame(cx)),
            Source::Remembered(memory, at) => {
                let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                let frame = ready!(memory.poll_at(*at, cx));
                *at += data_of(frame.as_ref()).map_or(0, Bytes::len);
                frame
            }
        };
        self.progress.touch();
        if frame.is_none() || self.is_end_stream() {
            self.progress.sent_all.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Ours(text) => text.is_none(),
            Source::Client(body) => body.is_end_stream(),
            Source::Remembered(memory, at) => {
                let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                *at >= memory.seen.len() && memory.rest.is_end_stream()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Ours(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Source::Client(body) => body.size_hint(),
            Source::Remembered(memory, at) => {
                let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                let rest = memory.rest.size_hint();
                let again = memory.seen.len().saturating_sub(*at);
                match rest.exact() {
                    Some(exact) => SizeHint::with_exact(exact + again as u64),
                    None => SizeHint::new(),
                }
            }
        }
    }
}
