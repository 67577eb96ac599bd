"""The vault's status in the shape of the generation that had one vault service for the whole host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from terok_native.kept import kept

if TYPE_CHECKING:
    from terok_sandbox.config import PassphraseSource

VaultMode = Literal["systemd", "daemon", "none"]


@kept
@dataclass(frozen=True)
class VaultStatus:
    """What is known about the vault.

    ``mode`` is ``daemon`` when containers get a supervisor and ``none`` otherwise. ``running`` and ``healthy`` say that
    the vault opens now; ``locked`` that it exists and did not open for want of the right passphrase.
    ``credentials_stored`` are the providers of the set ``default``.
    """

    mode: str
    running: bool
    healthy: bool
    socket_path: Path
    db_path: Path
    routes_path: Path
    routes_configured: int
    credentials_stored: tuple[str, ...]
    transport: Literal["tcp", "socket"] | None = None
    ssh_keys_stored: int = 0
    passphrase_source: PassphraseSource | None = None
    locked: bool = False
    plaintext_passphrase_path: Path | None = None
