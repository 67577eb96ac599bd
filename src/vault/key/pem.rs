//! Key files of every kind that people have: OpenSSH's own, PKCS#1, SEC 1 and PKCS#8, with or without a passphrase.
//!
//! Invariants: without a passphrase nothing ever asks for one; decoded material is wiped; what is refused is named.

use base::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::ec::EcKey;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use zeroize::Zeroizing;

use super::private::PrivateKey;
use super::{der, openssh};
use crate::error::VaultError;

/// Largest key file; an RSA key of 16384 bits has about 13 kB.
pub const LARGEST_FILE: u64 = 64 * 1024;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

fn unreadable(why: &str) -> VaultError {
    VaultError::KeyFile { what: "private key", why: why.to_owned() }
}

struct Block<'a> {
    label: &'a str,
    /// Encrypted the way OpenSSL did before PKCS#8.
    legacy_encryption: bool,
    bytes: Zeroizing<Vec<u8>>,
    text: &'a str,
}

impl PrivateKey {
    /// Reads the private key in a key file.
    ///
    /// # Errors
    /// [`VaultError::KeyLocked`] when it needs a passphrase and none is given, [`VaultError::KeyPassphrase`] when the
    /// given one is wrong, [`VaultError::KeyFile`] and [`VaultError::KeyType`] for the rest.
    pub fn from_file_bytes(bytes: &[u8], passphrase: Option<&Secret>) -> Result<Self, VaultError> {
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(unreadable("it is larger than any key file"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| unreadable("it is not a text file with a key"))?;
        let block = block(text)?;
        match block.label {
            "OPENSSH PRIVATE KEY" => openssh::read(&block.bytes, passphrase),
            "DSA PRIVATE KEY" => Err(VaultError::KeyType("dsa".into())),
            "PRIVATE KEY" => Self::from_pkcs8(&block.bytes),
            "ENCRYPTED PRIVATE KEY" => {
                let passphrase = passphrase.ok_or(VaultError::KeyLocked)?;
                if !der::is_affordable(&block.bytes) {
                    return Err(unreadable("it asks for more key derivation than is reasonable"));
                }
                let key = PKey::private_key_from_pkcs8_passphrase(&block.bytes, passphrase.expose().as_bytes());
                Self::checked(key.map_err(|_| VaultError::KeyPassphrase)?)
            }
            "RSA PRIVATE KEY" | "EC PRIVATE KEY" if block.legacy_encryption => {
                let passphrase = passphrase.ok_or(VaultError::KeyLocked)?;
                let key = PKey::private_key_from_pem_passphrase(block.text.as_bytes(), passphrase.expose().as_bytes());
                Self::checked(key.map_err(|_| VaultError::KeyPassphrase)?)
            }
            "RSA PRIVATE KEY" => Self::plain(Rsa::private_key_from_der(&block.bytes).and_then(PKey::from_rsa)),
            "EC PRIVATE KEY" => Self::plain(EcKey::private_key_from_der(&block.bytes).and_then(PKey::from_ec_key)),
            label if label.ends_with("PRIVATE KEY") => Err(VaultError::KeyType(label.to_lowercase())),
            _ => Err(unreadable("the file holds something else than a private key")),
        }
    }

    fn plain(read: Result<PKey<openssl::pkey::Private>, openssl::error::ErrorStack>) -> Result<Self, VaultError> {
        Self::checked(read.map_err(|_| unreadable("its content is damaged"))?)
    }
}

/// The first block of the file that holds a private key, else its first block: EC files begin with their parameters.
fn block(text: &str) -> Result<Block<'_>, VaultError> {
    let mut starts =
        text.match_indices(BEGIN).map(|(at, _)| at).filter(|at| *at == 0 || text.as_bytes()[at - 1] == b'\n');
    let first = starts.next().ok_or_else(|| unreadable(foreign(text)))?;
    let label = |at: usize| text[at + BEGIN.len()..].split_once(DASHES).map_or("", |(label, _)| label);
    let start = std::iter::once(first).chain(starts).find(|at| label(*at).ends_with("PRIVATE KEY")).unwrap_or(first);
    let label = label(start);
    let end = format!("{DASHES}END {label}{DASHES}");
    let body_at = start + BEGIN.len() + label.len() + DASHES.len();
    let body = text.get(body_at..).filter(|_| !label.is_empty() && label.len() < 64);
    let length = body.and_then(|body| body.find(&end)).ok_or_else(|| unreadable("its end is missing"))?;
    let body = &text[body_at..body_at + length];
    let legacy_encryption = body.contains("ENCRYPTED");
    Ok(Block {
        label,
        legacy_encryption,
        bytes: if legacy_encryption { Zeroizing::default() } else { decode(body)? },
        text: &text[start..body_at + length + end.len()],
    })
}

/// Base64 with line breaks of any width; header lines (`Name: value`) are passed over.
fn decode(body: &str) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let mut digits = Zeroizing::new(Vec::with_capacity(body.len()));
    for line in body.lines().filter(|line| !line.contains(':')) {
        digits.extend(line.bytes().filter(|b| !b.is_ascii_whitespace()));
    }
    STANDARD.decode(&*digits).map(Zeroizing::new).map_err(|_| unreadable("its base64 is damaged"))
}

fn foreign(text: &str) -> &'static str {
    if text.starts_with("PuTTY-User-Key-File") {
        return "it is a PuTTY key; `puttygen FILE -O private-openssh` converts it";
    }
    let public = ["ssh-", "ecdsa-", "sk-"].iter().any(|start| text.starts_with(start));
    if public { "it is a public key" } else { "it is not a text file with a key" }
}
