//! OpenSSH's own format of private keys: read with and without a passphrase, written without.
//!
//! Invariants: both public keys in the file belong to the private one; the comment inside is ignored; a file cannot make
//! us derive its key for longer than a person would wait.

use base::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::bn::BigNum;
use openssl::ec::{EcKey, EcPoint};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Rsa, RsaPrivateKeyBuilder};
use openssl::symm::{Cipher, Crypter, Mode};
use zeroize::Zeroizing;

use super::private::{Curve, Kind, Part, PrivateKey, point_of};
use super::wire::{Reader, put_number, put_string};
use crate::error::VaultError;

const MAGIC: &[u8] = b"openssh-key-v1\0";
/// `ssh-keygen` asks for 24 rounds; 2000 take most of a minute.
const MOST_ROUNDS: u32 = 2000;
/// Width of the lines in the files of `ssh-keygen`.
const LINE: usize = 70;

fn damaged() -> VaultError {
    VaultError::KeyFile { what: "private key", why: "its content is damaged".into() }
}

/// Reads the decoded body of a key file.
pub(super) fn read(bytes: &[u8], passphrase: Option<&Secret>) -> Result<PrivateKey, VaultError> {
    let mut reader = Reader(bytes.strip_prefix(MAGIC).ok_or_else(damaged)?);
    let mut string = || reader.string().ok_or_else(damaged);
    let (cipher, derivation, options) = (string()?, string()?, string()?);
    if reader.u32() != Some(1) {
        return Err(VaultError::KeyFile { what: "private key", why: "it holds several keys".into() });
    }
    let public = reader.string().ok_or_else(damaged)?;
    refuse_foreign(Reader(public).string().ok_or_else(damaged)?)?;
    let secret = reader.string().ok_or_else(damaged)?;
    let locked = cipher != b"none";
    let plain = if locked {
        let passphrase = passphrase.ok_or(VaultError::KeyLocked)?;
        decrypt(cipher, derivation, options, secret, reader.0, passphrase)?
    } else {
        Zeroizing::new(secret.to_vec())
    };
    let mut inner = Reader(&plain);
    let checks = (inner.u32(), inner.u32());
    if checks.0.is_none() || checks.0 != checks.1 {
        return Err(if locked { VaultError::KeyPassphrase } else { damaged() });
    }
    let key = key_of(&mut inner)?;
    let padded = inner.string().is_some() && inner.0.iter().zip(1u8..).all(|(byte, expected)| *byte == expected);
    if !padded {
        return Err(damaged());
    }
    if key.public_blob()? == public { Ok(key) } else { Err(VaultError::KeyMismatch) }
}

/// Names the kinds that cannot be served, before anybody is asked for a passphrase.
pub(super) fn refuse_foreign(algorithm: &[u8]) -> Result<(), VaultError> {
    let name = String::from_utf8_lossy(algorithm);
    let supported = matches!(&*name, "ssh-ed25519" | "ssh-rsa")
        || name.strip_prefix("ecdsa-sha2-").is_some_and(|c| Curve::named(c.as_bytes()).is_some());
    match &*name {
        _ if supported => Ok(()),
        "ssh-dss" => Err(VaultError::KeyType("dsa".into())),
        other if other.starts_with("sk-") => Err(VaultError::KeyType(format!("{other} (kept in a hardware token)"))),
        other => Err(VaultError::KeyType(other.chars().take(64).collect())),
    }
}

fn key_of(inner: &mut Reader<'_>) -> Result<PrivateKey, VaultError> {
    let kind = inner.string().ok_or_else(damaged)?;
    refuse_foreign(kind)?;
    match kind {
        b"ssh-ed25519" => {
            let (public, both) = (inner.string().ok_or_else(damaged)?, inner.string().ok_or_else(damaged)?);
            let (seed, again) = both.split_at_checked(32).ok_or_else(damaged)?;
            if public == again { PrivateKey::ed25519(seed) } else { Err(damaged()) }
        }
        b"ssh-rsa" => {
            let mut number = || inner.number().ok_or_else(damaged);
            let parts = [number()?, number()?, number()?, number()?, number()?, number()?];
            PrivateKey::checked(rsa(parts).map_err(|_| damaged())?)
        }
        _ => {
            let curve = inner.string().and_then(Curve::named).ok_or_else(damaged)?;
            let (point, scalar) = (inner.string().ok_or_else(damaged)?, inner.number().ok_or_else(damaged)?);
            PrivateKey::checked(ecdsa(curve, point, scalar).map_err(|_| damaged())?)
        }
    }
}

fn number(bytes: &[u8]) -> Result<Part, ErrorStack> {
    Part::try_with(|n| n.copy_from_slice(bytes))
}

fn rsa([n, e, d, inverse, p, q]: [&[u8]; 6]) -> Result<PKey<Private>, ErrorStack> {
    let one = BigNum::from_u32(1)?;
    let mut context = openssl::bn::BigNumContext::new_secure()?;
    let d_number = number(d)?;
    let mut crt = |prime: &[u8]| {
        let less = {
            let prime = number(prime)?;
            Part::try_with(|n| n.checked_sub(&prime.0, &one))?
        };
        let mut rest = BigNum::new_secure()?;
        rest.checked_rem(&d_number.0, &less.0, &mut context).map(|()| rest)
    };
    let (dp, dq) = (crt(p)?, crt(q)?);
    // These move into the key, which wipes them.
    let take = |bytes: &[u8]| {
        let mut n = BigNum::new_secure()?;
        n.copy_from_slice(bytes).map(|()| n)
    };
    let key: Rsa<Private> = RsaPrivateKeyBuilder::new(BigNum::from_slice(n)?, BigNum::from_slice(e)?, take(d)?)?
        .set_factors(take(p)?, take(q)?)?
        .set_crt_params(dp, dq, take(inverse)?)?
        .build();
    PKey::from_rsa(key)
}

fn ecdsa(curve: Curve, point: &[u8], scalar: &[u8]) -> Result<PKey<Private>, ErrorStack> {
    let group = curve.group()?;
    let mut context = openssl::bn::BigNumContext::new()?;
    let point = EcPoint::from_bytes(&group, point, &mut context)?;
    PKey::from_ec_key(EcKey::from_private_components(&group, &number(scalar)?.0, &point)?)
}

fn decrypt(
    cipher: &[u8],
    derivation: &[u8],
    options: &[u8],
    secret: &[u8],
    tag: &[u8],
    passphrase: &Secret,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let refuse = |why: &str| VaultError::KeyFile { what: "private key", why: why.to_owned() };
    let (cipher, iv_size) = match cipher {
        b"aes256-ctr" => (Cipher::aes_256_ctr(), 16),
        b"aes192-ctr" => (Cipher::aes_192_ctr(), 16),
        b"aes128-ctr" => (Cipher::aes_128_ctr(), 16),
        b"aes256-cbc" => (Cipher::aes_256_cbc(), 16),
        b"aes192-cbc" => (Cipher::aes_192_cbc(), 16),
        b"aes128-cbc" => (Cipher::aes_128_cbc(), 16),
        b"aes256-gcm@openssh.com" => (Cipher::aes_256_gcm(), 12),
        b"aes128-gcm@openssh.com" => (Cipher::aes_128_gcm(), 12),
        _ => return Err(refuse("its cipher is not supported; `ssh-keygen -p -Z aes256-ctr` changes it")),
    };
    let mut options = Reader(options);
    let (Some(salt), Some(rounds), b"bcrypt") = (options.string(), options.u32(), derivation) else {
        return Err(refuse("its key derivation is not supported"));
    };
    if !(1..=MOST_ROUNDS).contains(&rounds) || salt.is_empty() {
        return Err(refuse("it asks for more key derivation than is reasonable"));
    }
    let mut derived = Zeroizing::new(vec![0u8; cipher.key_len() + iv_size]);
    bcrypt_pbkdf::bcrypt_pbkdf(passphrase.expose().as_bytes(), salt, rounds, &mut derived)
        .map_err(|_| VaultError::KeyPassphrase)?;
    let (key, iv) = derived.split_at(cipher.key_len());
    let opened = if iv_size == 12 {
        openssl::symm::decrypt_aead(cipher, key, Some(iv), &[], secret, tag.get(..16).unwrap_or(&[]))
            .map(Zeroizing::new)
    } else {
        without_padding(cipher, key, iv, secret)
    };
    opened.map_err(|_| VaultError::KeyPassphrase)
}

fn without_padding(cipher: Cipher, key: &[u8], iv: &[u8], secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    let mut crypter = Crypter::new(cipher, Mode::Decrypt, key, Some(iv))?;
    crypter.pad(false);
    let mut plain = Zeroizing::new(vec![0; secret.len() + cipher.block_size()]);
    let mut count = crypter.update(secret, &mut plain)?;
    count += crypter.finalize(&mut plain[count..])?;
    plain.truncate(count);
    Ok(plain)
}

impl PrivateKey {
    /// The key as OpenSSH writes it, without a passphrase and without a comment.
    ///
    /// # Errors
    /// [`VaultError::Crypto`] when memory is short.
    pub fn to_openssh(&self) -> Result<Zeroizing<String>, VaultError> {
        self.encode_openssh().map_err(|_| VaultError::Crypto("encode a key"))
    }

    fn encode_openssh(&self) -> Result<Zeroizing<String>, ErrorStack> {
        let public = self.public_blob().map_err(|_| ErrorStack::get())?;
        // Reserved, so that growing leaves no copies behind.
        let mut secret = Zeroizing::new(Vec::with_capacity(16 * 1024));
        let check = base::ident::random_bytes(4);
        secret.extend_from_slice(&check);
        secret.extend_from_slice(&check);
        put_string(&mut secret, self.kind.algorithm().as_bytes());
        self.put_parts(&mut secret)?;
        put_string(&mut secret, b"");
        (1u8..).take((8 - secret.len() % 8) % 8).for_each(|byte| secret.push(byte));

        let mut body = Zeroizing::new(Vec::with_capacity(16 * 1024));
        body.extend_from_slice(MAGIC);
        put_string(&mut body, b"none");
        put_string(&mut body, b"none");
        put_string(&mut body, b"");
        body.extend_from_slice(&1u32.to_be_bytes());
        put_string(&mut body, &public);
        put_string(&mut body, &secret);
        let digits = Zeroizing::new(STANDARD.encode(&*body));
        let mut text = Zeroizing::new(String::with_capacity(digits.len() * 2 + 128));
        text.push_str("-----BEGIN OPENSSH PRIVATE KEY-----\n");
        for start in (0..digits.len()).step_by(LINE) {
            text.push_str(&digits[start..digits.len().min(start + LINE)]);
            text.push('\n');
        }
        text.push_str("-----END OPENSSH PRIVATE KEY-----\n");
        Ok(text)
    }

    fn put_parts(&self, out: &mut Vec<u8>) -> Result<(), ErrorStack> {
        let wiped = |n: &openssl::bn::BigNumRef| Zeroizing::new(n.to_vec());
        match self.kind {
            Kind::Ed25519 => {
                let (public, seed) = (self.key.raw_public_key()?, Zeroizing::new(self.key.raw_private_key()?));
                put_string(out, &public);
                out.extend_from_slice(&64u32.to_be_bytes());
                out.extend_from_slice(&seed);
                out.extend_from_slice(&public);
            }
            Kind::Rsa => {
                let key = self.key.rsa()?;
                put_number(out, &key.n().to_vec());
                put_number(out, &key.e().to_vec());
                for part in [Some(key.d()), key.iqmp(), key.p(), key.q()].into_iter().flatten() {
                    put_number(out, &wiped(part));
                }
            }
            Kind::Ecdsa(curve) => {
                let key = self.key.ec_key()?;
                put_string(out, curve.ssh_name().as_bytes());
                put_string(out, &point_of(&key)?);
                put_number(out, &wiped(key.private_key()));
            }
        }
        Ok(())
    }
}
