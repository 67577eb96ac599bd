//! HTTP git service of one container: the one repository it may clone from and push to.
//!
//! Invariants: one token opens one repository, and is checked before any git process starts; a request of any size
//! streams through; old tips of references stay reachable; no hook or configuration of the repository runs; the token
//! never appears in a log or an argument list.
