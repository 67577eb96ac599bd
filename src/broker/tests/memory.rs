//! A gibibyte each way in flat memory. A program of its own, because it watches the memory of the whole process.

#[allow(dead_code, unused_imports)]
mod stage;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stage::{PHANTOM, Stage, Stub, Then};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const GIB: u64 = 1 << 30;
const PIECE: usize = 64 * 1024;
/// What a stream may add to this process, in which client, upstream and broker all run.
const ALLOWANCE_KIB: u64 = 8 * 1024;

fn request(method: &str, more: &str) -> String {
    format!("{method} /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {PHANTOM}\r\n{more}\r\n")
}

/// Highest resident memory since the last reset, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Held by a test from its first line, because what another one sets up would count as well.
fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `stream` and returns by how much the peak grew over what was resident before.
fn growth(stream: impl FnOnce()) -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak_kib();
    stream();
    peak_kib().saturating_sub(before)
}

// improves: 21-5.4-large-bodies 21-5.8-request-streams
#[test]
fn a_gibibyte_goes_up_in_flat_memory() {
    let _alone = alone();
    let stub = Stub::new(|visit| {
        let mut count = 0_u64;
        let head = visit.head.clone();
        assert!(head.body(visit.reader, |piece| count += piece.len() as u64));
        let text = count.to_string();
        visit.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()));
        Then::Stay
    });
    let stage = Stage::to(&stub);
    let mut client = stage.client();
    let piece = vec![7_u8; PIECE];
    let grown = growth(|| {
        client.send(request("POST", &format!("Content-Length: {GIB}\r\n")));
        for _ in 0..GIB / PIECE as u64 {
            client.send(&piece);
        }
        assert_eq!(client.reply(false).text(), GIB.to_string());
    });
    assert!(grown < ALLOWANCE_KIB, "grew by {grown} KiB");
}

#[test]
fn a_gibibyte_comes_down_in_flat_memory_also_to_a_slow_reader() {
    let _alone = alone();
    let stub = Stub::new(|visit| {
        visit.body();
        visit.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n"));
        let piece = vec![7_u8; PIECE];
        (0..GIB / PIECE as u64).all(|_| visit.send(&piece));
        Then::Stay
    });
    let stage = Stage::to(&stub);
    let mut client = stage.client();
    let grown = growth(|| {
        client.send(request("GET", ""));
        let head = client.head();
        // The upstream runs ahead as far as it can.
        std::thread::sleep(Duration::from_millis(500));
        let mut count = 0_u64;
        assert!(head.body(&mut client.0, |piece| count += piece.len() as u64));
        assert_eq!(count, GIB);
    });
    assert!(grown < ALLOWANCE_KIB, "grew by {grown} KiB");
}

#[test]
fn websocket_messages_pass_in_flat_memory_also_to_a_slow_reader() {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    use tokio_tungstenite::tungstenite::{Message, accept, client};
    const MESSAGES: usize = 4096;
    let _alone = alone();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut socket = accept(listener.accept().unwrap().0).unwrap();
        let message = Message::binary(vec![7; PIECE]);
        for _ in 0..MESSAGES {
            socket.send(message.clone()).unwrap();
        }
        while socket.read().is_ok() {}
    });
    let stage = Stage::new(serde_json::json!({"p": {"upstream": url}}));
    let mut request = "ws://localhost/".into_client_request().unwrap();
    request.headers_mut().insert("x-api-key", PHANTOM.parse().unwrap());
    let grown = growth(|| {
        let stream = std::os::unix::net::UnixStream::connect(stage.socket()).unwrap();
        let (mut socket, _) = client(request, stream).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        for _ in 0..MESSAGES {
            assert_eq!(socket.read().unwrap().len(), PIECE);
        }
    });
    assert!(grown < ALLOWANCE_KIB, "grew by {grown} KiB");
}
