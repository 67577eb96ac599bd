//! SSH agent of one container: keys of its scope sign, and none ever leaves.
//!
//! Invariants: the token is checked at the handshake and again before every signature; a key is read from the vault when
//! it is needed; SHA-1 is never used; nothing but listing and signing is answered.
