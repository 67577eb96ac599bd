"""Where the credential broker is, as seen from a container and as tools want to be told."""

from __future__ import annotations

#: The broker's socket as it is mounted in socket mode.
CONTAINER_VAULT_SOCKET = "/run/terok/vault.sock"
#: The broker's socket that a bridge in the container makes in TCP mode.
BRIDGE_VAULT_SOCKET = "/tmp/terok-vault.sock"  # noqa: S108
#: Port of the bridge in the container, the same in both modes.
VAULT_LOOPBACK_PORT = 9419
#: Variable that tells the container's scripts this port.
VAULT_LOOPBACK_PORT_ENV = "TEROK_VAULT_LOOPBACK_PORT"


def container_vault_url() -> str:
    """Return the base URL for HTTP clients in the container."""
    return f"http://localhost:{VAULT_LOOPBACK_PORT}"


def container_vault_socket(token_broker_port: int | None = None) -> str:
    """Return the socket for clients in the container; *token_broker_port* is given in TCP mode."""
    return CONTAINER_VAULT_SOCKET if token_broker_port is None else BRIDGE_VAULT_SOCKET
