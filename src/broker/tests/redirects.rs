//! Redirects: followed without the credential where nothing can be changed by it, passed on bare otherwise.

use serde_json::json;

use crate::stage::{PHANTOM, REAL, Stage, Stub, Then};

fn pointing(to: String, status: u16) -> Stub {
    Stub::new(move |visit| {
        visit.body();
        visit.send(format!(
            "HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nX-Hop: first\r\nContent-Length: 4\r\n\r\ngone"
        ));
        Then::Stay
    })
}

// improves: 21-5.8-redirects
#[test]
fn harmless_requests_follow_without_the_credential() {
    let lines = [
        format!("Authorization: Bearer {PHANTOM}"),
        "Accept: a/b".into(),
        "Accept-Encoding: gzip".into(),
        "User-Agent: agent".into(),
        "Cookie: c=1".into(),
        "X-Other: 1".into(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    for status in [301, 302, 303, 307, 308] {
        let target = Stub::saying("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlogs");
        let stub = pointing(format!("{}/download?sig=%2F#part", target.url()), status);
        let stage = Stage::to(&stub);
        let reply = stage.ask("GET /logs", &lines);
        assert_eq!((reply.status(), reply.text()), (200, "logs"), "{status}");
        assert_eq!(stub.last().all("authorization"), [format!("Bearer {REAL}")]);
        let head = target.last();
        assert_eq!(head.first, "GET /download?sig=%2F HTTP/1.1");
        let mut names: Vec<_> = head.headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
        names.sort();
        let host = format!("host: 127.0.0.1:{}", target.port);
        assert_eq!(names, ["accept-encoding: gzip", "accept: a/b", &host, "user-agent: agent"]);
        assert_eq!(stage.audit_of(1)[0]["outcome"], "ok");
    }
}

#[test]
fn other_requests_get_the_redirect_without_its_address() {
    let target = Stub::ok();
    let stub = pointing(target.url(), 302);
    let stage = Stage::to(&stub);
    let line = format!("Authorization: Bearer {PHANTOM}");
    for (method, body) in [("POST", "x"), ("PATCH", "x"), ("GET", "x")] {
        let text = format!("{method} / HTTP/1.1\r\nHost: x\r\n{line}\r\nContent-Length: 1\r\n\r\n{body}");
        let reply = stage.client().ask(&text);
        assert_eq!((reply.status(), reply.text()), (302, "gone"), "{method}");
        assert_eq!((reply.head.get("location"), reply.head.get("x-hop")), (None, Some("first")));
    }
    assert_eq!(target.seen().len(), 0);
}

#[test]
fn redirects_that_lead_nowhere_are_the_answer() {
    for to in ["ftp://h/x", "file:///etc/passwd", "http://user:pw@127.0.0.1/", "http://"] {
        let stub = pointing(to.to_owned(), 302);
        let reply = Stage::to(&stub).get("/");
        assert_eq!((reply.status(), reply.head.get("location")), (302, None), "{to}");
        assert_eq!(stub.seen().len(), 1);
    }
}

#[test]
fn a_circle_ends_and_its_hops_are_bare() {
    let stub = pointing("/again".to_owned(), 302);
    let stage = Stage::to(&stub);
    assert_eq!(stage.get("/").status(), 302);
    let seen = stub.seen();
    assert_eq!(seen.len(), 6);
    assert!(seen[1..].iter().all(|head| head.get("authorization").is_none()));
}

#[test]
fn a_dead_target_is_a_failed_request() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let stub = pointing(format!("http://127.0.0.1:{port}/"), 302);
    let stage = Stage::new(json!({"p": {"upstream": stub.url()}}));
    let reply = stage.get("/");
    assert_eq!((reply.status(), reply.text()), (502, "Upstream request failed"));
}
