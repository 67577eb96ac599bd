//! Facade: re-exports every room for integration tests, benches and docs. No logic lives here.

pub use {agents, base, broker, images, podman, sandbox, supervisor, vault, wire};
