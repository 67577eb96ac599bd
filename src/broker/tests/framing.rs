//! Connections and message borders: keep-alive on both sides, chunked and sized bodies, ending in good order.

use std::time::{Duration, Instant};

use crate::stage::{PHANTOM, Stage, Stub, Then};

fn request(method: &str, more: &str) -> String {
    format!("{method} /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {PHANTOM}\r\n{more}\r\n")
}

#[test]
fn upstream_connections_are_used_again() {
    let stub = Stub::saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let stage = Stage::to(&stub);
    for _ in 0..20 {
        let mut client = stage.client();
        for _ in 0..5 {
            let reply = client.ask(&request("GET", ""));
            assert_eq!((reply.text(), reply.head.get("transfer-encoding")), ("abc", Some("chunked")));
        }
    }
    assert_eq!((stub.connections(), stub.seen().len()), (1, 100));
}

#[test]
fn bodies_keep_their_framing() {
    let stub = Stub::new(|visit| {
        let body = visit.body();
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        visit.send(text);
        visit.send(body);
        Then::Stay
    });
    let stage = Stage::to(&stub);
    let mut client = stage.client();
    let sized = client.ask(&(request("POST", "Content-Length: 5\r\n") + "hello"));
    assert_eq!((sized.text(), stub.last().get("content-length")), ("hello", Some("5")));
    let chunked = request("PUT", "Transfer-Encoding: chunked\r\n") + "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
    assert_eq!(client.ask(&chunked).text(), "hello");
    assert_eq!((stub.last().get("content-length"), stub.last().get("transfer-encoding")), (None, Some("chunked")));
    let empty = client.ask(&request("POST", "Content-Length: 0\r\n"));
    assert_eq!((empty.text(), stub.last().get("content-length")), ("", Some("0")));
    assert_eq!(stub.connections(), 1);
}

#[test]
fn conflicting_lengths_smuggle_nothing() {
    let stub = Stub::ok();
    let stage = Stage::to(&stub);
    let mut client = stage.client();
    client.send(
        request("POST", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n")
            + "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    let _ = client.reply(false);
    std::thread::sleep(Duration::from_millis(100));
    assert!(stub.seen().iter().all(|head| !head.first.contains("smuggled")), "{:?}", stub.seen());
    let twice = stage.client().ask(&(request("POST", "Content-Length: 4\r\nContent-Length: 5\r\n") + "abcd"));
    assert_eq!(twice.status(), 400);
}

#[test]
fn expectations_are_met_here() {
    let stub = Stub::ok();
    let stage = Stage::to(&stub);
    let mut client = stage.client();
    client.send(request("POST", "Expect: 100-continue\r\nContent-Length: 4\r\n"));
    assert_eq!(client.head().first, "HTTP/1.1 100 Continue");
    client.send("body");
    assert_eq!(client.reply(false).status(), 200);
    assert_eq!(stub.last().get("expect"), None);
}

#[test]
fn http_1_0_clients_are_served() {
    let stub = Stub::saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    let stage = Stage::to(&stub);
    let mut client = stage.client();
    client.send(format!("GET / HTTP/1.0\r\nX-Api-Key: {PHANTOM}\r\n\r\n"));
    let mut all = Vec::new();
    std::io::Read::read_to_end(&mut client.0, &mut all).unwrap();
    let text = String::from_utf8(all).unwrap();
    assert!(text.starts_with("HTTP/1.0 200 OK") && text.ends_with("\r\n\r\nhi"), "{text}");
}

#[test]
fn a_large_head_is_refused_and_a_fair_one_is_not() {
    let stub = Stub::ok();
    let stage = Stage::to(&stub);
    let line = |size: usize| request("GET", &format!("X-Long: {}\r\n", "a".repeat(size)));
    assert_eq!(stage.client().ask(&line(32 * 1024)).status(), 200);
    assert_eq!(stage.client().ask(&line(128 * 1024)).status(), 431);
}

#[test]
fn stopping_lets_a_request_under_way_finish() {
    let (asking, asked) = std::sync::mpsc::channel();
    let asking = std::sync::Mutex::new(asking);
    let stub = Stub::new(move |visit| {
        asking.lock().unwrap().send(()).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        Then::Stay
    });
    let mut stage = Stage::to(&stub);
    let (mut busy, mut idle) = (stage.client(), stage.client());
    busy.send(request("GET", ""));
    asked.recv_timeout(Duration::from_secs(30)).unwrap();
    let began = Instant::now();
    stage.halt();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(busy.reply(false).text(), "ok");
    assert!(idle.is_over());
    assert!(std::os::unix::net::UnixStream::connect(stage.socket()).is_err());
}

// holds: credential-never-returns
#[test]
fn nothing_makes_an_upstream_say_the_credential_back() {
    let stub = Stub::new(|visit| {
        let said = visit.head.get("authorization").unwrap_or_default().to_owned();
        visit.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{said}", said.len()));
        Then::Stay
    });
    let stage = Stage::to(&stub);
    let long = "A".repeat(21);
    for method in
        ["TRACE", "TRACK", "CONNECT", "trace", "Track", "cONNECT", "TRACE!", "TRACE1", "_", "GET|TRACE", &long]
    {
        let reply = stage.client().ask(&request(method, ""));
        assert_eq!((reply.status(), reply.text()), (404, "Not Found"), "{method}");
    }
    assert_eq!(stub.seen().len(), 0);
    let other = Stub::ok();
    let stage = Stage::to(&other);
    for method in ["PROPFIND", "VERSION-CONTROL", "patch"] {
        assert_eq!(stage.client().ask(&request(method, "")).status(), 200, "{method}");
    }
}

#[test]
fn a_long_path_goes_up_whole_and_into_the_audit_file_cut() {
    let stub = Stub::ok();
    let stage = Stage::to(&stub);
    let path = format!("/{}", "long".repeat(7_000));
    assert_eq!(stage.get(&path).status(), 200);
    assert_eq!(stub.last().first, format!("GET {path} HTTP/1.1"));
    let told = stage.audit_of(1)[0]["path"].as_str().unwrap().to_owned();
    assert!(told.len() < 2000 && told.starts_with("/longlong") && told.ends_with('…'), "{}", told.len());
}
