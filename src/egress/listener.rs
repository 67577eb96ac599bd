//! The listener behind the redirect: reads the name that a connection asks for, and lets it go on only if that name
//! may be reached.
//!
//! Invariants: nothing is connected before the name is decided; the connection goes to an address of that name, from
//! the host's network; private space and this host are out of reach; no byte of the container is kept.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rustix::net::{RecvFlags, sockopt};
use terok_nft::original_destination;
use terok_shield_policy::{Name, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::connect::{connect, connect_to_address};
use crate::dns::Guard;
use crate::engine::{Engine, Standing};
use crate::peek::{First, MAX_HELLO, look};
use crate::plain;
use crate::relay::{SharedBuffer, Way, pump};

/// Connections of a container at the same time.
pub const MAX_CONNECTIONS: usize = 512;
/// How long the first bytes may take where the client speaks first, and in all.
const FIRST_BYTES: Duration = Duration::from_secs(10);
/// After this long without a byte, a server may be the one that speaks first.
const SILENCE: Duration = Duration::from_millis(300);
/// TLS alert 49, "access denied".
const ACCESS_DENIED: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 49];
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// One listener's service.
#[derive(Clone)]
pub struct Gatekeeper {
    engine: Rc<Engine>,
    open: Rc<Cell<usize>>,
    buffer: SharedBuffer,
}

/// Why a connection does not go on.
#[derive(Debug)]
pub enum Refusal {
    /// It is told in TLS.
    Tls,
    /// It is reset.
    Reset,
}

impl Gatekeeper {
    /// A gatekeeper that asks this engine.
    pub fn new(engine: Rc<Engine>) -> Self {
        Self { engine, open: Rc::default(), buffer: SharedBuffer::default() }
    }

    /// Serves a listener for good.
    pub async fn serve(self, listener: TcpListener) {
        let v6 = listener.local_addr().is_ok_and(|address| address.is_ipv6());
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            if self.open.get() >= MAX_CONNECTIONS {
                tracing::warn!("a connection of the container is closed: {MAX_CONNECTIONS} are open already");
                reset(&stream);
                continue;
            }
            let gatekeeper = self.clone();
            tokio::task::spawn_local(async move {
                let _guard = Guard::new(&gatekeeper.open);
                gatekeeper.attend(stream, v6).await;
            });
        }
    }

    async fn attend(&self, stream: TcpStream, v6: bool) {
        let _ = stream.set_nodelay(true);
        let _ = sockopt::set_socket_keepalive(&stream, true);
        // Whoever connects to the port itself has no other destination.
        let Some(to) = original_destination(&stream, v6).filter(|to| !to.ip().is_loopback()) else {
            return reset(&stream);
        };
        let candidates = self.engine.candidates(to.ip());
        match self.first_bytes(&stream, to.port()).await {
            Ok(First::Http) => plain::serve(Rc::clone(&self.engine), stream, to, candidates).await,
            Ok(First::More) => self.let_server_speak(stream, to, &candidates).await,
            Ok(first) => match self.decide(&first, &candidates, to.port()) {
                Ok(name) => self.relay(stream, to, name, &candidates).await,
                Err(refusal) => refuse(stream, &refusal).await,
            },
            Err(_) => reset(&stream),
        }
    }

    /// Waits until the first bytes are understood; [`First::More`] for a client that waits for the server.
    async fn first_bytes(&self, stream: &TcpStream, port: u16) -> io::Result<First> {
        let client_first = matches!(port, HTTP_PORT | HTTPS_PORT);
        let mut seen = 0;
        let mut buffer = Vec::new();
        let all = async {
            loop {
                let ready = stream.ready(Interest::READABLE).await?;
                let complete = ready.is_read_closed();
                let looked = stream.try_io(Interest::READABLE, || {
                    buffer.resize(MAX_HELLO, 0);
                    let (length, _) =
                        rustix::net::recv(stream, &mut buffer[..], RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
                    // The same bytes again: wait for more of them.
                    if length == seen && !complete { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(length) }
                });
                match looked {
                    Ok(length) => {
                        seen = length;
                        match look(&buffer[..length], complete || length >= MAX_HELLO) {
                            First::More => {}
                            known => return Ok(known),
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        };
        let limit = if client_first { FIRST_BYTES } else { SILENCE };
        tokio::pin!(all);
        match timeout(limit, &mut all).await {
            Ok(first) => first,
            Err(_) if client_first => Err(io::ErrorKind::TimedOut.into()),
            Err(_) if !has_bytes(stream) => Ok(First::More),
            // It has begun to say something.
            Err(_) => timeout(FIRST_BYTES, all).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        }
    }

    /// The name that a connection may go to; none while the firewall is down and no name is known.
    fn decide(&self, first: &First, candidates: &[Name], port: u16) -> Result<Option<Name>, Refusal> {
        let down = self.engine.is_down();
        match first {
            First::Tls { encrypted: true, .. } if !self.engine.settings.allow_ech && !down => Err(Refusal::Tls),
            First::Tls { name: Some(name), .. } => match self.engine.standing(name) {
                Standing::Open => Ok(Some(name.clone())),
                _ => Err(Refusal::Tls),
            },
            First::Tls { name: None, .. } if !down => Err(Refusal::Tls),
            First::BrokenTls => Err(Refusal::Reset),
            First::Http2 if !down => Err(Refusal::Reset),
            _ if matches!(port, HTTP_PORT | HTTPS_PORT) && !down => Err(Refusal::Reset),
            _ => self.open_candidate(candidates),
        }
    }

    /// The first candidate that may be reached. With the firewall down an address without a name will do.
    fn open_candidate(&self, candidates: &[Name]) -> Result<Option<Name>, Refusal> {
        let open = candidates.iter().find(|name| self.engine.standing(name) == Standing::Open);
        match open {
            Some(name) => Ok(Some(name.clone())),
            None if candidates.is_empty() && self.engine.is_down() => Ok(None),
            None => Err(Refusal::Reset),
        }
    }

    /// Connects first, and passes on only what the server says until the client has said something that is in order.
    async fn let_server_speak(&self, stream: TcpStream, to: SocketAddr, candidates: &[Name]) {
        let Ok(name) = self.open_candidate(candidates) else { return reset(&stream) };
        let Ok(server) = self.connect(name.as_ref(), to, candidates).await else { return reset(&stream) };
        let label = label(name.as_ref(), to);
        let down = pump(&self.engine, &label, Way::Down, &server, &stream, &self.buffer);
        tokio::pin!(down);
        let spoken = tokio::select! {
            _ = &mut down => None,
            spoken = self.client_speaks(&stream) => Some(spoken),
            () = self.is_cut_off(name.as_ref()) => None,
        };
        let decided = match spoken {
            Some(Ok(First::Http)) | None => return reset(&stream),
            Some(Ok(first)) => self.decide(&first, candidates, to.port()),
            Some(Err(_)) => return reset(&stream),
        };
        // A name inside the stream must be the one that we are connected to.
        match decided {
            Ok(found) if found == name => {}
            _ => return reset(&stream),
        }
        let up = pump(&self.engine, &label, Way::Up, &stream, &server, &self.buffer);
        tokio::select! {
            _ = async { tokio::join!(down, up) } => {}
            () = self.is_cut_off(name.as_ref()) => reset(&stream),
        }
    }

    /// The client's first bytes, however long they take.
    async fn client_speaks(&self, stream: &TcpStream) -> io::Result<First> {
        loop {
            let ready = stream.ready(Interest::READABLE).await?;
            if has_bytes(stream) {
                return self.first_bytes(stream, HTTPS_PORT).await;
            }
            if ready.is_read_closed() {
                return Ok(First::Other);
            }
            let _ = stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
    }

    async fn relay(&self, stream: TcpStream, to: SocketAddr, name: Option<Name>, candidates: &[Name]) {
        let Ok(server) = self.connect(name.as_ref(), to, candidates).await else { return reset(&stream) };
        let label = label(name.as_ref(), to);
        let up = pump(&self.engine, &label, Way::Up, &stream, &server, &self.buffer);
        let down = pump(&self.engine, &label, Way::Down, &server, &stream, &self.buffer);
        let both = async { tokio::try_join!(up, down) };
        tokio::select! {
            done = both => if done.is_err() { reset(&stream) },
            () = self.is_cut_off(name.as_ref()) => {
                reset(&stream);
                reset(&server);
            }
        }
    }

    async fn connect(&self, name: Option<&Name>, to: SocketAddr, candidates: &[Name]) -> io::Result<TcpStream> {
        let server = match name {
            Some(name) => {
                let hint = candidates.contains(name).then_some(to.ip());
                connect(&self.engine, name, hint, to.port()).await
            }
            None => connect_to_address(&self.engine, to).await,
        };
        match server {
            Ok(server) => {
                let _ = server.set_nodelay(true);
                self.engine.inner.borrow_mut().traffic.connected(&label(name, to));
                Ok(server)
            }
            Err(error) => {
                tracing::info!("cannot connect to `{}`: {error}", label(name, to));
                Err(error)
            }
        }
    }

    /// Completes when a flow must not go on any more.
    async fn is_cut_off(&self, name: Option<&Name>) {
        self.engine.cut_off(name).await;
    }
}

impl Engine {
    /// Completes when connections to a name must not go on any more.
    pub(crate) async fn cut_off(&self, name: Option<&Name>) {
        loop {
            let change = self.flows.notified();
            let open = match name {
                Some(name) => self.standing(name) == Standing::Open,
                None => self.is_down(),
            };
            if !open {
                return;
            }
            change.await;
        }
    }

    /// Asks the operator for more bytes to a name.
    pub(crate) fn budget_is_spent(&self, label: &str) {
        let Ok(target) = Target::parse(label) else { return };
        let sent = self.inner.borrow().traffic.sent_to(label) / (1024 * 1024);
        self.ask(&target, 0, 6, &format!("sent {sent} MiB"), None);
    }
}

/// How a connection is called in figures.
pub(crate) fn label(name: Option<&Name>, to: SocketAddr) -> String {
    name.map_or_else(|| to.ip().to_string(), ToString::to_string)
}

fn has_bytes(stream: &TcpStream) -> bool {
    rustix::net::recv(stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok_and(|(length, _)| length > 0)
}

/// Ends a connection at once; what the client sent is discarded.
pub(crate) fn reset(stream: &TcpStream) {
    let _ = sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

async fn refuse(mut stream: TcpStream, refusal: &Refusal) {
    match refusal {
        Refusal::Reset => reset(&stream),
        Refusal::Tls => {
            // Unread bytes would turn the end into a reset that overtakes the alert.
            let mut hello = vec![0; MAX_HELLO];
            let told = async {
                let _ = stream.try_read(&mut hello);
                stream.write_all(&ACCESS_DENIED).await?;
                stream.shutdown().await?;
                while stream.read(&mut hello).await? > 0 {}
                Ok::<(), io::Error>(())
            };
            let _ = timeout(Duration::from_secs(1), told).await;
        }
    }
}
