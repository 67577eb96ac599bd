//! Start probes: a few real connections from inside the container's network, right after the start.
//!
//! They cost nothing of the launch, because they run beside it. The sockets are made when the rules are, since only
//! then is there a way in; an earlier worker's probes are not repeated.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use terok_shield_policy::ShieldState;
use terok_shield_policy::address::parking;
use terok_shield_policy::directory::file;
use tokio::io::Interest;
use tokio::time::{sleep, timeout};

use crate::engine::Engine;
use crate::polled::polled;

/// A refusal comes within this time; a connection that is held does not.
const ANSWER: Duration = Duration::from_millis(250);
/// The container's interface may come after the hooks.
const ATTEMPTS: u32 = 8;
const PAUSE: Duration = Duration::from_millis(250);
const METADATA: &str = "169.254.169.254:80";
const HOST_ALIASES: [&str; 2] = ["169.254.1.2:1", "10.0.2.2:1"];
/// An address that is no resolver of anybody's; a question to it is answered by the forwarder all the same.
const FAR_RESOLVER: &str = "192.0.2.53:53";

/// Sockets inside the container's network that no connection was made with yet.
#[derive(Debug, Default)]
pub struct ProbeSockets {
    tcp: Vec<OwnedFd>,
    udp: Option<OwnedFd>,
}

impl ProbeSockets {
    /// Makes them in the calling thread's network namespace; without one, its probe is left out.
    pub fn open() -> Self {
        let socket = |kind| {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            rustix::net::socket_with(AddressFamily::INET, kind, flags, None).ok()
        };
        Self { tcp: (0..4).filter_map(|_| socket(SocketType::STREAM)).collect(), udp: socket(SocketType::DGRAM) }
    }

    /// Another handle on the same sockets.
    ///
    /// # Errors
    /// The operating system's, when no descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let tcp = self.tcp.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
        Ok(Self { tcp, udp: self.udp.as_ref().map(OwnedFd::try_clone).transpose()? })
    }
}

/// The result of one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// `allowed`, `undecided`, `metadata`, `host-alias` or `dns`.
    pub name: String,
    /// Where it went.
    pub target: String,
    /// `open`, `refused`, `held`, `answered`, `silent` or `no-network`.
    pub found: String,
    /// True when that is as it should be.
    pub ok: bool,
}

/// The results of all probes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// UTC time.
    pub ts: String,
    /// True when all are as they should be.
    pub ok: bool,
    /// Milliseconds that they took.
    pub duration_ms: u64,
    /// One by one.
    pub probes: Vec<Probe>,
}

/// Runs the probes and writes the result into the state directory.
pub async fn run(engine: &Engine, sockets: ProbeSockets) {
    if engine.state() != ShieldState::Up {
        return;
    }
    let started = Instant::now();
    let mut tcp = sockets.tcp.into_iter();
    let allowed = allowed_address(engine);
    let undecided = SocketAddr::new(parking(0).into(), 443);
    let targets = [
        ("allowed", allowed.map(|address| SocketAddr::new(address, 443))),
        ("undecided", Some(undecided)),
        ("metadata", METADATA.parse().ok()),
        ("host-alias", HOST_ALIASES[0].parse().ok()),
    ];
    let mut probes = Vec::new();
    for (name, target) in targets {
        let (Some(socket), Some(target)) = (tcp.next(), target) else { continue };
        let found = connect(socket, target).await;
        let expected: &[&str] = if name == "allowed" { &["open"] } else { &["refused", "held", "no-network"] };
        let ok = expected.contains(&found) || name == "allowed" && found == "no-network";
        probes.push(Probe { name: name.to_owned(), target: target.to_string(), found: found.to_owned(), ok });
    }
    if let Some(socket) = sockets.udp {
        let found = ask(socket).await;
        let ok = matches!(found, "answered" | "no-network");
        probes.push(Probe { name: "dns".into(), target: FAR_RESOLVER.into(), found: found.into(), ok });
    }
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let ok = probes.iter().all(|probe| probe.ok);
    let result = Probes { ts: base::clock::iso(SystemTime::now()), ok, duration_ms, probes };
    if !ok {
        tracing::error!("a start probe of the firewall found what it should not: {result:?}");
    }
    if let Err(error) = engine.directory.write_json(file::PROBES, &result) {
        tracing::warn!("{error}");
    }
}

/// A stand-in address that an allowed name opens: the listener accepts, and the probe ends there.
fn allowed_address(engine: &Engine) -> Option<IpAddr> {
    let name = engine.inner.borrow().policy.allowed_names.first().map(|entry| entry.name.clone())?;
    let address = IpAddr::from(engine.park(&name));
    engine.open(address, &name).ok().map(|()| address)
}

async fn connect(socket: OwnedFd, target: SocketAddr) -> &'static str {
    let Ok(socket) = polled(socket, Interest::READABLE | Interest::WRITABLE) else { return "no-socket" };
    for _ in 0..ATTEMPTS {
        match rustix::net::connect(&socket, &target) {
            Ok(()) => return "open",
            Err(Errno::INPROGRESS) => {
                let Ok(ready) = timeout(ANSWER, socket.writable()).await else { return "held" };
                drop(ready);
                return match rustix::net::sockopt::socket_error(&socket) {
                    Ok(Ok(())) => "open",
                    _ => "refused",
                };
            }
            Err(Errno::NETUNREACH) => sleep(PAUSE).await,
            Err(_) => return "refused",
        }
    }
    "no-network"
}

/// Asks a far resolver for a name about which nothing is decided.
async fn ask(socket: OwnedFd) -> &'static str {
    let Ok(target) = FAR_RESOLVER.parse::<SocketAddr>() else { return "no-socket" };
    let Ok(socket) = polled(socket, Interest::READABLE | Interest::WRITABLE) else { return "no-socket" };
    // Type A of `probe.invalid`.
    let question = b"\x5a\x5a\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05probe\x07invalid\x00\x00\x01\x00\x01";
    for _ in 0..ATTEMPTS {
        let sent = rustix::net::sendto(socket.as_fd(), question, rustix::net::SendFlags::NOSIGNAL, &target);
        match sent {
            Ok(_) => {
                let Ok(ready) = timeout(ANSWER, socket.readable()).await else { return "silent" };
                drop(ready);
                return "answered";
            }
            Err(Errno::NETUNREACH) => sleep(PAUSE).await,
            Err(_) => return "refused",
        }
    }
    "no-network"
}
