//! Public keys: their one-line form and their fingerprint.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use super::openssh::refuse_foreign;
use super::wire::Reader;
use crate::error::VaultError;

/// A public key line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// SSH wire form.
    pub blob: Vec<u8>,
    /// What follows the key on its line.
    pub comment: String,
}

impl PublicKey {
    /// Reads the content of a `.pub` file.
    ///
    /// # Errors
    /// [`VaultError::KeyFile`] when it is no public key line, [`VaultError::KeyType`] for unsupported kinds.
    pub fn from_file_bytes(bytes: &[u8]) -> Result<Self, VaultError> {
        let refuse = |why: &str| VaultError::KeyFile { what: "public key", why: why.to_owned() };
        let text = std::str::from_utf8(bytes).map_err(|_| refuse("it is not text"))?.trim();
        if text.lines().count() != 1 {
            return Err(refuse("it is not one line"));
        }
        let (algorithm, rest) = text.split_once([' ', '\t']).ok_or_else(|| refuse("it is not a public key line"))?;
        let rest = rest.trim_start();
        let (digits, comment) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let blob = STANDARD.decode(digits).map_err(|_| refuse("its base64 is damaged"))?;
        match Reader(&blob).string() {
            Some(inside) if inside == algorithm.as_bytes() => refuse_foreign(inside)?,
            _ => return Err(refuse("its content is damaged")),
        }
        Ok(Self { blob, comment: comment.trim().to_owned() })
    }
}

/// `SHA256:` and the unpadded base64 of the digest of a public key's wire form.
pub fn fingerprint_of(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

/// The first eight hexadecimal digits of the same digest; part of the name of an exported file.
pub(super) fn short_id(blob: &[u8]) -> String {
    hex(&Sha256::digest(blob)[..4])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Algorithm, base64 and comment on one line, without a trailing blank.
///
/// # Errors
/// [`VaultError::KeyFile`] when the wire form does not begin with an algorithm's name.
pub fn line_of(blob: &[u8], comment: &str) -> Result<String, VaultError> {
    let algorithm = Reader(blob).string().and_then(|name| std::str::from_utf8(name).ok());
    let algorithm = algorithm
        .filter(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()))
        .ok_or_else(|| VaultError::KeyFile { what: "public key", why: "its stored form is damaged".into() })?;
    Ok(format!("{algorithm} {} {comment}", STANDARD.encode(blob)).trim_end().to_owned())
}
