"""Verbs of the generation with services for the whole host, kept for old scripts: they say what holds now, status 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from terok_util.cli_types import CommandDef

# For annotations only: importing this here would cost every caller.
if TYPE_CHECKING:
    from collections.abc import Callable

    from terok_sandbox.config import SandboxConfig

_NO_DAEMON = "there is no vault service for the whole host: every container's supervisor opens the vault by itself"


def _hooks() -> str:
    from terok_sandbox.supervisor.install import check_supervisor_hooks

    problem = check_supervisor_hooks()
    return "supervisor hooks: installed" if problem is None else f"supervisor hooks: {problem}"


def handle_retired_start(*, cfg: SandboxConfig | None = None, **_older: Any) -> None:
    """For ``start`` and ``install``: say so, and whether the hooks are installed."""
    print(f"{_NO_DAEMON}\n{_hooks()}")
    print("`terok-sandbox setup` installs the hooks, `terok-sandbox vault unlock` opens the vault")


def handle_retired_stop(*, cfg: SandboxConfig | None = None, **_older: Any) -> None:
    """For ``stop`` and ``uninstall``: say so; nothing is stopped."""
    print(f"{_NO_DAEMON}; nothing was stopped")
    print("`terok-sandbox vault lock` closes the vault, `terok-sandbox uninstall` removes the hooks")


def handle_retired_status(*, cfg: SandboxConfig | None = None, **_older: Any) -> None:
    """Print what the status of the service used to say, as far as it exists."""
    from terok_sandbox.vault.daemon.lifecycle import VaultManager

    status = VaultManager(cfg).get_status()
    state = "locked" if status.locked else f"opens with the passphrase from {status.passphrase_source or 'no tier'}"
    print(f"{_NO_DAEMON}\n{_hooks()}")
    print(f"vault: {status.db_path} ({state})")
    print(f"credentials: {', '.join(status.credentials_stored) or 'none'}; SSH keys: {status.ssh_keys_stored}")


def vault_verbs() -> tuple[CommandDef, ...]:
    """The retired verbs of the vault group; they are no part of the tree that other programs extend."""
    handlers: dict[str, Callable[..., None]] = {
        "start": handle_retired_start,
        "stop": handle_retired_stop,
        "status": handle_retired_status,
        "install": handle_retired_start,
        "uninstall": handle_retired_stop,
    }
    return tuple(
        CommandDef(name=name, help="Retired: says what holds now", handler=handler)
        for name, handler in handlers.items()
    )
