//! The namespaces of references in a mirror, which both the synchronisation and the HTTP service keep to.
//!
//! `refs/heads/` and `refs/tags/` are what containers see and push. Everything below [`PRIVATE`] is ours and hidden from
//! them.

/// Everything that containers neither see nor push.
pub const PRIVATE: &str = "refs/terok";
/// The upstream's branches as they were at the last synchronisation: forced and pruned, below `<this>/heads/`.
pub const UPSTREAM: &str = "refs/terok/upstream";
/// Old tips of references that were moved or deleted: `<this>/<short reference name>/<object id>`.
pub const BACKUP: &str = "refs/terok/backup";
