//! The broker as a server sees it.

use server::{Attend, Ending, Stream};

use crate::Broker;

impl Attend for Broker {
    const NAME: &'static str = "broker";
    // Further ones wait in the kernel; each may hold a head of the largest size.
    const MOST_CONNECTIONS: usize = 256;

    async fn attend(self, stream: Stream, ending: Ending) {
        let answer = |request| {
            let proxy = self.0.clone();
            async move { proxy.handle(request).await }
        };
        // No limit on the pause before a head: an agent keeps its connection for as long as its session lasts.
        server::http::converse(stream, None, answer, ending).await;
    }

    async fn meanwhile(self) {
        let audit = self.0.audit.clone();
        tokio::join!(self.0.keep_fresh(), audit.write_counts());
    }

    fn settled(&self) -> impl Future<Output = ()> + Send {
        // WebSocket sessions outlive the HTTP connections that they began as.
        self.0.ending.send_replace(true);
        self.0.ending.closed()
    }

    async fn finished(&self) {
        self.0.refreshing.settled().await;
        self.0.audit.flush();
    }
}
