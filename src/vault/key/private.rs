//! A private key in memory.
//!
//! Invariant: whatever way it came in, it is one of the supported kinds and consistent in itself.

use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use zeroize::Zeroizing;

use super::{der, wire};
use crate::error::VaultError;

/// Bits of a generated RSA key.
const RSA_BITS: u32 = 3072;
/// Fewest bits of an RSA key that is taken in.
const RSA_LEAST: u32 = 2048;
/// Most bits; a larger one would make every signature take seconds.
const RSA_MOST: u32 = 16384;

/// A curve of an ECDSA key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// The name inside SSH's own formats.
    pub fn ssh_name(self) -> &'static str {
        match self {
            Self::P256 => "nistp256",
            Self::P384 => "nistp384",
            Self::P521 => "nistp521",
        }
    }

    fn nid(self) -> Nid {
        match self {
            Self::P256 => Nid::X9_62_PRIME256V1,
            Self::P384 => Nid::SECP384R1,
            Self::P521 => Nid::SECP521R1,
        }
    }

    pub(super) fn group(self) -> Result<EcGroup, ErrorStack> {
        EcGroup::from_curve_name(self.nid())
    }

    pub(super) fn named(ssh_name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.ssh_name().as_bytes() == ssh_name)
    }
}

/// The kind of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ed25519.
    Ed25519,
    /// RSA.
    Rsa,
    /// ECDSA on one of the NIST curves.
    Ecdsa(Curve),
}

impl Kind {
    /// The kind as the key table names it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Rsa => "rsa",
            Self::Ecdsa(_) => "ecdsa",
        }
    }

    /// The name of the public key's format.
    pub fn algorithm(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::Rsa => "ssh-rsa",
            Self::Ecdsa(Curve::P256) => "ecdsa-sha2-nistp256",
            Self::Ecdsa(Curve::P384) => "ecdsa-sha2-nistp384",
            Self::Ecdsa(Curve::P521) => "ecdsa-sha2-nistp521",
        }
    }
}

/// A private key that was checked; OpenSSL wipes it when it is dropped.
pub struct PrivateKey {
    pub(super) kind: Kind,
    pub(super) key: PKey<Private>,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// Generates a key: `ed25519`, or `rsa` with 3072 bits.
    ///
    /// # Errors
    /// [`VaultError::KeyType`] for another kind.
    pub fn generate(kind: &str) -> Result<Self, VaultError> {
        let made = match kind {
            "ed25519" => PKey::generate_ed25519(),
            "rsa" => Rsa::generate(RSA_BITS).and_then(PKey::from_rsa),
            other => return Err(VaultError::KeyType(other.to_owned())),
        };
        Self::checked(made.map_err(|_| VaultError::Crypto("generate a key"))?)
    }

    /// Reads PKCS#8 DER without encryption; a public key appended to it is passed over.
    ///
    /// # Errors
    /// [`VaultError::KeyFile`] when it is none, [`VaultError::KeyType`] for what is refused.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, VaultError> {
        let damaged = || VaultError::KeyFile { what: "private key", why: "it is not PKCS#8".into() };
        let plain = der::without_public_part(bytes).ok_or_else(damaged)?;
        Self::checked(PKey::private_key_from_pkcs8(&plain).map_err(|_| damaged())?)
    }

    /// Takes a key of OpenSSL's after checking that we support it and that its parts fit together.
    pub(super) fn checked(key: PKey<Private>) -> Result<Self, VaultError> {
        let broken = |_| VaultError::KeyFile { what: "private key", why: "its parts do not fit together".into() };
        let kind = match key.id() {
            Id::ED25519 => Kind::Ed25519,
            Id::RSA => {
                check_rsa(&key.rsa().map_err(broken)?)?;
                Kind::Rsa
            }
            Id::EC => {
                let key = key.ec_key().map_err(broken)?;
                let curve = curve_of(&key)?;
                key.check_key().map_err(broken)?;
                Kind::Ecdsa(curve)
            }
            Id::DSA => return Err(VaultError::KeyType("dsa".into())),
            other => return Err(VaultError::KeyType(other_name(other))),
        };
        Ok(Self { kind, key })
    }

    /// Ed25519 from its 32 secret bytes.
    pub(super) fn ed25519(seed: &[u8]) -> Result<Self, VaultError> {
        Self::checked(PKey::private_key_from_raw_bytes(seed, Id::ED25519).map_err(|_| VaultError::KeyFile {
            what: "private key",
            why: "an ed25519 key has 32 secret bytes".into(),
        })?)
    }

    /// Refuses an RSA key that is too short to be taken in. One that is stored already goes on working.
    ///
    /// # Errors
    /// [`VaultError::ShortKey`].
    pub fn refuse_short(&self) -> Result<(), VaultError> {
        let bits = self.key.bits();
        if self.kind == Kind::Rsa && bits < RSA_LEAST { Err(VaultError::ShortKey(bits)) } else { Ok(()) }
    }

    /// What kind of key it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// PKCS#8 DER without encryption: the stored form.
    ///
    /// # Errors
    /// [`VaultError::Crypto`] when memory is short.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.key.private_key_to_pkcs8().map(Zeroizing::new).map_err(|_| VaultError::Crypto("encode a key"))
    }

    /// The public key in SSH's wire form.
    ///
    /// # Errors
    /// [`VaultError::Crypto`] when memory is short.
    pub fn public_blob(&self) -> Result<Vec<u8>, VaultError> {
        self.encode_public().map_err(|_| VaultError::Crypto("encode a public key"))
    }

    fn encode_public(&self) -> Result<Vec<u8>, ErrorStack> {
        let mut blob = Vec::new();
        wire::put_string(&mut blob, self.kind.algorithm().as_bytes());
        match self.kind {
            Kind::Ed25519 => wire::put_string(&mut blob, &self.key.raw_public_key()?),
            Kind::Rsa => {
                let rsa = self.key.rsa()?;
                wire::put_number(&mut blob, &rsa.e().to_vec());
                wire::put_number(&mut blob, &rsa.n().to_vec());
            }
            Kind::Ecdsa(curve) => {
                wire::put_string(&mut blob, curve.ssh_name().as_bytes());
                wire::put_string(&mut blob, &point_of(&self.key.ec_key()?)?);
            }
        }
        Ok(blob)
    }
}

/// The uncompressed public point.
pub(super) fn point_of(key: &EcKey<Private>) -> Result<Vec<u8>, ErrorStack> {
    let mut context = BigNumContext::new()?;
    key.public_key().to_bytes(key.group(), openssl::ec::PointConversionForm::UNCOMPRESSED, &mut context)
}

fn curve_of(key: &EcKey<Private>) -> Result<Curve, VaultError> {
    let name = key.group().curve_name();
    Curve::ALL.into_iter().find(|curve| Some(curve.nid()) == name).ok_or_else(|| {
        let name = name.and_then(|nid| nid.short_name().ok()).unwrap_or("unnamed curve");
        VaultError::KeyType(format!("ecdsa on {name}"))
    })
}

/// Checks the arithmetic between the parts, not that the primes are prime: that would take seconds, and whoever made
/// a key of composites has only harmed themselves.
fn check_rsa(key: &Rsa<Private>) -> Result<(), VaultError> {
    let bits = u32::try_from(key.n().num_bits()).unwrap_or(0);
    let refuse = |why: &str| Err(VaultError::KeyFile { what: "private key", why: why.to_owned() });
    if bits > RSA_MOST {
        return refuse("an RSA key of more than 16384 bits is not supported");
    }
    if parts_fit(key).is_ok_and(|fit| fit) { Ok(()) } else { refuse("its parts do not fit together") }
}

fn parts_fit(key: &Rsa<Private>) -> Result<bool, ErrorStack> {
    let (Some(p), Some(q), Some(dp), Some(dq), Some(inverse)) = (key.p(), key.q(), key.dmp1(), key.dmq1(), key.iqmp())
    else {
        return Ok(false);
    };
    let sane = |n: &BigNumRef| n.is_bit_set(0) && n.num_bits() > 1 && !n.is_negative();
    // An exponent of more than 64 bits serves nothing but to make checking slow.
    if !(sane(p) && sane(q) && sane(key.e()) && key.e().num_bits() <= 64) || key.d().num_bits() > key.n().num_bits() {
        return Ok(false);
    }
    let one = BigNum::from_u32(1)?;
    let (p1, q1) = (Part::try_with(|n| n.checked_sub(p, &one))?, Part::try_with(|n| n.checked_sub(q, &one))?);
    let mut context = BigNumContext::new_secure()?;
    let product = Part::try_with(|n| n.checked_mul(p, q, &mut context))?;
    let mut is = |a: &BigNumRef, b: &BigNumRef, modulus: &BigNumRef, expected: &BigNumRef| {
        Part::try_with(|n| n.mod_mul(a, b, modulus, &mut context)).map(|n| *n.0 == *expected)
    };
    Ok(*product.0 == *key.n()
        && is(key.e(), key.d(), &p1.0, &one)?
        && is(key.e(), key.d(), &q1.0, &one)?
        && is(&one, key.d(), &p1.0, dp)?
        && is(&one, key.d(), &q1.0, dq)?
        && is(inverse, q, p, &one)?)
}

/// A secret number that is wiped when dropped.
pub(super) struct Part(pub(super) BigNum);

impl Part {
    pub(super) fn try_with(fill: impl FnOnce(&mut BigNum) -> Result<(), ErrorStack>) -> Result<Self, ErrorStack> {
        let mut part = Self(BigNum::new_secure()?);
        fill(&mut part.0).map(|()| part)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.0.clear();
    }
}

fn other_name(id: Id) -> String {
    Nid::from_raw(id.as_raw()).short_name().unwrap_or("unknown").to_lowercase()
}
