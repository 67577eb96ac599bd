//! The first bytes of a connection: what protocol it is, and which name it asks for.
//!
//! Bytes are hostile. TLS is parsed by rustls' own server side; nothing is answered here.

use std::io::Cursor;

use rustls::server::Acceptor;
use terok_shield_policy::Name;

/// The most bytes that a hello may take.
pub const MAX_HELLO: usize = 64 * 1024;
/// The extension that hides the real name.
const ENCRYPTED_HELLO: u16 = 0xfe0d;

/// What the first bytes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// Not enough bytes to tell.
    More,
    /// A TLS hello.
    Tls {
        /// The name it asks for.
        name: Option<Name>,
        /// True when it hides another name.
        encrypted: bool,
    },
    /// A TLS record that is no proper hello.
    BrokenTls,
    /// An HTTP/1 request.
    Http,
    /// The preface of HTTP/2 without TLS.
    Http2,
    /// Anything else.
    Other,
}

/// Looks at the bytes so far; `complete` says that no more will come.
pub fn look(bytes: &[u8], complete: bool) -> First {
    match bytes {
        [] if complete => First::Other,
        [] => First::More,
        // A TLS record of type handshake, version 3.x.
        [0x16] if !complete => First::More,
        [0x16, 3, ..] => look_at_tls(bytes, complete),
        _ => look_at_text(bytes, complete),
    }
}

fn look_at_tls(bytes: &[u8], complete: bool) -> First {
    let mut acceptor = Acceptor::default();
    let mut rest = Cursor::new(&bytes[..bytes.len().min(MAX_HELLO)]);
    loop {
        match acceptor.read_tls(&mut rest) {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return First::BrokenTls,
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let name = hello.server_name().and_then(|name| Name::parse(name).ok());
                return First::Tls { name, encrypted: has_extension(bytes, ENCRYPTED_HELLO) };
            }
            Err(_) => return First::BrokenTls,
        }
    }
    if complete || bytes.len() >= MAX_HELLO { First::BrokenTls } else { First::More }
}

/// True when the hello has an extension. The hello itself has been checked; a walk that does not fit finds nothing.
fn has_extension(bytes: &[u8], wanted: u16) -> bool {
    extensions(&handshake(bytes)).is_some_and(|found| found.contains(&wanted))
}

/// The handshake message, out of as many records as it takes.
fn handshake(bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    let mut rest = bytes;
    while let [0x16, _, _, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (record, next) = tail.split_at(length.min(tail.len()));
        message.extend_from_slice(record);
        rest = next;
    }
    message
}

fn extensions(message: &[u8]) -> Option<Vec<u16>> {
    // Type, length, version and random.
    let mut rest = message.get(4 + 2 + 32..)?;
    rest = skip(rest, 1)?;
    rest = skip(rest, 2)?;
    rest = skip(rest, 1)?;
    rest = rest.get(2..)?;
    let mut found = Vec::new();
    while let [a, b, tail @ ..] = rest {
        found.push(u16::from_be_bytes([*a, *b]));
        rest = skip(tail, 2)?;
    }
    Some(found)
}

/// Leaves out a value that has its length in front, in one or two bytes.
fn skip(bytes: &[u8], width: usize) -> Option<&[u8]> {
    let length = bytes.get(..width)?.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
    bytes.get(width + length..)
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
const METHODS: [&str; 9] = ["GET ", "POST ", "PUT ", "HEAD ", "DELETE ", "OPTIONS ", "PATCH ", "TRACE ", "CONNECT "];

fn look_at_text(bytes: &[u8], complete: bool) -> First {
    let starts = |word: &[u8]| bytes.starts_with(word);
    let may_become = |word: &[u8]| !complete && bytes.len() < word.len() && word.starts_with(bytes);
    if starts(PREFACE) {
        return First::Http2;
    }
    if METHODS.iter().any(|method| starts(method.as_bytes())) || is_request_line(bytes) {
        return First::Http;
    }
    if may_become(PREFACE) || METHODS.iter().any(|method| may_become(method.as_bytes())) {
        return First::More;
    }
    First::Other
}

/// Any method: a token, a space, a target, and the version of the protocol at the end of the first line.
fn is_request_line(bytes: &[u8]) -> bool {
    let line = &bytes[..bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0)];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let token = line.iter().position(|byte| *byte == b' ').map(|end| &line[..end]);
    let token = token.is_some_and(|word| !word.is_empty() && word.iter().all(u8::is_ascii_alphabetic));
    token && [&b" HTTP/1.1"[..], b" HTTP/1.0"].iter().any(|version| line.ends_with(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_other_protocols_as_soon_as_it_can_be() {
        for (bytes, complete, expected) in [
            (&b""[..], false, First::More),
            (b"", true, First::Other),
            (b"G", false, First::More),
            (b"GE", true, First::Other),
            (b"GET / HTTP/1.1\r\n", false, First::Http),
            (b"PROPFIND /x HTTP/1.1\r\n", false, First::Http),
            (b"PRI * HTTP/2.0\r\n\r\nSM", false, First::Http2),
            (b"PRI", false, First::More),
            (b"SSH-2.0-x\r\n", false, First::Other),
            (b"EHLO a\r\n", false, First::Other),
            (b"\x00\x01", false, First::Other),
            (b"\x16", false, First::More),
            (b"\x16\x02", false, First::Other),
            (b"\x16\x03\x01", false, First::More),
            (b"\x16\x03\x01\x00\x05\x02\x00\x00\x00\x00", false, First::BrokenTls),
            (b"\x16\x03\x01\x00", true, First::BrokenTls),
        ] {
            assert_eq!(look(bytes, complete), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
