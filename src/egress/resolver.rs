//! Asks the host's own resolvers, from the host's network.
//!
//! Split DNS and VPNs of the host work as they do for the operator. An answer counts when it has our random id, came
//! to a socket that only its sender can write to, and repeats the question in the very case that we chose.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use domain::base::iana::{Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name as WireName, Question};
use terok_shield_policy::Name;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::answer::MAX_DATAGRAM;

/// How long one server may take.
const PER_SERVER: Duration = Duration::from_secs(2);
/// How long all of them may take.
const IN_ALL: Duration = Duration::from_secs(5);
const MAX_SERVERS: usize = 3;

/// A message of an upstream, checked against the question.
pub type Reply = Option<Rc<Vec<u8>>>;

/// The host's resolvers.
#[derive(Clone)]
pub struct Resolver {
    inner: Rc<Inner>,
}

/// Questions that others have asked already, and where their answer will be.
type InFlight = HashMap<(Name, Rtype), watch::Receiver<Option<Reply>>>;

struct Inner {
    configuration: PathBuf,
    servers: RefCell<(Option<SystemTime>, Vec<SocketAddr>)>,
    in_flight: RefCell<InFlight>,
}

impl Resolver {
    /// Resolvers as a file in the layout of `resolv.conf` lists them.
    pub fn new(configuration: PathBuf) -> Self {
        let servers = RefCell::new((None, Vec::new()));
        Self { inner: Rc::new(Inner { configuration, servers, in_flight: RefCell::default() }) }
    }

    /// The message that answers a question; none when no server does. A question in flight is asked once.
    pub async fn ask(&self, name: &Name, kind: Rtype) -> Reply {
        let key = (name.clone(), kind);
        let waiting = self.inner.in_flight.borrow().get(&key).cloned();
        if let Some(mut waiting) = waiting
            && let Ok(reply) = waiting.wait_for(Option::is_some).await
        {
            return reply.clone().flatten();
        }
        let (tell, waiting) = watch::channel(None);
        self.inner.in_flight.borrow_mut().insert(key.clone(), waiting);
        let _forget = Forget { inner: &self.inner, key: &key };
        let reply = timeout(IN_ALL, self.ask_servers(name, kind)).await.ok().flatten().map(Rc::new);
        let _ = tell.send(Some(reply.clone()));
        reply
    }

    async fn ask_servers(&self, name: &Name, kind: Rtype) -> Option<Vec<u8>> {
        let mut fallback = None;
        for server in self.servers() {
            match timeout(PER_SERVER, ask_server(server, name, kind)).await {
                Ok(Some(reply)) if is_final(&reply) => return Some(reply),
                Ok(Some(reply)) => fallback = Some(reply),
                Ok(None) | Err(_) => {}
            }
        }
        fallback
    }

    /// All addresses of a name, IPv6 first as the host would order them only by what it can reach.
    pub async fn addresses(&self, name: &Name) -> Vec<IpAddr> {
        let (v6, v4) = tokio::join!(self.ask(name, Rtype::AAAA), self.ask(name, Rtype::A));
        let read = |reply: Reply| reply.and_then(|bytes| crate::answer::addresses(&bytes)).unwrap_or_default();
        [read(v4), read(v6)].concat()
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let modified = std::fs::metadata(&self.inner.configuration).and_then(|meta| meta.modified()).ok();
        let mut known = self.inner.servers.borrow_mut();
        if known.0 != modified || known.1.is_empty() {
            let text = std::fs::read_to_string(&self.inner.configuration).unwrap_or_default();
            *known = (modified, parse_servers(&text));
        }
        known.1.clone()
    }
}

struct Forget<'a> {
    inner: &'a Inner,
    key: &'a (Name, Rtype),
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.inner.in_flight.borrow_mut().remove(self.key);
    }
}

fn parse_servers(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = lines.filter_map(|rest| rest.trim().parse::<IpAddr>().ok());
    let mut servers: Vec<SocketAddr> = addresses.map(|address| (address, 53).into()).take(MAX_SERVERS).collect();
    if servers.is_empty() {
        // What the C library does without a file.
        servers.push((std::net::Ipv4Addr::LOCALHOST, 53).into());
    }
    servers
}

/// A server that cannot or does not want to answer leaves the question to the next one.
fn is_final(reply: &[u8]) -> bool {
    Message::from_octets(reply).is_ok_and(|m| matches!(m.header().rcode(), Rcode::NOERROR | Rcode::NXDOMAIN))
}

async fn ask_server(server: SocketAddr, name: &Name, kind: Rtype) -> Option<Vec<u8>> {
    let query = Outgoing::new(name, kind)?;
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(server).await.ok()?;
    socket.send(&query.bytes).await.ok()?;
    let mut buffer = vec![0; usize::from(MAX_DATAGRAM) * 4];
    loop {
        let length = socket.recv(&mut buffer).await.ok()?;
        // Anything that does not fit is a forgery or a late answer: the right one may still come.
        if query.is_answered_by(&buffer[..length]) {
            let reply = buffer[..length].to_vec();
            let cut = Message::from_octets(reply.as_slice()).is_ok_and(|message| message.header().tc());
            return if cut { ask_server_by_tcp(server, &query).await.or(Some(reply)) } else { Some(reply) };
        }
    }
}

async fn ask_server_by_tcp(server: SocketAddr, query: &Outgoing) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await.ok()?;
    let length = u16::try_from(query.bytes.len()).ok()?;
    stream.write_all(&[&length.to_be_bytes()[..], &query.bytes].concat()).await.ok()?;
    let mut reply = vec![0; usize::from(stream.read_u16().await.ok()?)];
    stream.read_exact(&mut reply).await.ok()?;
    query.is_answered_by(&reply).then_some(reply)
}

/// A question to an upstream.
struct Outgoing {
    bytes: Vec<u8>,
    id: u16,
    name: WireName<Vec<u8>>,
    kind: Rtype,
}

impl Outgoing {
    fn new(name: &Name, kind: Rtype) -> Option<Self> {
        let random = base::ident::random_bytes(2 + name.as_str().len());
        let id = u16::from_be_bytes([random[0], random[1]]);
        // The case of each letter is one more bit that a forger has to guess.
        let mixed = name.as_str().chars().zip(&random[2..]);
        let mixed = mixed.map(|(c, bit)| if bit & 1 == 0 { c } else { c.to_ascii_uppercase() });
        let name = WireName::from_chars(mixed).ok()?;
        let mut builder = MessageBuilder::new_vec().question();
        let header = builder.header_mut();
        header.set_id(id);
        header.set_rd(true);
        builder.push(Question::new_in(&name, kind)).ok()?;
        let mut builder = builder.additional();
        builder
            .opt(|opt| {
                opt.set_udp_payload_size(MAX_DATAGRAM);
                Ok(())
            })
            .ok()?;
        Some(Self { bytes: builder.finish(), id, name, kind })
    }

    fn is_answered_by(&self, bytes: &[u8]) -> bool {
        let Ok(message) = Message::from_octets(bytes) else { return false };
        let header = message.header();
        let question = message.sole_question();
        header.qr()
            && header.id() == self.id
            && question.is_ok_and(|question| {
                // Byte for byte: the case has to come back.
                question.qtype() == self.kind && question.qname().to_string() == self.name.to_string()
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_those_of_the_file() {
        let text = "# c\nnameserver 192.0.2.1\nsearch x\nnameserver  2001:db8::1\nnameserver bad\n";
        let servers: Vec<String> = parse_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53"]);
        assert_eq!(parse_servers("")[0].to_string(), "127.0.0.1:53");
        assert_eq!(parse_servers(&"nameserver 192.0.2.1\n".repeat(9)).len(), MAX_SERVERS);
    }

    #[test]
    fn answer_counts_only_with_our_id_name_and_case() {
        let query = Outgoing::new(&Name::parse("some.long.example.test").unwrap(), Rtype::A).unwrap();
        let mut reply = query.bytes.clone();
        assert!(!query.is_answered_by(&reply), "a query is no answer");
        reply[2] |= 0x80;
        assert!(query.is_answered_by(&reply));
        let mut wrong = reply.clone();
        wrong[1] ^= 1;
        assert!(!query.is_answered_by(&wrong));
        let mut wrong = reply.clone();
        wrong[14] ^= 0x20;
        assert!(!query.is_answered_by(&wrong), "another case");
        for length in 0..reply.len().min(30) {
            assert!(!query.is_answered_by(&reply[..length]));
        }
    }
}
