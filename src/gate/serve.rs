//! The gate as a server sees it.

use server::{Attend, Ending, Stream};

use crate::Gate;
use crate::io::Steady;

impl Attend for Gate {
    const NAME: &'static str = "gate";
    // Each may hold a head of the largest size.
    const MOST_CONNECTIONS: usize = 64;
    // As callers know it: who comes later is refused, instead of finding nothing.
    const LEAVES_NAME: bool = true;

    async fn attend(self, stream: Stream, ending: Ending) {
        let idle = self.0.idle();
        let answer = |request| {
            let desk = self.0.clone();
            async move { desk.handle(request).await }
        };
        server::http::converse(Steady::new(stream, idle), Some(idle), answer, ending).await;
    }
}
