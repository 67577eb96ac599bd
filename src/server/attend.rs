//! What a service says about itself: how many it serves, what it says to them, and what else it does.

use std::time::Duration;

use tokio::sync::watch;

use crate::Stream;

/// What happens to one connection too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits in the kernel's queue until another one ends.
    Queue,
    /// It waits for this long, and is closed then. The moment is for a client that ends one connection and opens the
    /// next, which may be seen in the other order.
    TurnAway(Duration),
}

/// A service that attends to connections. Clones are handles of the same service.
pub trait Attend: Clone + Send + Sync + 'static {
    /// The service's name, for logs and its thread.
    const NAME: &'static str;
    /// Connections at the same time.
    const MOST_CONNECTIONS: usize;
    /// What happens to further ones.
    const WHEN_FULL: WhenFull = WhenFull::Queue;
    /// True when the name of its socket stays behind a [`crate::Running`] that has ended.
    const LEAVES_NAME: bool = false;

    /// Attends to one connection until it ends; when `ending` is told, after the request that is under way.
    fn attend(self, stream: Stream, ending: Ending) -> impl Future<Output = ()> + Send;

    /// What is done beside the connections. It is dropped when the service is told to stop.
    fn meanwhile(self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Called when the end begins: says so to whatever outlives its connection. What it returns completes when nothing
    /// of that is left, and is awaited after the connections.
    fn settled(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Completes when nothing is under way that must not be cut off; awaited last, and for [`crate::LAST`] at most.
    fn finished(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// The news that the service is to end.
#[derive(Debug, Clone)]
pub struct Ending(watch::Receiver<bool>);

impl Ending {
    /// The news, and whoever spreads it.
    pub(crate) fn news() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Completes when the service is to end.
    pub async fn told(mut self) {
        // A lost sender means the same.
        let _ = self.0.wait_for(|ending| *ending).await;
    }
}
