//! Facade: re-exports every room for integration tests, benches and docs. No logic lives here.

pub use {
    agents, base, broker, gate, images, mirror, podman, project, sandbox, server, signer, supervisor, task, vault, wire,
};
