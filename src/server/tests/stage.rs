//! A service that says each byte back, and tells what became of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use server::{Attend, Ending, Running, Stream, WhenFull};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longest silence that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Short against the patience, long against everything else.
pub const MOMENT: Duration = Duration::from_millis(300);

/// What became of the service's parts.
#[derive(Default)]
pub struct Told {
    /// Connections at this time.
    pub open: AtomicUsize,
    /// The most there have been.
    pub most: AtomicUsize,
    /// Whether every connection's descriptor is closed on exec.
    pub inheritable: AtomicBool,
    pub meanwhile_began: AtomicBool,
    pub meanwhile_dropped: AtomicBool,
    pub end_called: AtomicBool,
    pub end_awaited: AtomicBool,
    /// A connection has begun with work that does not end.
    pub at_work: AtomicBool,
}

/// Says bytes back; `TURNS_AWAY` tells what happens to a third connection.
#[derive(Clone, Default)]
pub struct Echo<const TURNS_AWAY: bool>(pub Arc<Told>);

struct Open<'a>(&'a Told);

impl<'a> Open<'a> {
    fn new(told: &'a Told) -> Self {
        let open = told.open.fetch_add(1, Ordering::SeqCst) + 1;
        told.most.fetch_max(open, Ordering::SeqCst);
        Self(told)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<const TURNS_AWAY: bool> Attend for Echo<TURNS_AWAY> {
    const NAME: &'static str = "echo";
    const MOST_CONNECTIONS: usize = 2;
    const WHEN_FULL: WhenFull = if TURNS_AWAY { WhenFull::TurnAway(MOMENT) } else { WhenFull::Queue };
    const LEAVES_NAME: bool = TURNS_AWAY;

    async fn attend(self, mut stream: Stream, ending: Ending) {
        let _open = Open::new(&self.0);
        let flags = rustix::io::fcntl_getfd(&stream).unwrap();
        if !flags.contains(rustix::io::FdFlags::CLOEXEC) {
            self.0.inheritable.store(true, Ordering::SeqCst);
        }
        let mut ending = std::pin::pin!(ending.told());
        let mut byte = [0];
        loop {
            tokio::select! {
                () = &mut ending => return,
                read = stream.read_exact(&mut byte) => if read.is_err() { return },
            }
            match byte[0] {
                // Work that is not done in time.
                b'!' => {
                    self.0.at_work.store(true, Ordering::SeqCst);
                    std::future::pending().await
                }
                b'?' => stream.write_all(stream.peer().as_bytes()).await.unwrap(),
                _ => stream.write_all(&byte).await.unwrap(),
            }
        }
    }

    async fn meanwhile(self) {
        struct Dropped(Arc<Told>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.meanwhile_dropped.store(true, Ordering::SeqCst);
            }
        }
        self.0.meanwhile_began.store(true, Ordering::SeqCst);
        let _dropped = Dropped(self.0.clone());
        std::future::pending().await
    }

    fn settled(&self) -> impl Future<Output = ()> + Send {
        self.0.end_called.store(true, Ordering::SeqCst);
        async { self.0.end_awaited.store(true, Ordering::SeqCst) }
    }
}

/// An echo at a socket.
pub struct Served<const TURNS_AWAY: bool> {
    pub socket: PathBuf,
    pub told: Arc<Told>,
    pub running: Running,
    _dir: tempfile::TempDir,
}

impl<const TURNS_AWAY: bool> Served<TURNS_AWAY> {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (socket, echo) = (dir.path().join("s"), Echo::<TURNS_AWAY>::default());
        let running = Running::unix(echo.clone(), &socket).unwrap();
        Self { socket, told: echo.0, running, _dir: dir }
    }

    /// A connection that is being served.
    pub fn connect(&self) -> UnixStream {
        let mut stream = connect(&self.socket);
        assert!(stream.is_served());
        stream
    }

    /// The time it takes to stop.
    pub fn stop(&mut self) -> Duration {
        let began = Instant::now();
        self.running.stop();
        began.elapsed()
    }
}

pub trait Wire: Read + Write {
    /// Sends a byte and waits for it.
    fn is_served(&mut self) -> bool {
        let mut back = [0];
        self.write_all(b"x").is_ok() && self.read_exact(&mut back).is_ok() && back == *b"x"
    }

    /// True when it was closed from the other side.
    fn is_closed(&mut self) -> bool {
        match self.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

impl Wire for UnixStream {}
impl Wire for TcpStream {}

pub fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn connect_tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}
