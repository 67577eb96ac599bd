//! Limits git's work for one container: the number of requests at the same time, the memory for each, and the number of
//! requests that wait.
//!
//! Invariants: every git process is bounded to its share by the kernel, and a request has at most [`FAMILY`] of them that
//! are large at the same time; all shares that are given out stay within the sum for the gate, unless the upstream by
//! itself needs more; requests are served in the order in which they came.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::reply::Refusal;

const MIB: u64 = 1 << 20;
/// Git processes of one request that may grow at the same time: the one that we start, and the one that it starts.
const FAMILY: u64 = 2;
/// Shares into which the memory is divided.
const SHARES: u64 = 4;

/// The work of git for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A list, or one question about references: one process.
    Look,
    /// Putting a pack together.
    Fetch,
    /// Taking a pack.
    Push,
}

/// The places of a gate.
pub struct Places {
    at_work: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    total: u64,
    waiting: AtomicUsize,
    most_waiting: usize,
}

/// A request's place, until the last clone of it is dropped: the request's own, and those of its git processes.
#[derive(Debug, Clone)]
pub struct Place {
    /// Bytes of memory that each git process of the request may have.
    pub memory: u64,
    _held: Arc<[OwnedSemaphorePermit; 2]>,
}

impl Places {
    /// Places for `at_work` requests, with `memory` bytes for all their git processes together.
    pub fn new(at_work: usize, most_waiting: usize, memory: u64) -> Self {
        let total = (memory / MIB).max(SHARES);
        Self {
            at_work: Arc::new(Semaphore::new(at_work.max(1))),
            memory: Arc::new(Semaphore::new(usize::try_from(total).unwrap_or(Semaphore::MAX_PERMITS))),
            total: total * MIB,
            waiting: AtomicUsize::new(0),
            most_waiting,
        }
    }

    /// Waits for a place to do `work` in `repository`.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when too many wait already.
    pub async fn take(&self, work: Work, repository: &Path) -> Result<Place, Refusal> {
        let _waiting = Waiting::begin(&self.waiting, self.most_waiting)?;
        Ok(self.wait(work, repository).await)
    }

    /// As [`Places::take`], however many wait.
    pub async fn wait(&self, work: Work, repository: &Path) -> Place {
        let turn = self.at_work.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (memory, together) = self.share(work, repository);
        let permits = u32::try_from(together / MIB).unwrap_or(u32::MAX);
        let share = self.memory.clone().acquire_many_owned(permits).await.expect("the semaphore is never closed");
        Place { memory, _held: Arc::new([turn, share]) }
    }

    /// Memory for one process of a request, and for all of them.
    fn share(&self, work: Work, repository: &Path) -> (u64, u64) {
        let least = self.total / SHARES;
        match work {
            Work::Look => (least, least),
            Work::Push => (least, FAMILY * least),
            Work::Fetch => {
                // An upstream that is large itself is served all the same, with everything that there is.
                let most = (self.total / FAMILY).max(mirror::objects::memory_of_upstream(repository));
                let one = mirror::objects::memory(repository).clamp(least, most);
                (one, (FAMILY * one).min(self.total))
            }
        }
    }
}

/// Counts a request that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize, most: usize) -> Result<Self, Refusal> {
        let waiting = Self(count);
        if count.fetch_add(1, Ordering::SeqCst) >= most { Err(Refusal::Busy) } else { Ok(waiting) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(places: &Places, work: Work) -> Option<Result<Place, Refusal>> {
        let mut future = std::pin::pin!(places.take(work, Path::new("/nowhere")));
        match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(outcome) => Some(outcome),
            std::task::Poll::Pending => None,
        }
    }

    // holds: git-memory-is-bounded
    #[test]
    fn memory_that_is_given_out_stays_within_the_sum() {
        let places = Places::new(4, 9, 512 * MIB);
        let push = taken(&places, Work::Push).unwrap().unwrap();
        let fetch = taken(&places, Work::Fetch).unwrap().unwrap();
        assert_eq!((push.memory, fetch.memory), (128 * MIB, 128 * MIB));
        assert!(taken(&places, Work::Look).is_none(), "two requests with two processes each take everything");
        drop(push);
        let looks = [Work::Look; 2].map(|work| taken(&places, work).unwrap().unwrap());
        assert_eq!(looks[0].memory, 128 * MIB);
        assert!(taken(&places, Work::Look).is_none());
    }

    #[test]
    fn requests_that_wait_are_bounded_in_number() {
        let places = Places::new(1, 1, 512 * MIB);
        let _at_work = taken(&places, Work::Look).unwrap().unwrap();
        let waiting = std::pin::pin!(places.take(Work::Look, Path::new("/nowhere")));
        let mut waiting = waiting;
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert!(matches!(taken(&places, Work::Look), Some(Err(Refusal::Busy))));
    }
}
