//! Which scope a connection may use, asked anew for every listing and every signature.

use base::secret::Secret;
use vault::token::SSH_PROVIDER;
use vault::{Store, VaultError};

use crate::Access;

/// What a connection has shown.
pub enum Pass {
    /// A token.
    Token(Secret),
    /// Nothing, where nothing is asked for.
    Fixed,
}

impl Access {
    /// The scope that `pass` opens right now; `None` when it opens nothing, for whatever reason.
    ///
    /// # Errors
    /// The store's read failures.
    pub(crate) fn scope(&self, store: &Store, pass: &Pass) -> Result<Option<String>, VaultError> {
        match (self, pass) {
            (Self::Scope(scope), _) => Ok(Some(scope.clone())),
            (Self::Tokens(owner), Pass::Token(token)) => {
                let found = owner.token(store, token.expose())?;
                Ok(found.filter(|row| row.provider == SSH_PROVIDER).map(|row| row.scope))
            }
            (Self::Tokens(_), Pass::Fixed) => Ok(None),
        }
    }
}
