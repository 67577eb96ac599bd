//! The signer against real sockets, a real vault, and keys and checks of OpenSSL's own.

mod stage;

mod fuzz;
mod handshake;
mod limits;
mod protocol;
mod scopes;
