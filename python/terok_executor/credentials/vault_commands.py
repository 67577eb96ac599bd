"""The vault's command group, and the scan for leaked credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def scan_leaked_credentials(mounts_base: Path) -> list[tuple[str, Path]]:
    """Return ``(provider, path)`` of every real credential below *mounts_base*, in roster order.

    Links, empty files and files that terok wrote itself are no leaks; what cannot be looked at is told on stderr.
    """
    from terok_executor.credentials.leaks import find_leaked_credentials

    return find_leaked_credentials(Path(mounts_base))


def __getattr__(name: str) -> Any:
    from terok_executor import _tree

    if name == "VAULT_COMMANDS":
        return _tree.VAULT_COMMANDS
    if name == "SANDBOX_TREE":
        return _tree.COMMANDS.find_at(("sandbox",))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
