//! WebSockets: two handshakes, messages both ways, pings per leg, and how sessions end.

// The library decides what a refused handshake looks like.
#![allow(clippy::result_large_err)]

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, accept_hdr, client};

use crate::stage::{PHANTOM, REAL, Stage, Stub};

type Seen = Arc<Mutex<Vec<HeaderMap>>>;

/// An upstream that agrees to a WebSocket, choosing the last offered subprotocol, and then does as it is told.
fn upstream(then: impl Fn(WebSocket<TcpStream>) + Clone + Send + 'static) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let kept = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (then, kept) = (then.clone(), kept.clone());
            std::thread::spawn(move || {
                let greet = |request: &Request, response: Response| greet(request, response, &kept);
                if let Ok(socket) = accept_hdr(stream.unwrap(), greet) {
                    then(socket);
                }
            });
        }
    });
    (url, seen)
}

fn greet(request: &Request, mut response: Response, seen: &Seen) -> Result<Response, ErrorResponse> {
    seen.lock().unwrap().push(request.headers().clone());
    let offered = request.headers().get("sec-websocket-protocol").and_then(|v| v.to_str().ok()).unwrap_or_default();
    if let Some(last) = offered.split(", ").last().filter(|last| !last.is_empty()) {
        response.headers_mut().insert("sec-websocket-protocol", last.parse().unwrap());
    }
    if request.headers().get("authorization").and_then(|v| v.to_str().ok()) != Some(&format!("Bearer {REAL}")) {
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = StatusCode::UNAUTHORIZED;
        return Err(refusal);
    }
    Ok(response)
}

fn echo(mut socket: WebSocket<TcpStream>) {
    while let Ok(message) = socket.read() {
        if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
            return;
        }
    }
}

type Socket = WebSocket<UnixStream>;

fn dial(stage: &Stage, more: &[(&'static str, &str)]) -> Result<(Socket, HeaderMap), u16> {
    let mut request = "ws://localhost/v1/responses?x=1".into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {PHANTOM}").parse().unwrap());
    for (name, value) in more {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let stream = UnixStream::connect(stage.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    match client(request, stream) {
        Ok((socket, response)) => Ok((socket, response.headers().clone())),
        Err(tokio_tungstenite::tungstenite::HandshakeError::Failure(Error::Http(response))) => {
            Err(response.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

fn to(url: &str) -> Stage {
    Stage::new(json!({"p": {"upstream": url}}))
}

/// How the session ends for the client.
fn ending(socket: &mut Socket) -> Option<(u16, String)> {
    loop {
        match socket.read() {
            Ok(Message::Close(frame)) => return frame.map(|f| (f.code.into(), f.reason.to_string())),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

fn code(socket: &mut Socket) -> u16 {
    ending(socket).expect("a close frame").0
}

// improves: 21-5.9-websocket-legs
#[test]
fn each_leg_has_its_own_handshake() {
    let (url, seen) = upstream(echo);
    let stage = to(&url);
    let offers = [
        ("sec-websocket-protocol", "one,two, three"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("x-other", "kept"),
    ];
    let (mut socket, headers) = dial(&stage, &offers).unwrap();
    assert_eq!(headers["sec-websocket-protocol"], "three");
    assert!(headers.get("sec-websocket-extensions").is_none());
    let up = seen.lock().unwrap()[0].clone();
    let list = |name: &str| up.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(list("sec-websocket-protocol"), ["one, two, three"]);
    assert_eq!((list("sec-websocket-version"), list("sec-websocket-key").len()), (vec!["13".to_owned()], 1));
    assert_eq!((list("sec-websocket-extensions"), list("x-other")), (vec![], vec!["kept".to_owned()]));
    assert_eq!(list("authorization"), [format!("Bearer {REAL}")]);
    assert!(!format!("{up:?}").contains(PHANTOM));
    for message in
        [Message::text("a"), Message::text("ä".repeat(1 << 19)), Message::binary(vec![7; 1 << 20]), Message::text("")]
    {
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    assert_eq!(stage.audit().len(), 0, "the line is written at the end");
    socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "done".into() })).unwrap();
    assert_eq!(code(&mut socket), 1000);
    let line = stage.audit_of(1).remove(0);
    assert_eq!((&line["status"], &line["outcome"], &line["method"]), (&json!(101), &json!("ok"), &json!("GET")));
    assert_eq!((&line["path"], &line["provider"]), (&json!("/v1/responses"), &json!("p")));
    // Offers may come in several lines.
    let key = "Sec-WebSocket-Key: a2V5a2V5a2V5a2V5a2V5aw==";
    let offers = ["Sec-WebSocket-Protocol: one", "Sec-WebSocket-Protocol: two,three"];
    let common = ["Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Version: 13", key];
    let auth = format!("Authorization: Bearer {PHANTOM}");
    let reply = stage.ask("GET /", &[&common[..], &offers[..], &[auth.as_str()]].concat());
    assert_eq!((reply.status(), reply.head.get("sec-websocket-protocol")), (101, Some("three")));
    assert_eq!(seen.lock().unwrap()[1]["sec-websocket-protocol"], "one, two, three");
    // No subprotocol offered, none chosen.
    assert!(dial(&stage, &[]).unwrap().1.get("sec-websocket-protocol").is_none());
}

// improves: 21-5.9-websocket-legs
#[test]
fn one_ping_gets_one_pong_and_goes_no_further() {
    let (sender, heard) = std::sync::mpsc::channel();
    let (url, _) = upstream(move |mut socket| {
        socket.send(Message::Ping("from-upstream".into())).unwrap();
        while let Ok(message) = socket.read() {
            sender.send(message.clone()).unwrap();
            if message.is_text() {
                socket.send(message).unwrap();
            }
        }
    });
    let stage = to(&url);
    let (mut socket, _) = dial(&stage, &[]).unwrap();
    socket.send(Message::Ping("from-client".into())).unwrap();
    socket.send(Message::text("end")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("from-client".into()));
    assert_eq!(socket.read().unwrap(), Message::text("end"));
    let mut upstream: Vec<_> = (0..2).map(|_| heard.recv_timeout(Duration::from_secs(30)).unwrap()).collect();
    upstream.extend(heard.recv_timeout(Duration::from_millis(500)).ok());
    let pong = Message::Pong("from-upstream".into());
    assert!(upstream.contains(&pong) && upstream.len() == 2, "{upstream:?}");
}

#[test]
fn the_upstreams_close_code_reaches_the_client() {
    for (frame, expected) in [
        (Some(CloseFrame { code: 4001.into(), reason: "because".into() }), (4001, "because")),
        (Some(CloseFrame { code: CloseCode::Restart, reason: "".into() }), (1012, "")),
        (None, (1000, "")),
    ] {
        let (url, _) = upstream(move |mut socket| {
            let _ = socket.read();
            let _ = socket.close(frame.clone());
            while socket.read().is_ok() {}
        });
        let stage = to(&url);
        let (mut socket, _) = dial(&stage, &[]).unwrap();
        socket.send(Message::text("go")).unwrap();
        assert_eq!(ending(&mut socket), Some((expected.0, expected.1.to_owned())));
        assert_eq!(stage.audit_of(1)[0]["outcome"], "ok");
    }
}

#[test]
fn the_clients_end_reaches_the_upstream() {
    for politely in [true, false] {
        let (sender, ended) = std::sync::mpsc::channel();
        let (url, _) = upstream(move |mut socket| {
            let mut last = None;
            while let Ok(message) = socket.read() {
                last = Some(message);
            }
            sender.send(last).unwrap();
        });
        let stage = to(&url);
        let (mut socket, _) = dial(&stage, &[]).unwrap();
        if politely {
            socket.close(Some(CloseFrame { code: 4002.into(), reason: "bye".into() })).unwrap();
            assert_eq!(code(&mut socket), 4002);
        }
        drop(socket);
        let last = ended.recv_timeout(Duration::from_secs(15)).unwrap();
        let Some(Message::Close(Some(frame))) = last else { panic!("{last:?}") };
        assert_eq!(u16::from(frame.code), if politely { 4002 } else { 1000 });
        assert_eq!(stage.audit_of(1).len(), 1);
    }
}

#[test]
fn an_upstream_that_dies_ends_in_1011() {
    for stayed in [false, true] {
        let (url, _) = upstream(move |mut socket| {
            if stayed {
                let _ = socket.read();
            }
            drop(socket);
        });
        let stage = to(&url);
        let (mut socket, _) = dial(&stage, &[]).unwrap();
        let _ = socket.send(Message::text("x"));
        assert_eq!(code(&mut socket), 1011);
        assert_eq!(stage.audit_of(1)[0]["outcome"], "upstream_error");
    }
}

#[test]
fn upstreams_that_do_not_agree() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(dial(&to(&format!("http://{nobody}")), &[]).unwrap_err(), 502);
    for (answer, status) in [
        ("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", 502),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
            502,
        ),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n", 502),
        ("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 4\r\n\r\nplain", 426),
    ] {
        let stub = Stub::saying(answer);
        let stage = Stage::to(&stub);
        assert_eq!(dial(&stage, &[]).unwrap_err(), status, "{answer}");
        // A refusal is not audited, an upstream's answer is.
        assert_eq!(stage.audit().len(), usize::from(status == 426));
    }
}

#[test]
fn requests_that_are_no_handshake_go_nowhere() {
    let stub = Stub::ok();
    let stage = Stage::to(&stub);
    let auth = format!("Authorization: Bearer {PHANTOM}");
    let good = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: a2V5a2V5a2V5a2V5a2V5aw==",
    ];
    for (first, missing) in
        [("POST /", ""), ("GET /", "Connection"), ("GET /", "Sec-WebSocket-Version"), ("GET /", "Sec-WebSocket-Key")]
    {
        let mut lines: Vec<&str> =
            good.iter().copied().filter(|l| missing.is_empty() || !l.starts_with(missing)).collect();
        lines.extend([auth.as_str(), "Content-Length: 0"]);
        let reply = stage.ask(first, &lines);
        assert_eq!((reply.status(), reply.text()), (400, "Invalid websocket request"), "{first} {missing}");
    }
    let reply = stage.ask("GET /", &[&good[..], &["Authorization: Bearer nobody"]].concat());
    assert_eq!(reply.status(), 401);
    assert_eq!(stub.seen().len(), 0);
}

#[test]
fn a_message_too_large_ends_the_session() {
    let (url, _) = upstream(echo);
    let stage = to(&url);
    let (mut socket, _) = dial(&stage, &[]).unwrap();
    let most = Message::binary(vec![1; 16 << 20]);
    socket.send(most.clone()).unwrap();
    assert_eq!(socket.read().unwrap().len(), most.len());
    let _ = socket.send(Message::binary(vec![1; (16 << 20) + 1]));
    assert!(matches!(ending(&mut socket), Some((1009, _)) | None));
    assert_eq!(stage.audit_of(1)[0]["status"], 101);
}

#[test]
fn a_revoked_token_ends_the_session_at_the_next_message() {
    let (url, _) = upstream(echo);
    let stage = to(&url);
    let (mut socket, _) = dial(&stage, &[]).unwrap();
    socket.send(Message::text("a")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("a"));
    stage.vault.store.revoke_tokens("proj", "task").unwrap();
    socket.send(Message::text("b")).unwrap();
    assert_eq!(code(&mut socket), 1008);
}

#[test]
fn a_broker_that_stops_says_so() {
    let (url, _) = upstream(echo);
    let mut stage = to(&url);
    let (mut socket, _) = dial(&stage, &[]).unwrap();
    let began = Instant::now();
    let reader = std::thread::spawn(move || code(&mut socket));
    stage.halt();
    assert_eq!(reader.join().unwrap(), 1001);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(stage.audit_of(1)[0]["status"], 101);
}

#[test]
fn what_the_answers_consumed_adds_up() {
    let (url, _) = upstream(|mut socket| {
        while let Ok(Message::Text(_)) = socket.read() {
            let event = json!({"type": "response.completed", "response": {"model": "gpt-y", "usage": {"input_tokens": 10, "output_tokens": 3}}});
            socket.send(Message::text(event.to_string())).unwrap();
        }
        while socket.read().is_ok() {}
    });
    let stage = to(&url);
    let (mut socket, _) = dial(&stage, &[]).unwrap();
    for _ in 0..2 {
        socket.send(Message::text("{}")).unwrap();
        assert!(socket.read().unwrap().is_text());
    }
    socket.close(None).unwrap();
    let line = stage.audit_of(1).remove(0);
    assert_eq!(
        (&line["model"], &line["input_tokens"], &line["output_tokens"]),
        (&json!("gpt-y"), &json!(20), &json!(6))
    );
}

#[test]
fn a_rejected_login_is_refreshed_before_the_upgrade() {
    let (url, seen) = upstream(echo);
    let vendor = Stub::new(|visit| {
        visit.body();
        let text = json!({"access_token": REAL, "refresh_token": "r2"}).to_string();
        visit.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()));
        crate::stage::Then::Stay
    });
    let refresh = json!({"token_url": vendor.url(), "client_id": "c"});
    let stage = Stage::new(json!({"p": {"upstream": url, "oauth_refresh": refresh}}));
    stage.vault.store("p", json!({"type": "oauth", "access_token": "old", "refresh_token": "r1", "expires_at": 4e9}));
    let (mut socket, _) = dial(&stage, &[]).unwrap();
    socket.send(Message::text("a")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("a"));
    assert_eq!((seen.lock().unwrap().len(), vendor.seen().len()), (2, 1));
}

// holds: credential-never-returns
#[test]
fn message_with_the_credential_ends_the_session() {
    for told in [REAL.to_owned(), format!("{{\"key\": \"Bearer {REAL}\"}}"), "cmVhbC1rZXktNWYxYw".into()] {
        let said = told.clone();
        let (url, _) = upstream(move |mut socket| {
            let _ = socket.send(Message::text("hello"));
            let _ = socket.send(Message::text(said.clone()));
            while socket.read().is_ok() {}
        });
        let stage = to(&url);
        let (mut socket, _) = dial(&stage, &[]).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text("hello"));
        let reason = "Answer withheld: it holds the real credential";
        assert_eq!(ending(&mut socket), Some((1008, reason.to_owned())), "{told}");
        let line = stage.audit_of(1).remove(0);
        assert_eq!((&line["outcome"], &line["status"]), (&json!("credential_echoed"), &json!(101)));
    }
}
