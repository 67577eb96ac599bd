//! The signer as a server sees it.

use std::time::Duration;

use server::{Attend, Ending, Stream, WhenFull};

use crate::Agent;
use crate::session;

/// Connections served at the same time.
pub const MOST_CONNECTIONS: usize = 64;

impl Attend for Agent {
    const NAME: &'static str = "signer";
    const MOST_CONNECTIONS: usize = MOST_CONNECTIONS;
    // An SSH client waits for its agent without end; a closed connection lets it go on to other keys.
    const WHEN_FULL: WhenFull = WhenFull::TurnAway(Duration::from_secs(1));

    async fn attend(self, stream: Stream, ending: Ending) {
        let who = stream.peer();
        session::converse(&self.0, stream, &who, ending.told()).await;
    }
}
