//! Serving: accepting a bounded number of connections, and ending in good order.

use std::convert::Infallible;
use std::time::Duration;

use base::socket::Listener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::door::Door;
use crate::{Attend, Ending, ServerError, Stream, WhenFull};

/// Time that requests under way get when a service is told to stop.
pub const GRACE: Duration = Duration::from_secs(1);
/// Further time for what a service must not lose.
pub const LAST: Duration = Duration::from_secs(5);

/// Serves until `stop` resolves, then lets what is under way finish for a moment. The name of a Unix socket stays;
/// whoever bound it removes it.
///
/// Must run inside a tokio runtime with I/O and time enabled.
///
/// # Errors
/// [`ServerError::Serve`] when the runtime cannot take the socket.
pub async fn serve<A: Attend>(
    service: A,
    listener: Listener,
    stop: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    let door = Door::open(listener).map_err(ServerError::Serve)?;
    let (end, ending) = Ending::news();
    let mut connections = JoinSet::new();
    let working =
        async { tokio::join!(service.clone().meanwhile(), admit(&service, door, &mut connections, &ending)).1 };
    tokio::select! {
        biased;
        () = stop => {}
        never = working => match never {},
    }
    let _ = end.send(true);
    let settled = service.settled();
    let all = async {
        while connections.join_next().await.is_some() {}
        settled.await;
    };
    // Dropping the set afterwards ends what is left.
    let _ = timeout(GRACE, all).await;
    let _ = timeout(LAST, service.finished()).await;
    Ok(())
}

/// Lets connections in for as long as it is polled.
async fn admit<A: Attend>(service: &A, door: Door, connections: &mut JoinSet<()>, ending: &Ending) -> Infallible {
    loop {
        let is_open = connections.len() < A::MOST_CONNECTIONS || A::WHEN_FULL != WhenFull::Queue;
        let stream = tokio::select! {
            biased;
            Some(_) = connections.join_next() => continue,
            stream = door.next(), if is_open => stream,
        };
        if has_place::<A>(connections, &stream).await {
            connections.spawn(service.clone().attend(stream, ending.clone()));
        }
    }
}

async fn has_place<A: Attend>(connections: &mut JoinSet<()>, stream: &Stream) -> bool {
    let WhenFull::TurnAway(patience) = A::WHEN_FULL else { return true };
    let most = A::MOST_CONNECTIONS;
    let is_free = connections.len() < most || timeout(patience, connections.join_next()).await.is_ok();
    if !is_free {
        tracing::warn!("a connection ({}) is closed: {most} are open already", stream.peer());
    }
    is_free
}
