//! TLS upstreams: the store's authorities are trusted, others are not, and names are checked.
//!
//! `SSL_CERT_FILE` is read once per broker, and a process has one environment: all cases share it.

use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use crate::stage::{Head, PHANTOM, REAL, Stage};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A server with a certificate for `name`; answers each request with the reversed `Authorization` it got.
    fn serve(&self, name: &str) -> u16 {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = Arc::new(config);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let session = ServerConnection::new(config.clone()).unwrap();
                let stream = StreamOwned::new(session, stream.unwrap());
                std::thread::spawn(move || echo(stream));
            }
        });
        port
    }
}

/// The text from its end to its beginning; an answer that says a credential as it is would be withheld.
fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

/// Answers like a token endpoint to a refresh, and with the reversed `Authorization` to everything else.
fn echo(stream: impl Read + Write) {
    let mut reader = BufReader::new(stream);
    while let Some(head) = Head::read(&mut reader) {
        assert!(head.body(&mut reader, |_| {}));
        let token = r#"{"access_token": "refreshed"}"#;
        let refresh = head.first.starts_with("POST /token ");
        let text = if refresh { token.into() } else { reversed(head.get("authorization").unwrap_or_default()) };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn trust_follows_the_store() {
    let (trusted, unknown) = (Authority::new(), Authority::new());
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("authorities.pem");
    std::fs::write(&store, &trusted.pem).unwrap();
    // SAFETY: no other test of this program reads or writes this variable; the broker reads it when it dials TLS.
    unsafe { std::env::set_var("SSL_CERT_FILE", &store) };
    let upstream = |host: &str, port: u16| json!({"upstream": format!("https://{host}:{port}")});
    let mut login = upstream("localhost", trusted.serve("localhost"));
    let mut cheated = login.clone();
    for (route, authority) in [(&mut login, &trusted), (&mut cheated, &unknown)] {
        let url = format!("https://localhost:{}/token", authority.serve("localhost"));
        route["oauth_refresh"] = json!({"token_url": url, "client_id": "c"});
    }
    let stage = Stage::new(json!({
        "login": login,
        "cheated": cheated,
        "good": upstream("localhost", trusted.serve("localhost")),
        "address": upstream("127.0.0.1", trusted.serve("127.0.0.1")),
        "wrong-name": upstream("localhost", trusted.serve("elsewhere.example")),
        "unknown": upstream("localhost", unknown.serve("localhost")),
    }));
    let ask = |provider: &str| {
        stage.vault.grant(PHANTOM, "s", "t", provider);
        let reply = stage.get("/");
        (reply.status(), if reply.status() == 200 { reversed(reply.text()) } else { reply.text().to_owned() })
    };
    for _ in 0..3 {
        assert_eq!(ask("good"), (200, format!("Bearer {REAL}")));
    }
    assert_eq!(ask("address"), (200, format!("Bearer {REAL}")));
    for provider in ["wrong-name", "unknown"] {
        assert_eq!(ask(provider), (502, "Upstream request failed".to_owned()), "{provider}");
    }
    // Tokens are refreshed over the same TLS.
    for provider in ["login", "cheated"] {
        stage
            .vault
            .store(provider, json!({"type": "oauth", "access_token": "old", "refresh_token": "r", "expires_at": 1}));
    }
    assert_eq!(ask("login"), (200, "Bearer refreshed".to_owned()));
    assert_eq!(ask("cheated"), (200, "Bearer old".to_owned()));
}
