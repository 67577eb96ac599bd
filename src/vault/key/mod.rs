//! SSH key material: generated, read from key files, written to them, and used to sign.
//!
//! Invariants: private material lives in buffers that are wiped, or inside OpenSSL, which wipes its own; a private key
//! and the public key beside it are proven to belong together; what is stored is PKCS#8 DER without encryption, in the
//! shortest form (ed25519: 48 bytes). Refuses DSA, hardware-backed keys and RSA below 2048 bits.

mod der;
mod openssh;
mod pem;
mod private;
mod public;
mod ring;
mod signer;
mod wire;

pub use pem::LARGEST_FILE;
pub use private::{Curve, Kind, PrivateKey};
pub use public::{PublicKey, fingerprint_of, line_of};
pub use ring::{Exported, Imported, Infra, Keypair};
pub use signer::{RSA_SHA2_256, RSA_SHA2_512, Signer};
