//! A vault, an agent on a socket, and a client that speaks raw bytes. Keys come from OpenSSL, not from the vault.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base::secret::Secret;
use server::Running;
use signer::{Access, Agent};
use vault::{Owner, Store, VaultCell};

pub const SCOPE: &str = "proj";
pub const SUBJECT: &str = "task";
pub const FAILURE: &[u8] = &[5];

/// Longest silence a test waits for; the signer's own limits are longer or tested with a clock of their own.
const PATIENCE: Duration = Duration::from_secs(4);

/// A key as the vault stores it, and its public half as OpenSSL wants it.
#[derive(Clone)]
pub struct Key {
    pub kind: &'static str,
    pub der: Vec<u8>,
    pub blob: Vec<u8>,
    pub public_pem: String,
}

/// Runs OpenSSL on standard input.
pub fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    use std::process::Stdio;
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "openssl {arguments:?}");
    done.stdout
}

impl Key {
    pub fn ed25519() -> Self {
        let der = openssl(&["genpkey", "-algorithm", "ed25519", "-outform", "DER"], b"");
        let public = openssl(&["pkey", "-inform", "DER", "-pubout", "-outform", "DER"], &der);
        let blob = strings(&[b"ssh-ed25519", &public[public.len() - 32..]]);
        Self::with("ed25519", der, blob)
    }

    pub fn rsa() -> Self {
        let bits = "rsa_keygen_bits:2048";
        let pem = openssl(&["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", bits], b"");
        let der = openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &pem);
        let public = openssl(&["rsa", "-inform", "DER", "-RSAPublicKey_out", "-outform", "DER"], &der);
        // SEQUENCE { INTEGER n, INTEGER e }: the content of a DER integer is what SSH calls an mpint.
        let (_, sequence) = der_item(&public);
        let (rest, modulus) = der_item(sequence);
        let (_, exponent) = der_item(rest);
        Self::with("rsa", der, strings(&[b"ssh-rsa", exponent, modulus]))
    }

    fn with(kind: &'static str, der: Vec<u8>, blob: Vec<u8>) -> Self {
        let public_pem = String::from_utf8(openssl(&["pkey", "-inform", "DER", "-pubout"], &der)).unwrap();
        Self { kind, der, blob, public_pem }
    }

    /// Asks OpenSSL whether `signature`, an SSH signature blob, is this key's over `data`; the algorithm it names.
    pub fn verified(&self, data: &[u8], signature: &[u8]) -> String {
        let (name, rest) = split_string(signature);
        let (raw, rest) = split_string(rest);
        assert!(rest.is_empty());
        let name = String::from_utf8(name.to_vec()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = |file: &str, content: &[u8]| {
            let path = dir.path().join(file);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (key, sig, text) = (file("pub", self.public_pem.as_bytes()), file("sig", raw), file("text", data));
        let mut words = vec!["pkeyutl", "-verify", "-pubin", "-inkey", &key, "-rawin", "-in", &text, "-sigfile", &sig];
        match name.as_str() {
            "rsa-sha2-256" => words.extend(["-digest", "sha256"]),
            "rsa-sha2-512" => words.extend(["-digest", "sha512"]),
            "ssh-ed25519" => assert_eq!(raw.len(), 64),
            other => panic!("{other}"),
        }
        openssl(&words, b"");
        name
    }
}

/// What follows the first DER item, and that item's content.
fn der_item(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (mut length, mut at) = (usize::from(bytes[1]), 2);
    if length >= 0x80 {
        let count = length - 0x80;
        length = bytes[2..2 + count].iter().fold(0, |all, byte| all << 8 | usize::from(*byte));
        at += count;
    }
    (&bytes[at + length..], &bytes[at..at + length])
}

pub fn strings(parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().flat_map(|part| [&(part.len() as u32).to_be_bytes()[..], part].concat()).collect()
}

pub fn split_string(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = bytes.split_first_chunk().unwrap();
    rest.split_at(u32::from_be_bytes(*length) as usize)
}

/// A vault in a directory of its own, and the agent that serves it.
pub struct Stage {
    pub dir: tempfile::TempDir,
    pub store: Arc<Store>,
    pub cell: VaultCell,
    running: Option<Running>,
}

impl Stage {
    /// A vault alone.
    pub fn vault() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("db"), &Secret::new("x")).unwrap());
        Self { dir, cell: VaultCell::open(store.clone()), store, running: None }
    }

    /// A served vault whose scope has one key; the token that opens it.
    pub fn with_key(key: &Key) -> (Self, String) {
        let mut stage = Self::vault();
        stage.add(SCOPE, "one", key);
        let token = stage.token(SCOPE, SUBJECT);
        stage.serve(Access::Tokens(owner()));
        (stage, token)
    }

    pub fn add(&self, scope: &str, comment: &str, key: &Key) -> i64 {
        let print = format!("SHA256:{}", key.blob.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let id = self.store.store_ssh_key(key.kind, &key.der, &key.blob, comment, &print).unwrap();
        self.store.assign_ssh_key(scope, id, false).unwrap();
        id
    }

    pub fn token(&self, scope: &str, subject: &str) -> String {
        self.store.create_token(scope, subject, scope, "ssh").unwrap()
    }

    pub fn agent(&self, access: Access) -> Agent {
        Agent::new(access, self.cell.clone())
    }

    pub fn serve(&mut self, access: Access) {
        self.running = None;
        self.running = Some(Running::unix(self.agent(access), &self.socket()).unwrap());
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    pub fn connect(&self) -> Client {
        Client::connect(&self.socket())
    }

    /// A connection that has shown `token`.
    pub fn admitted(&self, token: &str) -> Client {
        let mut client = self.connect();
        client.send(&strings(&[token.as_bytes()]));
        client
    }
}

pub fn owner() -> Owner {
    Owner::new(SCOPE, SUBJECT)
}

/// The other end of a connection.
pub struct Client(UnixStream);

impl Client {
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Says that nothing more comes.
    pub fn finish(&mut self) {
        self.0.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Sends a message and reads the answer's body.
    pub fn ask(&mut self, body: &[u8]) -> Vec<u8> {
        self.send(&strings(&[body]));
        self.answer().expect("an answer")
    }

    /// The next answer's body; `None` when the connection is closed instead.
    pub fn answer(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        match self.0.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("neither answer nor end"),
            Err(_) => return None,
        }
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut body).unwrap();
        Some(body)
    }

    /// True when the connection ends without a byte.
    pub fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    /// Blobs and comments on offer.
    pub fn list(&mut self) -> Vec<(Vec<u8>, String)> {
        let answer = self.ask(&[11]);
        assert_eq!(answer[0], 12, "{answer:?}");
        let count = u32::from_be_bytes(*answer[1..].first_chunk().unwrap());
        let mut rest = &answer[5..];
        let mut next = || {
            let (item, after) = split_string(rest);
            rest = after;
            item.to_vec()
        };
        let keys = (0..count).map(|_| (next(), String::from_utf8(next()).unwrap())).collect();
        assert!(rest.is_empty());
        keys
    }

    /// The signature blob, or `None` for a refusal.
    pub fn sign(&mut self, blob: &[u8], data: &[u8], flags: u32) -> Option<Vec<u8>> {
        let answer = self.ask(&sign_request(blob, data, flags));
        if answer == FAILURE {
            return None;
        }
        assert_eq!(answer[0], 14);
        let (signature, rest) = split_string(&answer[1..]);
        assert!(rest.is_empty());
        Some(signature.to_vec())
    }
}

pub fn sign_request(blob: &[u8], data: &[u8], flags: u32) -> Vec<u8> {
    [&[13][..], &strings(&[blob, data]), &flags.to_be_bytes()].concat()
}
