//! The keys of a scope, read from the vault for every question.
//!
//! A stored key that cannot be used is left out, and the log says so once; the others are served as if it were not
//! there.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use vault::key::Signer;
use vault::sshkey::KeyRecord;
use vault::{Store, VaultError};

/// Comments of keys that are offered before the others begin like this.
const MAIN: &str = "tk-main:";
const MOST_VERDICTS: usize = 1024;

/// A key as clients see it.
pub struct Offer {
    /// Public key in SSH's wire form.
    pub blob: Vec<u8>,
    /// Free text.
    pub comment: String,
}

/// A key that a client chose to sign with.
pub struct Chosen {
    /// The key's name for the log.
    pub label: String,
    /// True for a key whose signature takes long enough to hold others up.
    pub slow: bool,
    record: KeyRecord,
}

/// Reads keys; of what it read it remembers only which stored bytes make a usable key.
#[derive(Default)]
pub struct Keyring {
    verdicts: Mutex<HashMap<u64, bool>>,
    hasher: RandomState,
}

impl Keyring {
    /// What `scope` has to offer, the main keys first.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn offers(&self, store: &Store, scope: &str) -> Result<Vec<Offer>, VaultError> {
        let mut records = store.load_ssh_keys_for_scope(scope)?;
        records.retain(|record| self.is_usable(record));
        // A stable sort: within both groups the order of assignment stays.
        records.sort_by_key(|record| !record.comment.starts_with(MAIN));
        Ok(records.into_iter().map(|record| Offer { blob: record.public_blob, comment: record.comment }).collect())
    }

    /// True when `scope` has at least one key that can sign.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn has_any(&self, store: &Store, scope: &str) -> Result<bool, VaultError> {
        Ok(store.load_ssh_keys_for_scope(scope)?.iter().any(|record| self.is_usable(record)))
    }

    /// The key of `scope` with this public half.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn choose(&self, store: &Store, scope: &str, blob: &[u8]) -> Result<Option<Chosen>, VaultError> {
        let found = store.load_ssh_keys_for_scope(scope)?.into_iter().find(|record| record.public_blob == blob);
        Ok(found.map(|record| Chosen {
            label: format!("{} ({})", base::text::sanitize_tty(&record.comment), record.fingerprint),
            slow: record.key_type != "ed25519",
            record,
        }))
    }

    /// Whether these very bytes make a key that signs: looked into once, because that takes as long as a signature. Only
    /// what is offered depends on it; a signature reads the key anew.
    fn is_usable(&self, record: &KeyRecord) -> bool {
        let bytes = self.hasher.hash_one((&record.private_der[..], &record.public_blob[..]));
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if verdicts.len() >= MOST_VERDICTS {
            verdicts.clear();
        }
        *verdicts.entry(bytes).or_insert_with(|| match Signer::from_record(record) {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(%error, key = %record.fingerprint, "a stored key cannot be used");
                false
            }
        })
    }
}

impl Chosen {
    /// The signature blob of `data`.
    ///
    /// # Errors
    /// When the stored key cannot be used or does not sign.
    pub fn sign(&self, data: &[u8], flags: u32) -> Result<Vec<u8>, VaultError> {
        Signer::from_record(&self.record)?.sign(data, flags)
    }
}
