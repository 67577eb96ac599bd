//! One question to the system's credential service: open a sealed credential of this user.
//!
//! Inside a rootless user namespace the `systemd-creds` program takes us for root and fails; the service, which sees the
//! real user, does not. The protocol is Varlink: a JSON object ended by a NUL byte each way. Every failure is `None`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use base::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::answer;

const ANSWER_LIMIT: usize = 1 << 20;

/// Opens `sealed`, the content of a sealed file, for user `uid`.
pub(super) fn decrypt(socket: &Path, name: &str, sealed: &[u8], uid: u32, limit: Duration) -> Option<Secret> {
    let call = json!({
        "method": "io.systemd.Credentials.Decrypt",
        "parameters": { "name": name, "blob": blob(sealed), "scope": "user", "uid": uid },
    });
    let reply = exchange(socket, &call, Instant::now() + limit)?;
    let reply: Value = serde_json::from_slice(&reply).ok()?;
    if reply.get("error").is_some_and(|error| !error.is_null()) {
        tracing::warn!(error = %reply["error"], "the credential service refused to unseal the passphrase");
        return None;
    }
    let data = Zeroizing::new(STANDARD.decode(reply["parameters"]["data"].as_str()?).ok()?);
    answer(&data)
}

/// Sealed files are base64 in lines; one that holds raw bytes is encoded.
fn blob(sealed: &[u8]) -> String {
    let text: Vec<u8> = sealed.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    match String::from_utf8(text) {
        Ok(text) if !text.is_empty() && STANDARD.decode(&text).is_ok() => text,
        _ => STANDARD.encode(sealed),
    }
}

fn exchange(socket: &Path, call: &Value, deadline: Instant) -> Option<Zeroizing<Vec<u8>>> {
    let mut stream = UnixStream::connect(socket).ok()?;
    let left = || Some(deadline.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
    stream.set_write_timeout(left()).ok()?;
    let mut question = call.to_string().into_bytes();
    question.push(0);
    stream.write_all(&question).ok()?;
    let mut reply = Zeroizing::new(Vec::new());
    let mut piece = Zeroizing::new([0u8; 4096]);
    while reply.len() < ANSWER_LIMIT {
        stream.set_read_timeout(Some(left()?)).ok()?;
        let count = stream.read(&mut piece[..]).ok().filter(|n| *n > 0)?;
        reply.extend_from_slice(&piece[..count]);
        if let Some(end) = reply.iter().position(|b| *b == 0) {
            reply.truncate(end);
            return Some(reply);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    const NAME: &str = "terok-sandbox.vault-passphrase";

    /// A stand-in for the system's credential service: checks the question, gives one answer. The real one needs a
    /// systemd newer than the machines that these tests run on have.
    fn served(answer: &'static [u8], sealed: &[u8], limit: Duration) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("service");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = Vec::new();
            let mut byte = [0u8];
            while stream.read(&mut byte).unwrap() == 1 && byte[0] != 0 {
                question.push(byte[0]);
            }
            let _ = stream.write_all(answer);
            let hold = (answer == b"").then(|| std::thread::sleep(Duration::from_millis(300)));
            drop((stream, hold));
            serde_json::from_slice::<Value>(&question).unwrap()
        });
        let found = decrypt(&path, NAME, sealed, 1234, limit).map(|s| s.expose().to_owned());
        let question = server.join().unwrap();
        assert_eq!(question["method"], "io.systemd.Credentials.Decrypt");
        let parameters = &question["parameters"];
        assert_eq!((&parameters["name"], &parameters["scope"]), (&json!(NAME), &json!("user")));
        assert_eq!(parameters["uid"], 1234);
        assert_eq!(parameters["blob"], if sealed == b"raw!" { "cmF3IQ==" } else { "YWJjZGVm" });
        found
    }

    #[test]
    fn a_good_answer_is_the_passphrase_without_its_line_end() {
        let reply = b"{\"parameters\":{\"data\":\"IHB3Cg==\"}}\0";
        for sealed in [b"YWJj\nZGVm\n".as_slice(), b"YWJjZGVm", b"raw!"] {
            assert_eq!(served(reply, sealed, Duration::from_secs(5)), Some(" pw".into()));
        }
    }

    #[test]
    fn every_other_answer_is_none() {
        for reply in [
            b"{\"error\":\"io.systemd.Credentials.NoSuchUser\",\"parameters\":{\"data\":\"cHc=\"}}\0".as_slice(),
            b"{\"parameters\":{}}\0",
            b"{\"parameters\":{\"data\":\"!!\"}}\0",
            b"{\"parameters\":{\"data\":\"\"}}\0",
            b"not json\0",
            b"{\"parameters\":{\"data\":\"cHc=\"}}",
        ] {
            assert_eq!(served(reply, b"YWJjZGVm", Duration::from_secs(5)), None);
        }
        let began = Instant::now();
        assert_eq!(served(b"", b"YWJjZGVm", Duration::from_millis(50)), None);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(decrypt(Path::new("/nonexistent"), NAME, b"x", 1, Duration::from_secs(1)).is_none());
    }
}
