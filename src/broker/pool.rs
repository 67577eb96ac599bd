//! Idle connections to the upstreams, kept for half a minute: shorter than the vendors keep theirs.
//!
//! Nothing is allocated and no task runs while there are none. A connection is only taken again when both bodies of its
//! last exchange went through to their end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::dial::{Reach, Upstreaming};
use crate::routes::Origin;

const KEEP: Duration = Duration::from_secs(30);
const MOST_PER_ORIGIN: usize = 128;

#[derive(Default)]
struct Shelves {
    by_origin: HashMap<Arc<Origin>, Vec<Upstreaming>>,
    sweeping: bool,
}

/// The pool; clones share it.
#[derive(Clone, Default)]
pub struct Pool(Arc<Mutex<Shelves>>);

impl Pool {
    /// The most recently used connection that still works and is within `reach`.
    pub fn take(&self, origin: &Arc<Origin>, reach: Reach) -> Option<Upstreaming> {
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shelf = shelves.by_origin.get_mut(origin)?;
        while let Some(connection) = shelf.pop() {
            let young = connection.idle_since.elapsed() < KEEP;
            if young && reach.allows(connection.peer.ip()) && connection.is_reusable() {
                return Some(connection);
            }
        }
        None
    }

    /// Puts a connection aside for the next request.
    pub fn put(&self, origin: Arc<Origin>, mut connection: Upstreaming) {
        if connection.sender.is_closed() {
            return;
        }
        connection.idle_since = Instant::now();
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shelf = shelves.by_origin.entry(origin).or_default();
        if shelf.len() < MOST_PER_ORIGIN {
            shelf.push(connection);
        }
        if !shelves.sweeping {
            shelves.sweeping = true;
            tokio::spawn(self.clone().sweep());
        }
    }

    /// Closes what has been idle for too long; ends when nothing is left.
    async fn sweep(self) {
        loop {
            tokio::time::sleep(KEEP / 3).await;
            let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            shelves.by_origin.retain(|_, shelf| {
                shelf.retain(|c| c.idle_since.elapsed() < KEEP && !c.sender.is_closed());
                !shelf.is_empty()
            });
            if shelves.by_origin.is_empty() {
                *shelves = Shelves::default();
                return;
            }
        }
    }
}
