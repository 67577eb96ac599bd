//! The HTTP contract: a table of requests, and what is said in which order.

use base::secret::Secret;
use gate::{Gate, GateConfig, GateError, Limits};

use crate::stage::{Stage, TOKEN};

const TABLE: &str = include_str!("../../../tests/fixtures/gate/contract.json");
/// `base64("<TOKEN>:x")` and `base64("x:<TOKEN>")`.
fn filled(auth: &str) -> String {
    use base64::Engine;
    let encode = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    let auth = auth.replace("PAIR", &encode(format!("{TOKEN}:x")));
    auth.replace("SWAPPED", &encode(format!("x:{TOKEN}"))).replace("TOKEN", TOKEN)
}

/// The request of one line of the table.
fn request(case: &serde_json::Value) -> String {
    let text = |key: &str, default: &str| case[key].as_str().unwrap_or(default).to_owned();
    let mut head =
        format!("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", text("method", "GET"), text("path", ""));
    if let Some(auth) = case["auth"].as_str() {
        head += &format!("Authorization: {}\r\n", filled(auth));
    }
    for header in case["headers"].as_array().into_iter().flatten() {
        head += &format!("{}\r\n", header.as_str().unwrap());
    }
    format!("{head}\r\n{}", text("send", ""))
}

// improves: 22-S5-repository-name 22-S8-wrong-token
#[test]
fn every_line_of_the_table_is_answered_as_it_says() {
    let stage = Stage::new();
    let table: serde_json::Value = serde_json::from_str(TABLE).unwrap();
    for case in table.as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let answer = stage.raw(request(case).as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = case["status"].as_u64().unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
        let has = |header: &str| head.lines().any(|line| line.eq_ignore_ascii_case(header));
        if let Some(header) = case["header"].as_str() {
            assert!(has(header), "{name}: {head}");
        }
        // What hyper itself refuses carries no name of ours.
        assert!(case["bare"] == true || has("server: terok-gate/1.0"), "{name}: {head}");
        if let Some(expected) = case["body"].as_str() {
            assert_eq!(body, expected, "{name}");
        }
        assert!(!answer.contains(TOKEN), "{name}");
    }
}

#[test]
fn a_repository_that_is_not_there_is_not_found_after_the_credentials() {
    let stage = Stage::new();
    std::fs::remove_dir_all(stage.repository()).unwrap();
    let ask = |auth: &str| {
        format!("GET /proj.git/HEAD HTTP/1.1\r\nHost: l\r\nConnection: close\r\nAuthorization: {auth}\r\n\r\n")
    };
    assert!(stage.raw(ask(&filled("Basic PAIR")).as_bytes()).starts_with("HTTP/1.1 404 "));
    assert!(stage.raw(ask("Basic b3RoZXI6").as_bytes()).starts_with("HTTP/1.1 403 "));
}

#[test]
fn expect_is_answered_and_a_connection_is_kept() {
    use std::io::{Read, Write};
    let stage = Stage::new();
    let mut stream = std::os::unix::net::UnixStream::connect(stage.socket()).unwrap();
    let auth = filled("Authorization: Basic PAIR");
    let post = "POST /proj.git/git-receive-pack HTTP/1.1\r\nHost: l\r\n";
    let kind = "Content-Type: application/x-git-receive-pack-request\r\n";
    for _ in 0..3 {
        write!(stream, "{post}{auth}\r\n{kind}Content-Length: 4\r\nExpect: 100-continue\r\n\r\n").unwrap();
        let mut said = vec![0; 25];
        stream.read_exact(&mut said).unwrap();
        assert_eq!(said, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"0000").unwrap();
        let mut answer = vec![0; 4096];
        let count = stream.read(&mut answer).unwrap();
        assert!(answer[..count].starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer[..count]));
    }
    write!(stream, "GET /proj.git/HEAD HTTP/1.1\r\nHost: l\r\nConnection: close\r\n{auth}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ref: refs/heads/main\n"), "{answer}");
}

// improves: 22-S3-constant-time 21-7.10-constant-time
#[test]
fn a_gate_without_a_usable_name_or_token_is_not_made() {
    let config = |scope: &str, token: &str| GateConfig {
        base: "/nowhere".into(),
        scope: scope.into(),
        token: Secret::new(token),
        limits: Limits::default(),
    };
    for scope in ["", ".", "..", "-x", "a/b", "a b", "ä", "a\0", "_a"] {
        assert!(matches!(Gate::new(config(scope, "t")), Err(GateError::Scope(_))), "{scope}");
    }
    for token in ["", "a:b"] {
        assert!(matches!(Gate::new(config("a", token)), Err(GateError::Token(_))), "{token}");
    }
    let shown = format!("{:?}", config("a", TOKEN));
    assert!(!shown.contains(TOKEN) && Gate::new(config("a.b_c-d", TOKEN)).is_ok(), "{shown}");
}
