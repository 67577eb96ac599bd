//! Streams: pieces pass at once, both ways, and a refusal reaches a client that is still sending.

use std::io::Write;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use crate::stage::{PHANTOM, Reply, Stage, Stub, Then};

fn request(method: &str, more: &str) -> String {
    format!("{method} /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {PHANTOM}\r\n{more}\r\n")
}

/// What goes before the next piece is sent: the client has the one before, so that nothing can be held back.
#[test]
fn events_pass_one_by_one_and_within_200_ms() {
    const EVENTS: usize = 9;
    let (sent, times) = std::sync::mpsc::channel();
    let (seen, next) = std::sync::mpsc::channel();
    let ends = std::sync::Mutex::new((sent, next));
    let stub = Stub::new(move |visit| {
        let (sent, next) = &*ends.lock().unwrap();
        visit.body();
        visit.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for number in 0..EVENTS {
            next.recv_timeout(Duration::from_secs(30)).expect("the client has what was sent");
            sent.send(Instant::now()).unwrap();
            let event = format!("data: {number}\n\n");
            visit.send(format!("{:x}\r\n{event}\r\n", event.len()));
        }
        visit.send("0\r\n\r\n");
        Then::Stay
    });
    let stage = Stage::to(&stub);
    let mut client = stage.client();
    client.send(request("POST", "Content-Length: 0\r\n"));
    let head = client.head();
    seen.send(()).unwrap();
    let mut delays = Vec::new();
    assert!(head.body(&mut client.0, |_| {
        delays.push(times.recv().unwrap().elapsed());
        let _ = seen.send(());
    }));
    delays.sort();
    // The one in the middle: a busy machine may be late with some.
    assert!(delays.len() == EVENTS && delays[EVENTS / 2] < Duration::from_millis(200), "{delays:?}");
}

// improves: 21-5.8-request-streams
#[test]
fn an_answer_can_begin_before_the_request_ends() {
    let stub = Stub::new(|visit| {
        visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut reader = Vec::new();
        let head = visit.head.clone();
        // Echo, piece by piece.
        let stream = visit.reader.get_ref().try_clone().unwrap();
        head.body(visit.reader, |piece| {
            reader.extend_from_slice(piece);
            let text = format!("{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece));
            (&stream).write_all(text.as_bytes()).unwrap();
        });
        visit.send("0\r\n\r\n");
        Then::Stay
    });
    let stage = Stage::to(&stub);
    let mut client = stage.client();
    client.send(request("POST", "Transfer-Encoding: chunked\r\n"));
    let head = client.head();
    let mut sender = client.0.get_ref().try_clone().unwrap();
    sender.write_all(b"3\r\nabc\r\n").unwrap();
    let mut got = String::new();
    head.body(&mut client.0, |piece| {
        got += std::str::from_utf8(piece).unwrap();
        match got.as_str() {
            "abc" => sender.write_all(b"3\r\ndef\r\n").unwrap(),
            "abcdef" => sender.write_all(b"0\r\n\r\n").unwrap(),
            _ => {}
        }
    });
    assert_eq!(got, "abcdef");
}

#[test]
fn a_refused_upload_still_gets_its_refusal() {
    let stub = Stub::ok();
    let stage = Stage::to(&stub);
    let mut client = stage.client();
    let text = "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nobody\r\nContent-Length: 8388608\r\n\r\n";
    client.send(text);
    client.send(vec![0; 8 * 1024 * 1024]);
    assert_eq!(client.reply(false).status(), 401);
}

/// Two replies, of which one begins and the other goes on after `time` has passed on the broker's clock.
fn after_a_pause(time: Duration) -> [Reply; 2] {
    let gates = Arc::new([Barrier::new(3), Barrier::new(3)]);
    let theirs = gates.clone();
    let stub = Stub::new(move |visit| {
        visit.body();
        let before_the_head = visit.head.first.contains("head");
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
        let (first, second) = if before_the_head { ("", head) } else { (head, "") };
        visit.send(first);
        for gate in theirs.iter() {
            gate.wait();
        }
        visit.send(format!("{second}1\r\nb\r\n0\r\n\r\n"));
        Then::Stay
    });
    let stage = Stage::to(&stub);
    std::thread::scope(|scope| {
        let asked = ["/head", "/body"].map(|path| scope.spawn(|| stage.get(path)));
        gates[0].wait();
        // For what is on its way, so that the broker waits for the rest when its clock leaps.
        std::thread::sleep(Duration::from_millis(300));
        stage.pass(time);
        std::thread::sleep(Duration::from_millis(100));
        gates[1].wait();
        asked.map(|reply| reply.join().unwrap())
    })
}

// improves: 21-5.8-slow-replies
#[test]
fn a_reply_may_pause_for_a_quarter_of_an_hour() {
    for reply in after_a_pause(Duration::from_secs(15 * 60)) {
        assert_eq!((reply.text(), reply.whole), ("ab", true));
    }
}

#[test]
fn an_upstream_that_stays_silent_ends_its_reply() {
    let [_, body] = after_a_pause(Duration::from_secs(21 * 60));
    assert_eq!((body.text(), body.whole), ("a", false));
}
