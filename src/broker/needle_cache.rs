//! Keeps the prepared forms of the credentials in use, because preparing them takes longer than a request.
//!
//! Invariants: an entry serves only the very secret that it was made of; there is one for each login; the vault's
//! closing empties the cache.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base::secret::Secret;

use crate::needle::Needles;
use crate::refresh::Login;

struct Entry {
    secret: Secret,
    needles: Option<Arc<Needles>>,
}

/// Prepared forms by login.
#[derive(Default)]
pub struct NeedleCache(Mutex<HashMap<Login, Entry>>);

impl NeedleCache {
    /// The forms of `secret`; `None` for one that is not looked for.
    pub fn get(&self, login: &Login, secret: &str) -> Option<Arc<Needles>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(login).filter(|entry| entry.secret.matches(secret)) {
            return entry.needles.clone();
        }
        let needles = Needles::of(secret).map(Arc::new);
        if needles.is_none() {
            tracing::warn!(provider = %login.provider, "the credential is a common word; answers are not searched for it");
        }
        entries.insert(login.clone(), Entry { secret: Secret::new(secret), needles: needles.clone() });
        needles
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
