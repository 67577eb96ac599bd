//! Who gets in: tokens, markers, other containers' tokens, a locked vault; and what is audited about it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::{CODEX_SHARED_OAUTH_MARKER, Markers, Owner, PHANTOM_CREDENTIALS_MARKER};
use serde_json::{Value, json};
use vault::{VaultCell, VaultState};

use crate::stage::{PHANTOM, REAL, Stage, Stub, TestVault, logged};

#[test]
fn every_carrier_is_swapped_and_none_leaks() {
    let stub = Stub::ok();
    let url = stub.url();
    let stage = Stage::new(json!({
        "p": {"upstream": url},
        "token": {"upstream": url, "auth_prefix": "token "},
        "private": {"upstream": url, "auth_header": "PRIVATE-TOKEN", "auth_prefix": ""},
        "dynamic": {"upstream": url, "auth_header": "dynamic", "auth_prefix": ""},
    }));
    let expected = [
        ("p", "authorization", format!("Bearer {REAL}")),
        ("token", "authorization", format!("token {REAL}")),
        ("private", "private-token", REAL.to_owned()),
        ("dynamic", "x-api-key", REAL.to_owned()),
    ];
    for (provider, header, value) in expected {
        stage.vault.grant("T", "s", "t", provider);
        for line in ["Authorization: Bearer T", "authorization: token T", "X-API-Key: T", "PRIVATE-TOKEN: T"] {
            let reply = stage.ask("GET /x", &[line, "x-api-key: T", "private-token: T"]);
            assert_eq!(reply.status(), 200, "{provider} {line}");
            let head = stub.last();
            assert_eq!(head.all(header), [value.as_str()], "{provider} {line}");
            assert!(!head.headers.iter().any(|(_, v)| v == "T" || v.ends_with(" T")), "{head:?}");
        }
    }
}

#[test]
fn refusals_as_the_table_says() {
    let table: Value = serde_json::from_str(include_str!("../../../tests/fixtures/broker/refusals.json")).unwrap();
    let stub = Stub::ok();
    let stage = Stage::new(json!({"p": {"upstream": stub.url()}, "empty": {"upstream": stub.url()}}));
    stage.vault.grant("unrouted", "s", "t", "ssh");
    stage.vault.grant("unset", "s", "t", "empty");
    stage.vault.sql("DELETE FROM credentials WHERE provider = 'empty'", &[]);
    for (provider, record) in table["records"].as_object().unwrap() {
        stage.vault.grant_set(provider, "s", "t", provider, "p");
        stage.vault.store_set(provider, "p", record.clone());
    }
    let mut audited = 0;
    for case in table["cases"].as_array().unwrap() {
        let lines: Vec<&str> = case["headers"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
        let reply = stage.ask(case["request"].as_str().unwrap(), &lines);
        assert_eq!(reply.status(), case["status"], "{case}");
        assert_eq!(reply.text(), case["body"].as_str().unwrap(), "{case}");
        if let Some(label) = case["outcome"].as_str() {
            audited += 1;
            let lines = stage.audit_of(audited);
            assert_eq!(lines.last().unwrap()["outcome"], label, "{case}");
            assert_eq!(lines.last().unwrap()["status"], case["status"], "{case}");
        }
    }
    assert_eq!(stage.audit().len(), audited);
    assert_eq!(stub.seen().len(), 0, "nothing refused reaches the upstream");
}

#[test]
fn health_needs_no_token() {
    let stub = Stub::ok();
    let stage = Stage::to(&stub);
    let reply = stage.ask("GET /-/health", &[]);
    assert_eq!((reply.status(), reply.text()), (200, r#"{"status": "ok"}"#));
    assert!(reply.head.get("content-type").unwrap().starts_with("application/json"));
    assert_eq!(stage.ask("HEAD /-/health", &[]).status(), 200);
    assert_eq!(stage.ask("POST /-/health", &["Content-Length: 0"]).status(), 401);
    assert_eq!(stage.audit_of(1).len(), 1);
}

#[test]
fn revoking_acts_at_the_next_request() {
    let stub = Stub::ok();
    let stage = Stage::to(&stub);
    let mut client = stage.client();
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Api-Key: {PHANTOM}\r\n\r\n");
    assert_eq!(client.ask(&request).status(), 200);
    stage.vault.sql("DELETE FROM proxy_tokens", &[]);
    let reply = client.ask(&request);
    assert_eq!((reply.status(), reply.text()), (401, "Invalid token"));
}

// improves: 21-5.12-markers-scoped
#[test]
fn another_containers_token_is_no_token() {
    let stub = Stub::ok();
    let identity = Owner::new("proj", "task");
    let stage = Stage::with(json!({"p": {"upstream": stub.url()}}), identity, Markers::default());
    stage.vault.grant("other-task", "proj", "task2", "p");
    stage.vault.grant("other-project", "proj2", "task", "p");
    assert_eq!(stage.get("/").status(), 200);
    for token in ["other-task", "other-project"] {
        let reply = stage.ask("GET /", &[&format!("Authorization: Bearer {token}")]);
        assert_eq!((reply.status(), reply.text()), (401, "Invalid token"));
    }
    // The refusal tells the audit nothing about whose token it was.
    assert_eq!(stage.audit_of(3)[1]["scope"], "");
}

// holds: no-owner-no-access
#[test]
fn live_token_is_refused_where_no_owner_is_known() {
    let stub = Stub::ok();
    let stage = Stage::with(json!({"p": {"upstream": stub.url()}}), Owner::Unknown, Markers::default());
    let reply = stage.get("/");
    assert_eq!((reply.status(), reply.text()), (401, "Invalid token"));
    assert_eq!(stub.seen().len(), 0);
}

// improves: 21-5.12-markers-scoped
#[test]
fn markers_follow_the_allowance() {
    let stub = Stub::ok();
    let routes = json!({"claude": {
        "upstream": stub.url(), "auth_header": "dynamic", "auth_prefix": "",
        "oauth_extra_headers": {"anthropic-beta": "oauth-2025-04-20"},
    }});
    let line = format!("Authorization: Bearer {PHANTOM_CREDENTIALS_MARKER}");
    let stage = Stage::with(routes.clone(), Owner::Everyone, Markers::default());
    stage.vault.store("claude", json!({"type": "oauth", "access_token": "at", "refresh_token": "rt"}));
    for (sent, expected) in [
        (&["Anthropic-Beta: x"][..], "x,oauth-2025-04-20"),
        (&["anthropic-beta: oauth-2025-04-20"][..], "oauth-2025-04-20"),
        (&[][..], "oauth-2025-04-20"),
    ] {
        let lines: Vec<&str> = sent.iter().copied().chain([line.as_str()]).collect();
        assert_eq!(stage.ask("GET /", &lines).status(), 200);
        assert_eq!(stub.last().all("anthropic-beta"), [expected]);
        assert_eq!(stub.last().all("authorization"), ["Bearer at"]);
    }
    let audited = stage.audit_of(3).pop().unwrap();
    assert_eq!((&audited["scope"], &audited["subject"]), (&json!("__static__"), &json!("__static__")));

    let none = Markers { allowed: Some(vec![]), ..Markers::default() };
    let closed = Stage::with(routes, Owner::Everyone, none);
    assert_eq!(closed.ask("GET /", &[&line]).status(), 401);
}

// improves: 21-5.12-markers-scoped
#[test]
fn a_marker_lives_in_its_containers_set_and_dies_with_its_tokens() {
    let stub = Stub::ok();
    let owner = Owner::new("proj", "task");
    let markers = Markers { allowed: Some(vec!["claude".into(), "codex".into()]), credential_set: "team".into() };
    let route = json!({"upstream": stub.url()});
    let stage = Stage::with(json!({"p": route, "claude": route, "codex": route}), owner, markers);
    stage.vault.store_set("team", "claude", json!({"type": "oauth", "access_token": "team-token"}));
    stage.vault.store_set("team", "codex", json!({"type": "api_key", "key": REAL}));
    let claude = format!("Authorization: Bearer {PHANTOM_CREDENTIALS_MARKER}");
    let ask = |line: &str| stage.ask("GET /", &[line]).status();
    assert_eq!(ask(&claude), 200);
    assert_eq!(stub.last().all("authorization"), ["Bearer team-token"]);
    let line = stage.audit_of(1).remove(0);
    assert_eq!((&line["scope"], &line["subject"]), (&json!("proj"), &json!("task")));
    assert_eq!(line["credential_set"], "team");
    // A marker is for a login, never for a key.
    assert_eq!(ask(&format!("Authorization: Bearer {CODEX_SHARED_OAUTH_MARKER}")), 401);
    // Another task's revocation changes nothing, its own does.
    stage.vault.grant("other", "proj", "task2", "p");
    stage.vault.store.revoke_tokens("proj", "task2").unwrap();
    assert_eq!(ask(&claude), 200);
    stage.vault.store.revoke_tokens("proj", "task").unwrap();
    assert_eq!(ask(&claude), 401);
    assert_eq!(stage.audit_of(4).pop().unwrap()["outcome"], "invalid_token");
}

#[test]
fn consumption_is_audited_and_the_stream_is_untouched() {
    let events = concat!(
        "data: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-x\",\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\n",
        "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":42}}\n\n",
    );
    let stub = Stub::new(move |visit| {
        visit.body();
        visit.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in events.as_bytes().chunks(11) {
            visit.send(format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap()));
        }
        if visit.head.first.contains("cut") {
            return crate::stage::Then::Close;
        }
        visit.send("0\r\n\r\n");
        crate::stage::Then::Stay
    });
    let stage = Stage::to(&stub);
    for path in ["/whole", "/cut"] {
        let reply = stage.get(path);
        assert_eq!(reply.text(), events);
    }
    for line in stage.audit_of(2) {
        assert_eq!(
            (&line["model"], &line["input_tokens"], &line["output_tokens"]),
            (&json!("claude-x"), &json!(5), &json!(42))
        );
    }
}

#[test]
fn audit_lines_have_exactly_the_agreed_keys() {
    let stub = Stub::ok();
    let stage = Stage::to(&stub);
    assert_eq!(stage.get("/v1/a%2Fb?secret=1").status(), 200);
    let line = stage.audit_of(1).remove(0);
    let object = line.as_object().unwrap();
    let keys: Vec<_> = object.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["ts", "scope", "subject", "credential_set", "provider", "method", "path", "status", "outcome", "duration_ms"]
    );
    assert_eq!((&line["scope"], &line["path"], &line["outcome"]), (&json!("proj"), &json!("/v1/a%2Fb"), &json!("ok")));
    let text = line.to_string();
    assert!(!text.contains(PHANTOM) && !text.contains(REAL) && !text.contains("secret"));
}

// improves: 21-5.4-log-without-query
#[test]
fn the_log_holds_no_query_and_no_header() {
    let stub = Stub::ok();
    let stage = Stage::to(&stub);
    let auth = format!("Authorization: Bearer {PHANTOM}");
    let lines = [auth.as_str(), "User-Agent: agent-4d2e", "Referer: http://x/?referer-4d2e", "X-Mine: mine-4d2e"];
    assert_eq!(stage.ask("GET /path-91c0?query-4d2e=1", &lines).status(), 200);
    assert_eq!(stage.ask("GET /path-91c0?query-4d2e=1", &["X-Api-Key: token-4d2e"]).status(), 401);
    stage.audit_of(2);
    let text = logged().join("\n");
    assert_eq!(text.matches("/path-91c0").count(), 2, "{text}");
    assert!(!text.contains("4d2e") && !text.contains(PHANTOM) && !text.contains(REAL), "{text}");
}

#[test]
fn requests_wait_for_the_first_unlock() {
    let stub = Stub::ok();
    let vault = Arc::new(TestVault::default());
    vault.grant(PHANTOM, "s", "t", "p");
    vault.store("p", json!({"key": REAL}));
    let cell = VaultCell::new();
    let routes = json!({"p": {"upstream": stub.url()}});
    let stage = Stage::start(routes, Owner::Everyone, Markers::default(), vault.clone(), cell.clone());
    let began = Instant::now();
    let unlocker = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        cell.set(VaultState::Open(vault.store.clone()));
    });
    assert_eq!(stage.get("/").status(), 200);
    assert!(began.elapsed() >= Duration::from_millis(250));
    unlocker.join().unwrap();

    stage.cell.set(VaultState::Unlocking);
    let health = stage.ask("GET /-/health", &[]);
    assert_eq!(health.status(), 503, "a launcher is told that somebody is here while the unlock takes its time");

    stage.cell.set(VaultState::Locked("no passphrase".into()));
    for request in ["GET /-/health", "POST /v1/x"] {
        let reply = stage.ask(request, &["Content-Length: 0"]);
        assert_eq!((reply.status(), reply.text()), (503, "Vault locked"));
    }
    stage.cell.set(VaultState::Open(stage.vault.store.clone()));
    assert_eq!(stage.get("/").status(), 200);
}

#[test]
fn the_real_store_is_a_vault() {
    let stub = Stub::ok();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("credentials.db");
    let store = vault::Store::open(&path, &base::secret::Secret::new("pw")).unwrap();
    let record = json!({"type": "api_key", "key": REAL});
    store.store_credential("default", "p", record.as_object().unwrap()).unwrap();
    let token = store.create_token("proj", "task", "default", "p").unwrap();
    let store = Arc::new(store);
    let stage = Stage::to(&stub);
    stage.cell.set(VaultState::Open(store.clone()));
    let line = format!("x-api-key: {token}");
    assert_eq!(stage.ask("GET /", &[&line]).status(), 200);
    assert_eq!(stub.last().all("authorization"), [format!("Bearer {REAL}")]);
    // Another process revokes: a second connection to the same file.
    let other = vault::Store::open(&path, &base::secret::Secret::new("pw")).unwrap();
    assert_eq!(other.revoke_tokens("proj", "task").unwrap(), 1);
    assert_eq!(stage.ask("GET /", &[&line]).status(), 401);
    store.close();
    let reply = stage.ask("GET /", &[&line]);
    assert_eq!((reply.status(), reply.text()), (503, "Vault unavailable"));
}
