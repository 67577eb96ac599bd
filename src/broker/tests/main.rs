//! The broker against real sockets: a scripted upstream on one side, raw bytes of a client on the other.

mod stage;

mod echoes;
mod failures;
mod framing;
mod markers_and_tokens;
mod redirects;
mod refresh;
mod rewriting;
mod secure_upstream;
mod streams;
mod websockets;
