//! Upstreams that say the real credential back: in headers and bodies, encoded, coded, in pieces.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::json;

use crate::stage::{PHANTOM, REAL, Reply, Stage, Stub, Then, logged};

fn request(more: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {PHANTOM}\r\n{more}\r\n")
}

/// An upstream that answers with these bytes after the status line.
fn saying(rest: impl Into<Vec<u8>>) -> Stub {
    let rest = rest.into();
    Stub::new(move |visit| {
        visit.body();
        visit.send([b"HTTP/1.1 200 OK\r\n", &rest[..]].concat());
        Then::Stay
    })
}

fn body(more: &str, body: &[u8]) -> Vec<u8> {
    [format!("{more}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn is_withheld(reply: &Reply) -> bool {
    reply.status() == 502 && reply.text() == "Answer withheld: it holds the real credential" && reply.whole
}

// holds: credential-never-returns
#[test]
fn answer_with_the_credential_is_withheld() {
    let base64 = "cmVhbC1rZXktNWYxY"; // of REAL, but for its last character
    let json = format!("{{\"error\": \"key {REAL} has expired\"}}");
    for rest in [
        body(&format!("X-Auth: Bearer {REAL}\r\n"), b"fine"),
        body(&format!("Set-Cookie: a=1\r\nWww-Authenticate: Bearer x=\"{REAL}\"\r\n"), b"fine"),
        body("Content-Type: application/json\r\n", json.as_bytes()),
        body("", format!("Authorization: Basic {base64}zo=").as_bytes()),
        body("", &[vec![b'x'; 5000], REAL.into()].concat()),
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nreal\r\n9\r\n-key-5f1c\r\n0\r\n\r\n".to_vec(),
        format!("Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Late: {REAL}\r\n\r\n").into(),
    ] {
        let stub = saying(rest.clone());
        let stage = Stage::to(&stub);
        let reply = stage.client().ask(&request("TE: trailers\r\n"));
        let shown = format!("{reply:?}");
        assert!(!shown.contains(REAL) && !shown.contains(base64), "{}", String::from_utf8_lossy(&rest));
        let line = stage.audit_of(1).remove(0);
        assert_eq!(line["outcome"], "credential_echoed", "{shown}");
        if is_withheld(&reply) {
            assert_eq!(line["status"], 502);
        } else {
            // The head was on its way already; nothing of the credential was.
            assert!(!reply.whole && !reply.text().contains("key"), "{shown}");
        }
    }
    assert!(logged().iter().any(|line| line.contains("it holds the real credential") && !line.contains(REAL)));
}

// holds: credential-never-returns
#[test]
fn stream_is_cut_before_the_credential() {
    let stub = Stub::new(|visit| {
        visit.body();
        visit.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in ["data: hello\n\n", "data: my key is real", "-key", "-5f1c and", " more\n\n"] {
            visit.send(format!("{:x}\r\n{piece}\r\n", piece.len()));
            std::thread::sleep(Duration::from_millis(50));
        }
        visit.send("0\r\n\r\n");
        Then::Stay
    });
    let stage = Stage::to(&stub);
    let mut client = stage.client();
    client.send(request(""));
    let reply = client.reply(false);
    assert_eq!((reply.status(), reply.text(), reply.whole), (200, "data: hello\n\ndata: my key is ", false));
    assert!(client.is_over());
    let line = stage.audit_of(1).remove(0);
    assert_eq!((&line["status"], &line["outcome"]), (&json!(200), &json!("credential_echoed")));
    // Its connection is not used again.
    assert_eq!(stage.get("/").status(), 200);
    assert_eq!(stub.connections(), 2);
}

#[test]
fn text_that_begins_like_the_credential_passes_whole() {
    let text = "real-key-5f1 real-key real- real-key-5f1";
    for size in [1, 3, 100] {
        let stub = Stub::new(move |visit| {
            visit.body();
            visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for piece in text.as_bytes().chunks(size) {
                visit.send(format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap()));
            }
            visit.send("0\r\n\r\n");
            Then::Stay
        });
        let stage = Stage::to(&stub);
        let reply = stage.get("/");
        assert_eq!((reply.text(), reply.whole), (text, true));
        let with_length = saying(body("", text.as_bytes()));
        assert_eq!(Stage::to(&with_length).get("/").text(), text);
        assert_eq!(stage.audit_of(1)[0]["outcome"], "ok");
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut coder = GzEncoder::new(Vec::new(), Compression::default());
    coder.write_all(text).unwrap();
    coder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut coder = ZlibEncoder::new(Vec::new(), Compression::default());
    coder.write_all(text).unwrap();
    coder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(text, 3).unwrap()
}

type Coder = fn(&[u8]) -> Vec<u8>;
const CODERS: [(&str, Coder); 3] = [("gzip", gzip), ("deflate", deflate), ("zstd", zstd)];

// holds: credential-never-returns
#[test]
fn coded_answer_is_searched_and_passes_unchanged() {
    let events: String = (0..400)
        .map(|n| {
            format!("data: {{\"type\":\"ping\",\"n\":{n},\"usage\":{{\"input_tokens\":{n},\"output_tokens\":7}}}}\n\n")
        })
        .collect();
    for (name, coder) in CODERS {
        for (text, leaks) in [(events.clone(), false), (format!("{events}data: {REAL}\n\n{events}"), true)] {
            let coded = coder(text.as_bytes());
            let kind = format!("Content-Encoding: {name}\r\nContent-Type: text/event-stream\r\n");
            let stub = saying(body(&kind, &coded));
            let stage = Stage::to(&stub);
            let reply = stage.client().ask(&request("Accept-Encoding: gzip, br, zstd\r\n"));
            assert_eq!(stub.last().all("accept-encoding"), ["identity"]);
            let line = stage.audit_of(1).remove(0);
            if leaks {
                assert!(is_withheld(&reply), "{name}: {reply:?}");
                assert_eq!(line["outcome"], "credential_echoed");
            } else {
                assert!(reply.body == coded && reply.whole, "{name}");
                assert_eq!(reply.head.get("content-encoding"), Some(name));
                assert_eq!((&line["input_tokens"], &line["outcome"]), (&json!(399), &json!("ok")), "{name}");
            }
        }
    }
}

#[test]
fn answer_in_an_unknown_or_broken_coding_is_withheld() {
    for (coding, text) in
        [("compress", &b"\x1f\x9d\x90"[..]), ("gzip, br", b"x"), ("gzip", b"this is not gzip"), ("br", b"\xff\xff\xff")]
    {
        let stub = saying(body(&format!("Content-Encoding: {coding}\r\n"), text));
        let stage = Stage::to(&stub);
        let reply = stage.get("/");
        let expected = "Answer withheld: its coding cannot be searched for the real credential";
        assert_eq!((reply.status(), reply.text()), (502, expected), "{coding}");
        assert_eq!(stage.audit_of(1)[0]["outcome"], "answer_unsearchable");
    }
    // Without a body there is nothing to be searched.
    for (request_line, rest) in [("HEAD", "Content-Length: 9\r\n\r\n"), ("GET", "Content-Length: 0\r\n\r\n")] {
        let stub = saying(format!("Content-Encoding: compress\r\n{rest}"));
        let auth = format!("Authorization: Bearer {PHANTOM}");
        let stage = Stage::to(&stub);
        let mut client = stage.client();
        client.send(format!("{request_line} / HTTP/1.1\r\nHost: x\r\n{auth}\r\n\r\n"));
        assert_eq!(client.reply(true).status(), 200);
    }
}

#[test]
fn new_credential_is_searched_for_as_soon_as_it_is_used() {
    let stub = Stub::new(|visit| {
        visit.body();
        let said = visit.head.get("x-say").unwrap_or_default().to_owned();
        visit.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{said}", said.len()));
        Then::Stay
    });
    let stage = Stage::to(&stub);
    let say = |text: &str| stage.client().ask(&request(&format!("X-Say: {text}\r\n")));
    assert!(is_withheld(&say(REAL)) && say("other-key-77").status() == 200);
    stage.vault.store("p", json!({"type": "oauth", "access_token": "other-key-77"}));
    assert!(is_withheld(&say("other-key-77")) && say(REAL).status() == 200);
}
