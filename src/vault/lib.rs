//! The vault: an encrypted database of credentials, SSH keys and phantom tokens, and the ways to its passphrase.
//!
//! Invariants: the file is never opened without a key and never written in plain text; a token is looked up in the file
//! at every use, so revoking it acts at once; no secret appears in an error or a log line.

pub mod binding;
pub mod cell;
pub mod credential;
pub mod encrypt;
pub mod error;
pub mod header;
pub mod key;
#[cfg(test)]
mod killed;
mod migrate;
pub mod owner;
pub mod passphrase;
mod rekey;
pub mod schema;
pub mod sshkey;
pub mod store;
pub mod token;

pub use binding::Binding;
pub use cell::{UNLOCK_WAIT, VaultCell, VaultState};
pub use error::VaultError;
pub use owner::Owner;
pub use store::Store;
pub use token::TokenRow;
