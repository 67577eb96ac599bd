//! The keys of a scope, read from the vault for every question.
//!
//! A stored key that cannot be used is left out, and the log says so once; the others are served as if it were not
//! there.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use vault::key::Signer;
use vault::sshkey::KeyRecord;
use vault::{Store, VaultError};

/// Comments of keys that are offered before the others begin like this.
const MAIN: &str = "tk-main:";

/// A key as clients see it.
pub struct Offer {
    /// Public key in SSH's wire form.
    pub blob: Vec<u8>,
    /// Free text.
    pub comment: String,
}

/// What a key does without: signing, for a caller that chose it.
pub struct Chosen {
    /// The key's name for the log.
    pub label: String,
    /// True for a key whose signature takes long enough to hold others up.
    pub slow: bool,
    record: KeyRecord,
}

/// Reads keys; remembers nothing but which broken ones were reported.
#[derive(Default)]
pub struct Keyring {
    reported: Mutex<HashSet<String>>,
}

impl Keyring {
    /// What `scope` has to offer, the main keys first.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn offers(&self, store: &Store, scope: &str) -> Result<Vec<Offer>, VaultError> {
        let mut records = store.load_ssh_keys_for_scope(scope)?;
        records.retain(|record| self.usable(record).is_some());
        // A stable sort: within both groups the order of assignment stays.
        records.sort_by_key(|record| !record.comment.starts_with(MAIN));
        Ok(records.into_iter().map(|record| Offer { blob: record.public_blob, comment: record.comment }).collect())
    }

    /// True when `scope` has at least one key that can sign.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn has_any(&self, store: &Store, scope: &str) -> Result<bool, VaultError> {
        Ok(store.load_ssh_keys_for_scope(scope)?.iter().any(|record| self.usable(record).is_some()))
    }

    /// The key of `scope` with this public half.
    ///
    /// # Errors
    /// The store's read failures.
    pub fn choose(&self, store: &Store, scope: &str, blob: &[u8]) -> Result<Option<Chosen>, VaultError> {
        let found = store.load_ssh_keys_for_scope(scope)?.into_iter().find(|record| record.public_blob == blob);
        Ok(found.map(|record| Chosen {
            label: format!("{} ({})", base::text::sanitize_tty(&record.comment), record.fingerprint),
            slow: record.key_type == "rsa",
            record,
        }))
    }

    fn usable(&self, record: &KeyRecord) -> Option<Signer> {
        match Signer::from_record(record) {
            Ok(signer) => Some(signer),
            Err(error) => {
                let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
                if reported.insert(record.fingerprint.clone()) {
                    tracing::error!(%error, key = %record.fingerprint, "a stored key cannot be used");
                }
                None
            }
        }
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
