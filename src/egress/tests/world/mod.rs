//! A host, an internet and a container, each in a network namespace of its own.
//!
//! The test's namespace is the host. The internet has every public address, a DNS server and servers that say who they
//! are; they are fakes. The container reaches the host over a veth, as through slirp4netns or pasta.
#![allow(dead_code)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name as WireName, Question, Record, Ttl};
use domain::rdata::{A, Aaaa, AllRecordData, Cname};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use terok_egress::{Bound, Clearance, Engine, Event, Plan};
use terok_nft::NetworkNamespace;

use crate::isolated::run;

pub const ID: &str = "0123456789abcdef0123456789abcdef";
const LIMIT: Duration = Duration::from_secs(8);

/// One namespace, held by a sleeping process.
pub struct Space {
    child: Child,
}

impl Space {
    fn start() -> Self {
        let child = Command::new("unshare").args(["--net", "sleep", "900"]).spawn().unwrap();
        let own = NetworkNamespace::current().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while NetworkNamespace::of_process(child.id().cast_signed()).unwrap().is_same(&own).unwrap() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(1));
        }
        let space = Self { child };
        space.ip("link set lo up");
        space
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub fn namespace(&self) -> NetworkNamespace {
        NetworkNamespace::of_process(self.pid()).unwrap()
    }

    pub fn ip(&self, line: &str) {
        let pid = self.pid().to_string();
        let mut words = vec!["-t", &pid, "--net", "ip"];
        words.extend(line.split(' '));
        run("nsenter", &words);
    }

    pub fn nft(&self, text: &str) {
        let pid = self.pid().to_string();
        run("nsenter", &["-t", &pid, "--net", "nft", text]);
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Zone = Arc<Mutex<HashMap<(String, Rtype), Vec<String>>>>;

/// Everything around a firewall.
pub struct World {
    pub container: Space,
    pub internet: Space,
    pub zone: Zone,
    /// Questions that reached the upstream, in lower case.
    pub asked: Arc<Mutex<Vec<String>>>,
    pub tls: Tls,
    /// Bytes that servers have received.
    pub uploaded: Arc<AtomicUsize>,
    dir: tempfile::TempDir,
}

impl World {
    /// Makes the three namespaces and the servers.
    pub fn start() -> Self {
        let (container, internet) = (Space::start(), Space::start());
        let (c, i) = (container.pid().to_string(), internet.pid().to_string());
        let host = |line: &str| drop(run("ip", &line.split(' ').collect::<Vec<_>>()));
        host(&format!("link add h0 type veth peer name i0 netns {i}"));
        host(&format!("link add h1 type veth peer name c0 netns {c}"));
        for line in [
            "addr add 192.0.2.1/24 dev h0",
            "addr add 2001:db8:f::1/64 dev h0 nodad",
            "addr add 10.9.0.1/24 dev h1",
            "addr add fd09::1/64 dev h1 nodad",
            "link set h0 up",
            "link set h1 up",
            "route add default via 192.0.2.2",
            "route add default via 2001:db8:f::2",
        ] {
            host(line);
        }
        for path in ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"] {
            std::fs::write(path, "1").unwrap();
        }
        for line in [
            "addr add 10.9.0.2/24 dev c0",
            "addr add fd09::2/64 dev c0 nodad",
            "link set c0 up",
            "route add default via 10.9.0.1",
            "route add default via fd09::1",
        ] {
            container.ip(line);
        }
        for line in [
            "addr add 192.0.2.2/24 dev i0",
            "addr add 2001:db8:f::2/64 dev i0 nodad",
            "link set i0 up",
            "route add 10.9.0.0/24 via 192.0.2.1",
            "-6 route add fd09::/64 via 2001:db8:f::1",
            "route add local 0.0.0.0/1 dev lo table main",
            "route add local 128.0.0.0/1 dev lo table main",
            "-6 route add local 2000::/3 dev lo table main",
        ] {
            internet.ip(line);
        }
        let world = Self {
            container,
            internet,
            zone: Zone::default(),
            asked: Arc::default(),
            tls: Tls::new(),
            uploaded: Arc::default(),
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(world.state()).unwrap();
        std::fs::set_permissions(world.state(), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(world.resolvers(), "nameserver 192.0.2.2\n").unwrap();
        world.serve_dns();
        world.serve_all();
        world
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("shield")
    }

    fn resolvers(&self) -> PathBuf {
        self.dir.path().join("resolv.conf")
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.state().join(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.state().join(name)).unwrap_or_default()
    }

    /// Gives a name its records: addresses or `-> name`.
    pub fn name(&self, name: &str, records: &[&str]) {
        let mut zone = self.zone.lock().unwrap();
        let v4 = records.iter().filter(|r| !r.contains(':')).map(|r| (*r).to_owned()).collect();
        let v6 = records.iter().filter(|r| r.contains(':')).map(|r| (*r).to_owned()).collect();
        zone.insert((name.to_owned(), Rtype::A), v4);
        zone.insert((name.to_owned(), Rtype::AAAA), v6);
    }

    pub fn plan(&self) -> Plan {
        Plan {
            directory: self.state(),
            container: ID.to_owned(),
            init: (self.container.pid(), 1),
            resolvers: self.resolvers(),
        }
    }

    /// Runs blocking work inside the container's network.
    pub fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> tokio::task::JoinHandle<T> {
        let namespace = self.container.namespace();
        tokio::task::spawn_blocking(move || namespace.run(work).unwrap())
    }

    fn serve_dns(&self) {
        let (zone, asked) = (Arc::clone(&self.zone), Arc::clone(&self.asked));
        let socket = self.internet.namespace().run(|| UdpSocket::bind("192.0.2.2:53").unwrap()).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if let Some(reply) = reply(&buffer[..length], &zone, &asked) {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
    }

    /// Servers on every address: TLS on 443 and 8443, clear HTTP on 80, one that speaks first on 22, echo on 7.
    fn serve_all(&self) {
        let tls = self.tls.server.clone();
        self.serve(443, {
            let tls = tls.clone();
            move |stream| serve_tls(stream, &tls)
        });
        self.serve(8443, move |stream| serve_tls(stream, &tls));
        self.serve(80, serve_http);
        self.serve(22, serve_greeting);
        self.serve(7, serve_echo);
        let uploaded = Arc::clone(&self.uploaded);
        self.serve(9, move |mut stream| {
            let mut buffer = vec![0; 65_536];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                uploaded.fetch_add(length, Ordering::SeqCst);
            }
        });
    }

    fn serve(&self, port: u16, handle: impl Fn(TcpStream) + Send + Sync + 'static) {
        let bind = move || TcpListener::bind(("::", port)).unwrap();
        let listener = self.internet.namespace().run(bind).unwrap();
        let handle = Arc::new(handle);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let handle = Arc::clone(&handle);
                std::thread::spawn(move || handle(stream));
            }
        });
    }
}

fn reply(bytes: &[u8], zone: &Zone, asked: &Mutex<Vec<String>>) -> Option<Vec<u8>> {
    let query = Message::from_octets(bytes).ok()?;
    let question = query.sole_question().ok()?;
    let name = question.qname().to_string().to_ascii_lowercase();
    asked.lock().unwrap().push(format!("{name} {}", question.qtype()));
    let zone = zone.lock().unwrap();
    let known = zone.get(&(name.clone(), question.qtype()));
    let exists = zone.keys().any(|(known, _)| *known == name);
    let mut answer =
        MessageBuilder::new_vec().start_answer(&query, if exists { Rcode::NOERROR } else { Rcode::NXDOMAIN }).ok()?;
    let owner: WireName<Vec<u8>> = WireName::from_chars(name.chars()).ok()?;
    for record in known.into_iter().flatten() {
        let ttl = Ttl::from_secs(60);
        if let Some(target) = record.strip_prefix("-> ") {
            let target: WireName<Vec<u8>> = WireName::from_chars(target.chars()).ok()?;
            answer.push(Record::new(&owner, Class::IN, ttl, Cname::new(target))).ok()?;
            continue;
        }
        match record.parse().ok()? {
            IpAddr::V4(address) => answer.push(Record::new(&owner, Class::IN, ttl, A::new(address))).ok()?,
            IpAddr::V6(address) => answer.push(Record::new(&owner, Class::IN, ttl, Aaaa::new(address))).ok()?,
        }
    }
    Some(answer.finish())
}

/// Certificates that are good for every `*.test` name of the tests.
#[derive(Clone)]
pub struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    fn new() -> Self {
        let names = ["good.test", "www.good.test", "shared.test", "undecided.test", "late.test"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { server: Arc::new(server), client: Arc::new(client) }
    }
}

/// Says which name the client asked for, and echoes what it sends.
fn serve_tls(stream: TcpStream, config: &Arc<ServerConfig>) {
    let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream);
    let mut line = [0; 64];
    if let Ok(length @ 1..) = tls.read(&mut line) {
        let name = tls.conn.server_name().unwrap_or("none").to_owned();
        let _ = tls.write_all(format!("tls {name} {}", String::from_utf8_lossy(&line[..length])).as_bytes());
    }
    let _ = tls.flush();
}

/// Answers every request with its own host and target.
fn serve_http(mut stream: TcpStream) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..length]);
        while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            bytes.drain(..end + 4);
            let line = head.lines().next().unwrap_or_default().to_owned();
            let host = head.lines().find(|line| line.to_ascii_lowercase().starts_with("host:")).unwrap_or_default();
            let body = format!("{line} | {host}");
            let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(reply.as_bytes());
        }
    }
}

fn serve_greeting(mut stream: TcpStream) {
    let _ = stream.write_all(b"220 hello\r\n");
    serve_echo(stream);
}

fn serve_echo(mut stream: TcpStream) {
    let mut buffer = [0; 2048];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// A clearance that keeps its events and says what the test wants.
#[derive(Default)]
pub struct Operator {
    pub events: RefCell<Vec<Event>>,
    pub answers: RefCell<bool>,
}

impl Clearance for Operator {
    fn publish(&self, event: &Event) {
        self.events.borrow_mut().push(event.clone());
    }

    fn can_answer(&self) -> bool {
        *self.answers.borrow()
    }
}

/// A worker of a firewall that is bound.
pub struct Worker {
    pub engine: Rc<Engine>,
    task: tokio::task::JoinHandle<()>,
}

impl Worker {
    pub fn start(bound: &Bound, operator: &Rc<Operator>) -> Self {
        let (engine, served) = bound.serve(Rc::clone(operator) as Rc<dyn Clearance>).unwrap();
        Self { engine, task: tokio::task::spawn_local(served) }
    }

    /// Ends as a killed worker does, as far as one process can: nothing is told, nothing finished.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Runs a test's body in a world with a runtime like the supervisor's.
pub fn in_world(name: &str, body: impl AsyncFnOnce(World)) {
    crate::isolated::isolated(name, || {
        let world = World::start();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            tokio::time::timeout(Duration::from_secs(120), body(world)).await.expect("the test ends in time");
        });
        runtime.shutdown_timeout(Duration::from_millis(100));
    });
}

/// Waits until `done` says so.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The answer to a DNS question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    pub code: String,
    pub addresses: Vec<IpAddr>,
    pub reason: String,
}

/// Asks the forwarder, or any other address, from the calling thread's namespace.
pub fn dns(server: &str, name: &str, kind: Rtype) -> Reply {
    let socket = UdpSocket::bind(if server.contains('[') { "[::]:0" } else { "0.0.0.0:0" }).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.connect(server).unwrap();
    socket.send(&question(name, kind)).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no answer about {name}: {error}"));
    parse_reply(&buffer[..length])
}

pub fn question(name: &str, kind: Rtype) -> Vec<u8> {
    let name: WireName<Vec<u8>> = WireName::from_chars(name.chars()).unwrap();
    let mut builder = MessageBuilder::new_vec().question();
    builder.header_mut().set_rd(true);
    builder.push(Question::new_in(&name, kind)).unwrap();
    let mut builder = builder.additional();
    builder
        .opt(|opt| {
            opt.set_udp_payload_size(1232);
            Ok(())
        })
        .unwrap();
    builder.finish()
}

pub fn parse_reply(bytes: &[u8]) -> Reply {
    let message = Message::from_octets(bytes).unwrap();
    let mut addresses = Vec::new();
    for record in message.answer().unwrap() {
        match record.unwrap().into_any_record::<AllRecordData<_, _>>().unwrap().into_data() {
            AllRecordData::A(a) => addresses.push(a.addr().into()),
            AllRecordData::Aaaa(aaaa) => addresses.push(aaaa.addr().into()),
            _ => {}
        }
    }
    let reason = message
        .opt()
        .and_then(|opt| opt.opt().extended_error())
        .and_then(|error| error.text().and_then(Result::ok).map(ToString::to_string));
    Reply { code: message.header().rcode().to_string(), addresses, reason: reason.unwrap_or_default() }
}

/// What became of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The other side said this.
    Said(String),
    /// It failed like this.
    Failed(std::io::ErrorKind),
    /// The TLS handshake was refused with this text.
    Alert(String),
    /// Nothing came within the limit.
    Silent,
}

fn open(to: SocketAddr, limit: Duration) -> Result<TcpStream, Fate> {
    let stream = TcpStream::connect_timeout(&to, limit).map_err(|error| Fate::Failed(error.kind()))?;
    stream.set_read_timeout(Some(limit)).unwrap();
    stream.set_write_timeout(Some(limit)).unwrap();
    Ok(stream)
}

/// Sends bytes and tells what comes back.
pub fn send(to: SocketAddr, bytes: &[u8]) -> Fate {
    send_within(to, bytes, LIMIT)
}

pub fn send_within(to: SocketAddr, bytes: &[u8], limit: Duration) -> Fate {
    let mut stream = match open(to, limit) {
        Ok(stream) => stream,
        Err(fate) => return fate,
    };
    let _ = stream.write_all(bytes);
    read_some(&mut stream)
}

fn read_some(stream: &mut TcpStream) -> Fate {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(length) => Fate::Said(String::from_utf8_lossy(&buffer[..length]).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Fate::Silent,
        Err(error) => Fate::Failed(error.kind()),
    }
}

/// Speaks TLS with a server name and tells what the server says.
pub fn tls(config: &Tls, to: SocketAddr, name: &str) -> Fate {
    tls_in_pieces(config, to, name, usize::MAX)
}

/// As [`tls`], with the hello in pieces of so many bytes.
pub fn tls_in_pieces(config: &Tls, to: SocketAddr, name: &str, piece: usize) -> Fate {
    let mut stream = match open(to, LIMIT) {
        Ok(stream) => stream,
        Err(fate) => return fate,
    };
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = ClientConnection::new(Arc::clone(&config.client), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    for part in hello.chunks(piece.min(hello.len())) {
        if stream.write_all(part).is_err() {
            break;
        }
        if piece < usize::MAX {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let mut tls = StreamOwned::new(connection, stream);
    let said = tls.write_all(b"hi").and_then(|()| {
        let mut buffer = [0; 256];
        tls.read(&mut buffer).map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned())
    });
    match said {
        Ok(text) => Fate::Said(text),
        Err(error) if error.to_string().contains("lert") => Fate::Alert(error.to_string()),
        Err(error) => Fate::Failed(error.kind()),
    }
}

pub fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn exists(path: &Path) -> bool {
    path.exists()
}
