//! The stage: a broker on a Unix socket, a vault, an upstream that does what a test tells it, a raw client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker::{Broker, BrokerConfig, Markers, Owner};
use serde_json::{Value, json};
use vault::{Store, VaultCell};

pub const PHANTOM: &str = "terok-p-00000000000000000000000000000001";
pub const REAL: &str = "real-key-5f1c";

/// A vault that a test can change at any time, with tokens of its own choice: a second connection writes them.
pub struct TestVault {
    pub store: Arc<Store>,
    raw: Mutex<rusqlite::Connection>,
    _dir: Option<tempfile::TempDir>,
}

impl Default for TestVault {
    fn default() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials.db");
        let store = Store::open(&path, &base::secret::Secret::new("pw")).unwrap();
        Self { _dir: Some(dir), ..Self::on(Arc::new(store)) }
    }
}

impl TestVault {
    /// A vault that is there already; its passphrase is `pw`.
    pub fn on(store: Arc<Store>) -> Self {
        let raw = rusqlite::Connection::open(store.path()).unwrap();
        raw.pragma_update(None, "key", "pw").unwrap();
        Self { store, raw: Mutex::new(raw), _dir: None }
    }

    pub fn dir(&self) -> &std::path::Path {
        self.store.path().parent().unwrap()
    }

    pub fn grant(&self, token: &str, scope: &str, subject: &str, provider: &str) {
        self.grant_set(token, scope, subject, "default", provider);
    }

    pub fn grant_set(&self, token: &str, scope: &str, subject: &str, set: &str, provider: &str) {
        self.sql("INSERT OR REPLACE INTO proxy_tokens (token, scope, subject, credential_set, provider) VALUES (?, ?, ?, ?, ?)",
            &[token, scope, subject, set, provider]);
    }

    pub fn store(&self, provider: &str, record: Value) {
        self.store_set("default", provider, record);
    }

    /// Any JSON text, also what the store itself would refuse.
    pub fn store_set(&self, set: &str, provider: &str, record: Value) {
        self.sql(
            "INSERT OR REPLACE INTO credentials (credential_set, provider, data) VALUES (?, ?, ?)",
            &[set, provider, &record.to_string()],
        );
    }

    pub fn sql(&self, statement: &str, values: &[&str]) {
        self.raw.lock().unwrap().execute(statement, rusqlite::params_from_iter(values)).unwrap();
    }
}

/// A request or response head as it was on the wire.
#[derive(Debug, Clone, Default)]
pub struct Head {
    pub first: String,
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub fn read(from: &mut impl BufRead) -> Option<Self> {
        let mut head = Self::default();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            match line.split_once(':') {
                _ if line.is_empty() => return Some(head),
                _ if head.first.is_empty() => head.first = line.to_owned(),
                Some((name, value)) => head.headers.push((name.to_owned(), value.trim().to_owned())),
                None => panic!("not a header line: {line}"),
            }
        }
    }

    pub fn status(&self) -> u16 {
        self.first.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Reads the body that belongs to this head, handing every piece to `each`; false when it is cut short.
    pub fn body(&self, from: &mut impl BufRead, mut each: impl FnMut(&[u8])) -> bool {
        if let Some(length) = self.get("content-length") {
            return pass(from, length.parse().unwrap(), &mut each);
        }
        if self.get("transfer-encoding") != Some("chunked") {
            return true;
        }
        loop {
            let mut line = String::new();
            if from.read_line(&mut line).unwrap_or(0) == 0 {
                return false;
            }
            let size = u64::from_str_radix(line.trim(), 16).unwrap();
            if !pass(from, size, &mut each) || !pass(from, 2, &mut |_| {}) {
                return false;
            }
            if size == 0 {
                return true;
            }
        }
    }
}

fn pass(from: &mut impl BufRead, mut left: u64, each: &mut impl FnMut(&[u8])) -> bool {
    while left > 0 {
        let Ok(piece) = from.fill_buf() else { return false };
        let size = piece.len().min(left as usize);
        if size == 0 {
            return false;
        }
        each(&piece[..size]);
        from.consume(size);
        left -= size as u64;
    }
    true
}

/// One connection at the upstream, after a request head has been read from it.
pub struct Visit<'a> {
    pub head: Head,
    pub reader: &'a mut BufReader<TcpStream>,
    pub connection: usize,
}

impl Visit<'_> {
    pub fn body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        assert!(self.head.body(self.reader, |piece| body.extend_from_slice(piece)));
        body
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// Closes the connection with a reset.
    pub fn reset(&mut self) {
        let stream = self.reader.get_ref();
        let linger = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(stream, linger).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Read);
    }
}

/// Whether the upstream goes on with the connection.
#[derive(PartialEq, Eq)]
pub enum Then {
    Stay,
    Close,
}

/// An upstream; requests it got are kept.
pub struct Stub {
    pub port: u16,
    seen: Arc<Mutex<Vec<Head>>>,
    connections: Arc<Mutex<usize>>,
}

impl Stub {
    pub fn new(handler: impl Fn(&mut Visit<'_>) -> Then + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let stub = Self { port, seen: seen.clone(), connections: connections.clone() };
        let handler = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let number = {
                    let mut count = connections.lock().unwrap();
                    *count += 1;
                    *count
                };
                let (seen, handler) = (seen.clone(), handler.clone());
                std::thread::spawn(move || attend(stream.unwrap(), number, &seen, &*handler));
            }
        });
        stub
    }

    /// Answers everything with an empty 200.
    pub fn ok() -> Self {
        Self::new(|visit| {
            visit.body();
            visit.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            Then::Stay
        })
    }

    /// Answers everything with these bytes.
    pub fn saying(bytes: &'static str) -> Self {
        Self::new(move |visit| {
            visit.body();
            visit.send(bytes);
            Then::Stay
        })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn seen(&self) -> Vec<Head> {
        self.seen.lock().unwrap().clone()
    }

    pub fn last(&self) -> Head {
        self.seen().pop().expect("the upstream saw a request")
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

fn attend(stream: TcpStream, number: usize, seen: &Mutex<Vec<Head>>, handler: &dyn Fn(&mut Visit<'_>) -> Then) {
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    while let Some(head) = Head::read(&mut reader) {
        seen.lock().unwrap().push(head.clone());
        let mut visit = Visit { head, reader: &mut reader, connection: number };
        if handler(&mut visit) == Then::Close {
            return;
        }
    }
}

/// A running broker. Its socket and files go away with it.
pub struct Stage {
    pub vault: Arc<TestVault>,
    pub cell: VaultCell,
    pub dir: tempfile::TempDir,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    clock: tokio::sync::mpsc::UnboundedSender<(Duration, std::sync::mpsc::Sender<()>)>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Stage {
    /// A broker whose routes are `routes`, with every provider's key in the vault and one token for provider `p`.
    pub fn new(routes: Value) -> Self {
        Self::with(routes, Owner::Everyone, Markers::default())
    }

    /// One route `p` to the stub, bearer style.
    pub fn to(stub: &Stub) -> Self {
        Self::new(json!({"p": {"upstream": stub.url()}}))
    }

    pub fn with(routes: Value, owner: Owner, markers: Markers) -> Self {
        let vault = Arc::new(TestVault::default());
        vault.grant(PHANTOM, "proj", "task", "p");
        for provider in routes.as_object().unwrap().keys() {
            vault.store(provider, json!({"type": "api_key", "key": REAL}));
        }
        let cell = VaultCell::open(vault.store.clone());
        Self::start(routes, owner, markers, vault, cell)
    }

    pub fn start(routes: Value, owner: Owner, markers: Markers, vault: Arc<TestVault>, cell: VaultCell) -> Self {
        listen();
        let dir = tempfile::tempdir().unwrap();
        let routes_path = dir.path().join("routes.json");
        std::fs::write(&routes_path, routes.to_string()).unwrap();
        let audit_path = Some(dir.path().join("audit.jsonl"));
        // Where all brokers of one vault look.
        let lock_dir = vault.dir().join("locks");
        let budget = server::Budget::default();
        let config = BrokerConfig { routes_path, audit_path, owner, markers, lock_dir, budget };
        let broker = Broker::new(config, cell.clone()).unwrap();
        let listener = base::socket::bind_unix(&dir.path().join("vault.sock")).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (clock, leaps) = tokio::sync::mpsc::unbounded_channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.spawn(leap(leaps));
            runtime
                .block_on(server::serve(broker, base::socket::Listener::Unix(listener), async {
                    let _ = stopped.await;
                }))
                .unwrap();
        });
        Self { vault, cell, dir, stop: Some(stop), clock, thread: Some(thread) }
    }

    /// Lets the broker's clock, and with it every limit that is counted on it, go forward at once.
    pub fn pass(&self, time: Duration) {
        let (done, heard) = std::sync::mpsc::channel();
        self.clock.send((time, done)).unwrap();
        heard.recv().unwrap();
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("vault.sock")
    }

    pub fn client(&self) -> Client {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client(BufReader::with_capacity(64 * 1024, stream))
    }

    /// One request on a connection of its own, with a good token.
    pub fn get(&self, path: &str) -> Reply {
        self.client().ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {PHANTOM}\r\n\r\n"))
    }

    /// One request on a connection of its own with exactly these header lines.
    pub fn ask(&self, first: &str, lines: &[&str]) -> Reply {
        let mut text = format!("{first} HTTP/1.1\r\nHost: x\r\n");
        for line in lines {
            text += &format!("{line}\r\n");
        }
        self.client().ask(&(text + "\r\n"))
    }

    pub fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("audit.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The audit lines once there are `count` of them.
    pub fn audit_of(&self, count: usize) -> Vec<Value> {
        for _ in 0..3000 {
            let lines = self.audit();
            if lines.len() >= count {
                return lines;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{count} audit lines expected, found {:?}", self.audit());
    }

    pub fn halt(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Moves the clock of the runtime it runs on.
async fn leap(mut leaps: tokio::sync::mpsc::UnboundedReceiver<(Duration, std::sync::mpsc::Sender<()>)>) {
    while let Some((time, done)) = leaps.recv().await {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
        let _ = done.send(());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.halt();
    }
}

/// A whole answer as the client got it.
#[derive(Debug)]
pub struct Reply {
    pub head: Head,
    pub body: Vec<u8>,
    pub whole: bool,
}

impl Reply {
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A client connection.
pub struct Client(pub BufReader<UnixStream>);

impl Client {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    pub fn head(&mut self) -> Head {
        Head::read(&mut self.0).expect("an answer")
    }

    pub fn ask(&mut self, text: &str) -> Reply {
        self.send(text);
        self.reply(text.starts_with("HEAD "))
    }

    pub fn reply(&mut self, bodyless: bool) -> Reply {
        let head = self.head();
        let mut body = Vec::new();
        let bodyless = bodyless || matches!(head.status(), 204 | 304);
        let whole = bodyless || head.body(&mut self.0, |piece| body.extend_from_slice(piece));
        Reply { head, body, whole }
    }

    /// True when the broker has closed the connection without another byte.
    pub fn is_over(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }
}

/// Every event of this process, as text.
static DIARY: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// All that was logged so far; listening begins with the first call or the first stage.
pub fn logged() -> Vec<String> {
    listen();
    DIARY.lock().unwrap().clone()
}

fn listen() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Listener).unwrap());
}

struct Text(String);

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

/// What the tracing library is given; the texts are in [`DIARY`].
struct Listener;

impl tracing::Subscriber for Listener {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        DIARY.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
