//! Upstreams that are down, leave, reset or stall; clients that leave; and what may be sent twice.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use serde_json::json;

use crate::stage::{PHANTOM, REAL, Reply, Stage, Stub, Then};

fn request(method: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {PHANTOM}\r\n\
         Content-Length: {length}\r\n{more}\r\n{body}"
    )
}

fn outcome(reply: &Reply) -> (u16, &str) {
    (reply.status(), reply.text())
}

/// Leaves without an answer, for the first `times` requests.
fn leaver(times: usize) -> Stub {
    let count = AtomicUsize::new(0);
    Stub::new(move |visit| {
        visit.body();
        if count.fetch_add(1, Ordering::SeqCst) < times {
            return Then::Close;
        }
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        Then::Stay
    })
}

#[test]
fn refused_unresolvable_and_untrusted_upstreams() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for upstream in [format!("http://127.0.0.1:{port}"), "http://no-such-host.invalid".into()] {
        let stage = Stage::new(json!({"p": {"upstream": upstream}}));
        let reply = stage.get("/secret-path?q");
        assert_eq!(outcome(&reply), (502, "Upstream request failed"));
        let line = stage.audit_of(1).remove(0);
        assert_eq!((&line["status"], &line["outcome"]), (&json!(502), &json!("upstream_error")));
    }
}

#[test]
fn only_harmless_requests_are_repeated() {
    for (method, more, hits, ok) in [
        ("POST", "", 1, false),
        ("PUT", "", 1, false),
        ("DELETE", "", 1, false),
        ("GET", "", 2, true),
        ("HEAD", "", 2, true),
        ("OPTIONS", "", 2, true),
        ("POST", "Idempotency-Key: k\r\n", 2, true),
    ] {
        let stub = leaver(1);
        let stage = Stage::to(&stub);
        let reply = stage.client().ask(&request(method, more, "body"));
        if ok {
            assert_eq!(reply.status(), 200, "{method} {more}");
        } else {
            assert_eq!(outcome(&reply), (502, "Upstream disconnected"), "{method}");
            assert_eq!(stage.audit_of(1)[0]["outcome"], "upstream_disconnected");
        }
        assert_eq!(stub.seen().len(), hits, "{method} {more}");
        for head in stub.seen() {
            assert_eq!(
                (head.get("content-length"), head.get("authorization")),
                (Some("4"), Some(&*format!("Bearer {REAL}")))
            );
        }
    }
    let stub = leaver(9);
    assert_eq!(Stage::to(&stub).client().ask(&request("GET", "", "")).status(), 502);
    assert_eq!(stub.seen().len(), 2);
}

#[test]
fn a_repeated_body_is_the_same_body() {
    let bodies = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = bodies.clone();
    let stub = Stub::new(move |visit| {
        let body = visit.body();
        kept.lock().unwrap().push(body);
        if visit.connection == 1 {
            return Then::Close;
        }
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        Then::Stay
    });
    let stage = Stage::to(&stub);
    let body = "0123456789".repeat(50_000);
    assert_eq!(stage.client().ask(&request("POST", "Idempotency-Key: k\r\n", &body)).status(), 200);
    let bodies = bodies.lock().unwrap();
    assert!(bodies.len() == 2 && bodies.iter().all(|b| b == body.as_bytes()));
}

#[test]
fn a_body_too_large_to_remember_is_not_repeated() {
    let stub = leaver(1);
    let stage = Stage::to(&stub);
    let body = "x".repeat(3 * 1024 * 1024);
    let reply = stage.client().ask(&request("POST", "Idempotency-Key: k\r\n", &body));
    assert_eq!(outcome(&reply), (502, "Upstream disconnected"));
    assert_eq!(stub.seen().len(), 1);
}

#[test]
fn a_stale_idle_connection_costs_no_post() {
    let stub = Stub::new(|visit| {
        visit.body();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        // Keep-alive is promised, and then the connection goes away.
        Then::Close
    });
    let stage = Stage::to(&stub);
    for _ in 0..10 {
        assert_eq!(stage.client().ask(&request("POST", "", "body")).status(), 200);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!((stub.connections(), stub.seen().len()), (10, 10));
}

#[test]
fn a_reset_before_the_answer_and_garbage_for_an_answer() {
    let reset = Stub::new(|visit| {
        visit.body();
        visit.reset();
        Then::Close
    });
    let reply = Stage::to(&reset).client().ask(&request("POST", "", "body"));
    assert_eq!(outcome(&reply), (502, "Upstream disconnected"));
    let garbage = Stub::saying("SSH-2.0-OpenSSH\r\n\r\n");
    let reply = Stage::to(&garbage).client().ask(&request("POST", "", "body"));
    assert_eq!(outcome(&reply), (502, "Upstream request failed"));
}

#[test]
fn an_answer_that_breaks_off_is_cut_and_not_replaced() {
    for head in ["Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "Content-Length: 100\r\n\r\nhello"] {
        for with_reset in [true, false] {
            let stub = Stub::new(move |visit| {
                visit.body();
                visit.send(format!("HTTP/1.1 200 OK\r\n{head}"));
                std::thread::sleep(Duration::from_millis(100));
                if with_reset {
                    visit.reset();
                }
                Then::Close
            });
            let stage = Stage::to(&stub);
            let mut client = stage.client();
            client.send(request("GET", "", ""));
            let reply = client.reply(false);
            assert_eq!((reply.status(), reply.text(), reply.whole), (200, "hello", false));
            assert!(client.is_over());
            let line = stage.audit_of(1).remove(0);
            assert_eq!((&line["status"], &line["outcome"]), (&json!(200), &json!("upstream_error")));
            assert_eq!(stub.seen().len(), 1);
        }
    }
}

// improves: 21-5.8-client-gone
#[test]
fn a_client_that_leaves_ends_the_upstream_request() {
    // Before the answer, and in the middle of it.
    for answer in ["", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"] {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (asking, asked) = std::sync::mpsc::channel();
        let (sender, asking) = (std::sync::Mutex::new(sender), std::sync::Mutex::new(asking));
        let stub = Stub::new(move |visit| {
            visit.body();
            asking.lock().unwrap().send(()).unwrap();
            visit.send(answer);
            let closed = matches!(std::io::Read::read(&mut visit.reader, &mut [0]), Ok(0) | Err(_));
            sender.lock().unwrap().send(closed).unwrap();
            Then::Close
        });
        let stage = Stage::to(&stub);
        let mut client = stage.client();
        client.send(request("POST", "", "body"));
        if answer.is_empty() {
            asked.recv_timeout(Duration::from_secs(30)).unwrap();
        } else {
            assert_eq!(client.head().status(), 200);
        }
        drop(client);
        // Long for a busy machine, short against every limit that would end it otherwise.
        assert!(receiver.recv_timeout(Duration::from_secs(15)).unwrap());
        assert_eq!(stage.audit_of(1)[0]["outcome"], "upstream_error");
    }
}

#[test]
fn a_slow_upstream_does_not_hold_the_others() {
    let gates = Arc::new([Barrier::new(2), Barrier::new(2)]);
    let theirs = gates.clone();
    let stub = Stub::new(move |visit| {
        if visit.head.first.contains("slow") {
            // Until the others have been answered.
            for gate in theirs.iter() {
                gate.wait();
            }
        }
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        Then::Stay
    });
    let stage = Stage::to(&stub);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| stage.get("/slow"));
        gates[0].wait();
        for _ in 0..20 {
            assert_eq!(stage.get("/fast").text(), "ok");
        }
        gates[1].wait();
        assert_eq!(slow.join().unwrap().text(), "ok");
    });
}

#[test]
fn an_unusable_audit_file_fails_no_request() {
    let stub = Stub::ok();
    let stage = Stage::to(&stub);
    std::fs::create_dir(stage.dir.path().join("audit.jsonl")).unwrap();
    for _ in 0..3 {
        assert_eq!(stage.get("/").status(), 200);
    }
}
