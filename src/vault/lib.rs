//! Encrypted credential store, passphrase tiers, phantom tokens.
