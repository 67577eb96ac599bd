//! Signatures as SSH wants them.
//!
//! Invariants: the stored private and public key are a pair; an RSA signature is never made with SHA-1; nothing about
//! the data or the key reaches an error or a log line.

use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::sign;

use super::private::{Curve, Kind, PrivateKey};
use super::wire;
use crate::error::VaultError;
use crate::sshkey::KeyRecord;

/// Flag of a sign request: RSA with SHA-256, which is what we do anyway.
pub const RSA_SHA2_256: u32 = 2;
/// Flag of a sign request: RSA with SHA-512.
pub const RSA_SHA2_512: u32 = 4;

/// A key that signs. Any thread may use it.
#[derive(Debug)]
pub struct Signer {
    key: PrivateKey,
}

impl Signer {
    /// Prepares the key of a stored record.
    ///
    /// # Errors
    /// The reading failures of [`PrivateKey::from_pkcs8`], and [`VaultError::KeyMismatch`] when its public key is
    /// another key's.
    pub fn from_record(record: &KeyRecord) -> Result<Self, VaultError> {
        let key = PrivateKey::from_pkcs8(&record.private_der)?;
        if key.public_blob()? != record.public_blob {
            return Err(VaultError::KeyMismatch);
        }
        Ok(Self { key })
    }

    /// Signs `data`; the answer is the signature blob of the agent protocol (algorithm and signature).
    ///
    /// `flags` are those of the sign request; they matter for RSA alone.
    ///
    /// # Errors
    /// [`VaultError::Crypto`].
    pub fn sign(&self, data: &[u8], flags: u32) -> Result<Vec<u8>, VaultError> {
        let (algorithm, signature) = match self.key.kind() {
            Kind::Ed25519 => (Kind::Ed25519.algorithm(), self.raw(None, data)),
            Kind::Rsa if flags & RSA_SHA2_512 != 0 => ("rsa-sha2-512", self.raw(Some(MessageDigest::sha512()), data)),
            Kind::Rsa => ("rsa-sha2-256", self.raw(Some(MessageDigest::sha256()), data)),
            kind @ Kind::Ecdsa(curve) => (kind.algorithm(), self.ecdsa(curve, data)),
        };
        let signature = signature.map_err(|_| VaultError::Crypto("sign"))?;
        let mut blob = Vec::with_capacity(algorithm.len() + signature.len() + 8);
        wire::put_string(&mut blob, algorithm.as_bytes());
        wire::put_string(&mut blob, &signature);
        Ok(blob)
    }

    fn raw(&self, digest: Option<MessageDigest>, data: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let mut signer = match digest {
            Some(digest) => sign::Signer::new(digest, &self.key.key)?,
            None => sign::Signer::new_without_digest(&self.key.key)?,
        };
        signer.sign_oneshot_to_vec(data)
    }

    fn ecdsa(&self, curve: Curve, data: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let digest = match curve {
            Curve::P256 => MessageDigest::sha256(),
            Curve::P384 => MessageDigest::sha384(),
            Curve::P521 => MessageDigest::sha512(),
        };
        let pair = EcdsaSig::from_der(&self.raw(Some(digest), data)?)?;
        let mut out = Vec::new();
        wire::put_number(&mut out, &pair.r().to_vec());
        wire::put_number(&mut out, &pair.s().to_vec());
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::bn::BigNum;
    use openssl::ec::EcKey;
    use openssl::pkey::PKey;
    use openssl::sign::Verifier;

    fn signer(key: PrivateKey) -> Signer {
        let record = KeyRecord {
            id: 1,
            key_type: key.kind().label().into(),
            private_der: key.to_pkcs8().unwrap(),
            public_blob: key.public_blob().unwrap(),
            comment: String::new(),
            fingerprint: String::new(),
        };
        Signer::from_record(&record).unwrap()
    }

    fn parts(blob: &[u8]) -> (String, Vec<u8>) {
        let mut reader = wire::Reader(blob);
        let parts = (reader.string().unwrap(), reader.string().unwrap());
        assert!(reader.0.is_empty());
        (String::from_utf8(parts.0.to_vec()).unwrap(), parts.1.to_vec())
    }

    fn verifies(signer: &Signer, digest: Option<MessageDigest>, signature: &[u8]) -> bool {
        let mut verifier = match digest {
            Some(digest) => Verifier::new(digest, &signer.key.key).unwrap(),
            None => Verifier::new_without_digest(&signer.key.key).unwrap(),
        };
        verifier.verify_oneshot(signature, b"data").unwrap()
    }

    #[test]
    fn ed25519_signatures_have_64_bytes() {
        let signer = signer(PrivateKey::generate("ed25519").unwrap());
        for flags in [0, RSA_SHA2_512, u32::MAX] {
            let (algorithm, signature) = parts(&signer.sign(b"data", flags).unwrap());
            assert_eq!((algorithm.as_str(), signature.len()), ("ssh-ed25519", 64));
            assert!(verifies(&signer, None, &signature));
        }
    }

    #[test]
    fn rsa_never_signs_with_sha1() {
        let signer = signer(PrivateKey::generate("rsa").unwrap());
        for (flags, name, digest) in [
            (0, "rsa-sha2-256", MessageDigest::sha256()),
            (2, "rsa-sha2-256", MessageDigest::sha256()),
            (4, "rsa-sha2-512", MessageDigest::sha512()),
            (6, "rsa-sha2-512", MessageDigest::sha512()),
        ] {
            let (algorithm, signature) = parts(&signer.sign(b"data", flags).unwrap());
            assert_eq!((algorithm.as_str(), signature.len()), (name, 384), "{flags}");
            assert!(verifies(&signer, Some(digest), &signature), "{flags}");
        }
    }

    #[test]
    fn ecdsa_signatures_are_two_numbers() {
        for (curve, digest) in [
            (Curve::P256, MessageDigest::sha256()),
            (Curve::P384, MessageDigest::sha384()),
            (Curve::P521, MessageDigest::sha512()),
        ] {
            let key = EcKey::generate(&curve.group().unwrap()).unwrap();
            let signer = signer(PrivateKey::checked(PKey::from_ec_key(key).unwrap()).unwrap());
            let (algorithm, signature) = parts(&signer.sign(b"data", 0).unwrap());
            assert_eq!(algorithm, format!("ecdsa-sha2-{}", curve.ssh_name()));
            let mut reader = wire::Reader(&signature);
            let mut number = || BigNum::from_slice(reader.number().unwrap()).unwrap();
            let pair = EcdsaSig::from_private_components(number(), number()).unwrap();
            assert!(verifies(&signer, Some(digest), &pair.to_der().unwrap()));
        }
    }

    #[test]
    fn a_record_whose_halves_are_strangers_is_refused() {
        let (one, two) = (PrivateKey::generate("ed25519").unwrap(), PrivateKey::generate("ed25519").unwrap());
        let record = KeyRecord {
            id: 1,
            key_type: "ed25519".into(),
            private_der: one.to_pkcs8().unwrap(),
            public_blob: two.public_blob().unwrap(),
            comment: String::new(),
            fingerprint: String::new(),
        };
        assert!(matches!(Signer::from_record(&record), Err(VaultError::KeyMismatch)));
        let torn = KeyRecord { private_der: b"torn".to_vec().into(), ..record };
        assert!(matches!(Signer::from_record(&torn), Err(VaultError::KeyFile { .. })));
    }
}
