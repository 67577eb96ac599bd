//! What the upstream sees and what the client gets back, byte for byte.

use serde_json::json;

use crate::stage::{PHANTOM, REAL, Stage, Stub, Then};

fn good() -> String {
    format!("Authorization: Bearer {PHANTOM}")
}

// improves: 21-5.7-raw-path
#[test]
fn paths_arrive_as_they_were_sent() {
    let stub = Stub::ok();
    let stage = Stage::new(json!({"p": {"upstream": format!("{}/base/", stub.url())}}));
    for path in
        ["/api/v4/projects/g%2Fr", "/v1/x?a=%2F", "/x?", "/%25%zz", "//evil/x", "/a//b/", "/%e2%82%ac", "/a;b=c"]
    {
        assert_eq!(stage.get(path).status(), 200, "{path}");
        assert_eq!(stub.last().first, format!("GET /base{path} HTTP/1.1"));
        assert_eq!(stub.last().all("host"), [format!("127.0.0.1:{}", stub.port)]);
    }
}

#[test]
fn no_target_form_chooses_another_host() {
    let (stub, evil) = (Stub::ok(), Stub::ok());
    let stage = Stage::to(&stub);
    for target in [format!("{}/x", evil.url()), format!("//127.0.0.1:{}/x", evil.port)] {
        assert_eq!(stage.ask(&format!("GET {target}"), &[&good()]).status(), 200);
    }
    let mut client = stage.client();
    let text = format!("GET /x HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{}\r\n\r\n", evil.port, good());
    assert_eq!(client.ask(&text).status(), 200);
    assert_eq!((stub.seen().len(), evil.seen().len()), (3, 0));
    assert_eq!(stub.seen()[0].first, "GET /x HTTP/1.1");
}

#[test]
fn path_prefixes_choose_the_upstream() {
    let (api, chat) = (Stub::ok(), Stub::ok());
    let routes = json!({"p": {"upstream": api.url(), "path_upstreams": {"/backend-api/": chat.url()}}});
    let stage = Stage::new(routes);
    for path in ["/backend-api/me", "/backend-api", "/backend-apix"] {
        assert_eq!(stage.get(path).status(), 200);
    }
    assert_eq!((api.seen().len(), chat.seen().len()), (2, 1));
}

#[test]
fn connection_tricks_do_not_work() {
    let stub = Stub::new(|visit| {
        visit.body();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        Then::Stay
    });
    let stage = Stage::new(json!({"p": {"upstream": stub.url(), "auth_header": "dynamic"}}));
    let reply = stage.client().ask(&format!(
        "POST /x HTTP/1.1\r\nHost: x\r\nConnection: x-api-key, authorization, content-length, x-mine, host\r\n\
         X-Mine: 1\r\nTE: trailers\r\nProxy-Authorization: Basic eA==\r\nContent-Length: 4\r\n{}\r\n\r\nbody",
        good()
    ));
    assert_eq!(reply.status(), 200);
    let head = stub.last();
    assert_eq!(head.all("x-api-key"), [REAL]);
    assert_eq!(head.all("content-length"), ["4"]);
    for gone in ["x-mine", "te", "proxy-authorization", "authorization", "connection"] {
        assert!(head.all(gone).is_empty(), "{gone}: {head:?}");
    }
    assert_eq!(head.all("host"), [format!("127.0.0.1:{}", stub.port)]);
}

// improves: 21-5.6-nothing-injected 21-5.6-repeated-request-headers
#[test]
fn nothing_is_added_and_repeated_headers_stay() {
    let stub = Stub::ok();
    let stage = Stage::to(&stub);
    let lines = [&good(), "X-Multi: a", "Cookie: c=1", "X-Multi: b", "Upgrade: h2c", "Connection: upgrade"];
    assert_eq!(stage.ask("GET /", &lines).status(), 200);
    let mut names: Vec<_> = stub.last().headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
    names.sort();
    let host = format!("host: 127.0.0.1:{}", stub.port);
    let auth = format!("authorization: Bearer {REAL}");
    assert_eq!(names, [auth.as_str(), "cookie: c=1", &host, "x-multi: a", "x-multi: b"]);
}

// improves: 21-5.6-response-headers 21-5.6-encoded-bodies
#[test]
fn answers_come_back_unchanged() {
    let stub = Stub::saying(
        "HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nETag: \"x\"\r\n\
         Content-Encoding: gzip\r\nContent-Length: 5\r\nX-Request-Id: r\r\nWWW-Authenticate: Bearer\r\n\
         Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\r\n\x1f\x08nop",
    );
    let stage = Stage::to(&stub);
    let reply = stage.get("/");
    assert_eq!((reply.status(), reply.body.as_slice()), (429, &b"\x1f\x08nop"[..]));
    let mut names: Vec<_> = reply.head.headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "content-encoding: gzip",
            "content-length: 5",
            "etag: \"x\"",
            "retry-after: 7",
            "set-cookie: a=1",
            "set-cookie: b=2",
            "www-authenticate: Bearer",
            "x-request-id: r",
        ]
    );
    // A completed answer is `ok` in the audit, whatever its status.
    assert_eq!(stage.audit_of(1)[0]["outcome"], "ok");
    assert_eq!(stage.audit()[0]["status"], 429);
}

#[test]
fn answers_without_a_body() {
    let stub = Stub::new(|visit| {
        visit.body();
        let method = visit.head.first.split(' ').next().unwrap().to_owned();
        visit.send(match method.as_str() {
            "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
            "GET" => "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n",
            _ => "HTTP/1.1 204 No Content\r\n\r\n",
        });
        Then::Stay
    });
    let stage = Stage::to(&stub);
    let mut client = stage.client();
    for (method, status) in [("HEAD", 200), ("GET", 304), ("DELETE", 204), ("HEAD", 200)] {
        let reply = client.ask(&format!("{method} / HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n", good()));
        let reply = (reply.status(), reply.head.get("content-length").map(str::to_owned), reply.body.len());
        let length = (method == "HEAD").then(|| "1234".to_owned());
        assert_eq!(reply, (status, length, 0), "{method}");
    }
    assert_eq!(stub.connections(), 1);
    assert_eq!(stage.audit_of(4).len(), 4);
}

// improves: 21-5.3-routes-reloaded
#[test]
fn a_changed_route_table_is_taken_while_running() {
    let (old, new) = (Stub::ok(), Stub::ok());
    let stage = Stage::to(&old);
    assert_eq!(stage.get("/").status(), 200);
    let path = stage.dir.path().join("routes.json");
    std::fs::write(&path, "{broken").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(stage.get("/").status(), 200);
    std::fs::write(&path, json!({"p": {"upstream": new.url()}}).to_string()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(stage.get("/").status(), 200);
    assert_eq!((old.seen().len(), new.seen().len()), (2, 1));
}

// holds: credential-endpoints-denied
#[test]
fn denied_endpoint_is_refused_and_audited() {
    let stub = Stub::ok();
    let deny = ["/user/keys", "POST /v1/tokens", "/root/secret"];
    let stage = Stage::new(json!({"p": {"upstream": format!("{}/root", stub.url()), "deny": deny}}));
    let requests =
        ["GET /user/keys", "POST /user//KEYS/7?x=1", "DELETE /user/%6beys;a", "post /v1/tokens/", "GET /secret"];
    for request in requests {
        let reply = stage.ask(request, &[&good(), "Content-Length: 0"]);
        assert_eq!((reply.status(), reply.text()), (403, "Endpoint denied: it hands out credentials"), "{request}");
    }
    let line = stage.audit_of(requests.len()).remove(1);
    assert_eq!(
        (&line["outcome"], &line["status"], &line["path"], &line["provider"]),
        (&json!("endpoint_denied"), &json!(403), &json!("/user//KEYS/7"), &json!("p"))
    );
    assert_eq!(stub.seen().len(), 0);
    for request in ["GET /v1/tokens", "GET /user", "GET /v1/secret"] {
        assert_eq!(stage.ask(request, &[&good()]).status(), 200, "{request}");
    }
}
