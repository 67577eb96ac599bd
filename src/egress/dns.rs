//! The DNS forwarder: answers every question of the container, over UDP and TCP.
//!
//! Only names that may be reached leave the host. An answer is told after the kernel has opened its addresses, never
//! before.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use domain::base::Message;
use domain::base::iana::{Rcode, Rtype};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::answer::{Answer, MAX_MESSAGE, Query, Unusable, Upstream, addresses, build, failure, is_private_reverse};
use crate::engine::{Engine, Standing};

/// Questions at the same time.
const MAX_IN_FLIGHT: usize = 64;
/// Questions per second, and how many above that at once.
const RATE: f64 = 200.0;
const BURST: f64 = 400.0;
/// Connections at the same time, and how long one may be silent.
const MAX_CONNECTIONS: usize = 16;
const IDLE: Duration = Duration::from_secs(10);
/// Questions on one connection at most.
const MAX_QUESTIONS: usize = 1000;

/// The forwarder of one container.
#[derive(Clone)]
pub struct Forwarder {
    engine: Rc<Engine>,
    in_flight: Rc<Cell<usize>>,
    bucket: Rc<Cell<(f64, Instant)>>,
}

impl Forwarder {
    /// A forwarder that asks this engine.
    pub fn new(engine: Rc<Engine>) -> Self {
        let bucket = Rc::new(Cell::new((BURST, Instant::now())));
        Self { engine, in_flight: Rc::default(), bucket }
    }

    /// Serves a UDP socket for good.
    pub async fn serve_udp(self, socket: UdpSocket) {
        let socket = Rc::new(socket);
        let mut buffer = vec![0; 4096];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            if !self.takes_one_more() {
                continue;
            }
            let query = Query::parse(&buffer[..length]);
            let (forwarder, socket) = (self.clone(), Rc::clone(&socket));
            tokio::task::spawn_local(async move { forwarder.reply_to(&socket, from, query).await });
        }
    }

    async fn reply_to(self, socket: &UdpSocket, from: SocketAddr, query: Result<Query, Unusable>) {
        let _guard = Guard::new(&self.in_flight);
        let limit = query.as_ref().map_or(512, |query| usize::from(query.datagram));
        if let Some(bytes) = self.reply(query, limit).await {
            let _ = socket.send_to(&bytes, from).await;
        }
    }

    /// Serves a TCP socket for good.
    pub async fn serve_tcp(self, listener: TcpListener) {
        let open: Rc<Cell<usize>> = Rc::default();
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            if open.get() >= MAX_CONNECTIONS {
                continue;
            }
            let (forwarder, open) = (self.clone(), Rc::clone(&open));
            tokio::task::spawn_local(async move {
                let _guard = Guard::new(&open);
                let _ = forwarder.converse(stream).await;
            });
        }
    }

    async fn converse(self, mut stream: TcpStream) -> std::io::Result<()> {
        for _ in 0..MAX_QUESTIONS {
            let length = timeout(IDLE, stream.read_u16()).await??;
            let mut question = vec![0; usize::from(length)];
            timeout(IDLE, stream.read_exact(&mut question)).await??;
            if !self.takes_one_more() {
                return Ok(());
            }
            let _guard = Guard::new(&self.in_flight);
            let Some(bytes) = self.reply(Query::parse(&question), MAX_MESSAGE).await else { return Ok(()) };
            let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
            timeout(IDLE, stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat())).await??;
        }
        Ok(())
    }

    fn takes_one_more(&self) -> bool {
        let (tokens, at) = self.bucket.get();
        let now = Instant::now();
        let tokens = (tokens + now.duration_since(at).as_secs_f64() * RATE).min(BURST);
        if tokens < 1.0 || self.in_flight.get() >= MAX_IN_FLIGHT {
            self.bucket.set((tokens, now));
            return false;
        }
        self.bucket.set((tokens - 1.0, now));
        true
    }

    async fn reply(&self, query: Result<Query, Unusable>, limit: usize) -> Option<Vec<u8>> {
        match query {
            Err(Unusable::Silent) => None,
            Err(Unusable::Code(id, code)) => Some(failure(id, None, code)),
            Ok(query) => Some(build(&query, &self.decide(&query).await, limit)),
        }
    }

    /// The answer to a question.
    pub async fn decide(&self, query: &Query) -> Answer {
        let Some(name) = query.name() else { return Answer::Missing };
        if is_private_reverse(&name) {
            return Answer::Missing;
        }
        let service_binding = matches!(query.kind, Rtype::HTTPS | Rtype::SVCB | Rtype::ANY);
        match self.engine.standing(&name) {
            Standing::Shut => Answer::Failed,
            Standing::Denied(by) => Answer::Denied(format!("denied by the entry {by}")),
            Standing::Undecided if query.kind == Rtype::A => Answer::Parked(self.engine.park(&name)),
            Standing::Undecided => Answer::Empty,
            Standing::Open if service_binding => Answer::Empty,
            Standing::Open => self.forward(query, &name).await,
        }
    }

    async fn forward(&self, query: &Query, name: &terok_shield_policy::Name) -> Answer {
        let Some(message) = self.engine.resolver.ask(name, query.kind).await else { return Answer::Failed };
        let Ok(parsed) = Message::from_octets(message.as_slice()) else { return Answer::Failed };
        let code = parsed.header().rcode();
        if !matches!(code, Rcode::NOERROR | Rcode::NXDOMAIN) {
            return Answer::Failed;
        }
        let Some(found) = addresses(&message) else { return Answer::Failed };
        // The answer may have come after a denial.
        if self.engine.standing(name) != Standing::Open {
            return Answer::Failed;
        }
        let hidden = match self.engine.learn(name, &found) {
            Ok(hidden) => hidden,
            Err(error) => {
                tracing::warn!("{error}");
                return Answer::Failed;
            }
        };
        if !found.is_empty() && found.iter().all(|address| hidden.contains(address)) {
            return Answer::Denied("it leads to private addresses only".to_owned());
        }
        Answer::Records(Upstream { code, message: message.to_vec(), hidden })
    }
}

/// Counts for as long as it lives.
pub(crate) struct Guard(Rc<Cell<usize>>);

impl Guard {
    pub(crate) fn new(counter: &Rc<Cell<usize>>) -> Self {
        counter.set(counter.get() + 1);
        Self(Rc::clone(counter))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
