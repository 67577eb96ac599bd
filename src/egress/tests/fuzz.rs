//! Ten thousand broken inputs each for DNS and for the first bytes of connections: no panic, no growth.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use terok_egress::{First, fuzz, look};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }
}

fn mutate(random: &mut Random, valid: &[u8]) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            2 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            3 => bytes.insert(at, 0xc0),
            _ => {
                let tail = bytes[at..].to_vec();
                bytes.extend_from_slice(&tail[..tail.len().min(64)]);
            }
        }
    }
    bytes
}

#[test]
fn dns_survives_ten_thousand_broken_messages() {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 4];
    query.extend_from_slice(b"good\x04test\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0");
    let mut answer = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0, 4];
    answer.extend_from_slice(b"good\x04test\0\0\x01\0\x01");
    answer.extend_from_slice(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x0c");
    answer.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc6\x33\x64\x07");
    assert!(fuzz::query(&query));
    assert_eq!(fuzz::answer(&answer), Some(1));
    let mut random = Random(0x5eed_0003);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..10_000 {
        if fuzz::query(&mutate(&mut random, &query)) {
            good += 1
        } else {
            bad += 1
        }
        let input = mutate(&mut random, &answer);
        assert!(fuzz::answer(&input).unwrap_or_default() <= input.len());
    }
    assert!(good > 100 && bad > 1000, "{good} {bad}");
}

fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut connection =
        ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

/// Splits the one record of a hello into records of `piece` bytes.
fn in_records(hello: &[u8], piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in hello[5..].chunks(piece) {
        out.extend_from_slice(&[0x16, 3, 1]);
        out.extend_from_slice(&u16::try_from(part.len()).unwrap().to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

#[test]
fn hello_survives_ten_thousand_broken_inputs_and_never_yields_another_name() {
    let valid = hello("good.test");
    let named = |first: &First| match first {
        First::Tls { name, .. } => name.as_ref().map(ToString::to_string),
        _ => None,
    };
    assert_eq!(named(&look(&valid, false)).as_deref(), Some("good.test"));
    for piece in [1, 7, 100] {
        assert_eq!(named(&look(&in_records(&valid, piece), false)).as_deref(), Some("good.test"), "{piece}");
    }
    for end in 1..valid.len() {
        assert_eq!(look(&valid[..end], false), First::More, "{end}");
        assert_eq!(look(&valid[..end], true), if end < 2 { First::Other } else { First::BrokenTls }, "{end}");
    }
    let mut random = Random(0x5eed_0004);
    for round in 0..10_000 {
        let base = if round % 2 == 0 { valid.clone() } else { in_records(&valid, 40) };
        let input = mutate(&mut random, &base);
        let first = look(&input, round % 3 == 0);
        // A name that comes out is in the input, byte for byte.
        if let Some(name) = named(&first) {
            let text = input.to_ascii_lowercase();
            let plain = text.windows(name.len()).any(|window| window == name.as_bytes());
            assert!(plain || round % 2 == 1, "{name}");
        }
    }
}

#[test]
fn hello_is_refused_as_broken_when_it_is_larger_than_any_hello() {
    let mut endless = vec![0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    endless.resize(terok_egress::MAX_HELLO, 7);
    assert_eq!(look(&endless, false), First::BrokenTls);
}

#[test]
fn encrypted_hello_is_seen_wherever_its_extension_is() {
    let valid = hello("good.test");
    // The list of extensions is at the end; one more is appended, and every length around it grows.
    let mut bytes = valid.clone();
    bytes.extend_from_slice(&[0xfe, 0x0d, 0, 13, 0, 0, 1, 0, 1, 7, 0, 1, 0xaa, 0, 2, 0xbb, 0xcc]);
    let grow = |bytes: &mut Vec<u8>, at: usize| {
        let length = u16::from_be_bytes([bytes[at], bytes[at + 1]]) + 17;
        bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
    };
    grow(&mut bytes, 3);
    grow(&mut bytes, 7);
    // After record header, message header, version, random, session, suites and compression.
    let mut at = 5 + 4 + 2 + 32;
    at += 1 + usize::from(bytes[at]);
    at += 2 + usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    at += 1 + usize::from(bytes[at]);
    grow(&mut bytes, at);
    for input in [bytes.clone(), in_records(&bytes, 50)] {
        assert!(matches!(look(&input, false), First::Tls { encrypted: true, name: Some(_) }));
    }
    assert!(matches!(look(&valid, false), First::Tls { encrypted: false, .. }));
}

#[test]
fn http_head_survives_ten_thousand_broken_inputs() {
    let valid = b"POST /path HTTP/1.1\r\nHost: good.test\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(look(valid, false), First::Http);
    let mut random = Random(0x5eed_0005);
    for _ in 0..10_000 {
        let input = mutate(&mut random, valid);
        assert!(!matches!(look(&input, true), First::More | First::Tls { name: Some(_), .. }));
    }
}
