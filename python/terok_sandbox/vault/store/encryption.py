"""Passphrase tiers, and the exceptions that opening the vault can raise.

The tiers are asked by the native resolver in a fixed order (session file, systemd credential, helper command,
configuration); the prompt, which needs a terminal, is the only one that lives here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from terok_native import _lib

if TYPE_CHECKING:
    from terok_sandbox.config import PassphraseSource


class NoPassphraseError(RuntimeError):
    """No passphrase tier yields a value."""


class WrongPassphraseError(RuntimeError):
    """The passphrase does not open the database, or a configured tier failed."""


class PlaintextDBFoundError(RuntimeError):
    """The database file is not encrypted."""


class VaultBusyError(RuntimeError):
    """Another process kept the database locked for longer than the waiting time (5 s)."""


class VaultCorruptError(RuntimeError):
    """The database file is damaged, or no database at all."""


def generate_passphrase() -> str:
    """Return a new passphrase: 43 URL-safe characters from 32 random bytes' worth of entropy and more."""
    return _lib.vault_generate_passphrase()


def resolve_passphrase_with_source(
    *, passphrase_file: Path | None = None, systemd_creds_file: Path | None = None, use_keyring: bool = False,
    passphrase_command: str | None = None, config_fallback: str | None = None, prompt_on_tty: bool = False,
) -> tuple[str | None, PassphraseSource | None]:  # fmt: skip
    """Return ``(passphrase, tier label)``, or ``(None, None)`` when no tier has one.

    Raises:
        WrongPassphraseError: a configured tier failed; lower tiers are then not asked.
    """
    if found := _lib.vault_resolve_passphrase({
        "session_file": None if passphrase_file is None else str(passphrase_file),
        "systemd_creds_file": None if systemd_creds_file is None else str(systemd_creds_file),
        "passphrase_command": passphrase_command,
        "config_passphrase": config_fallback,
    }):
        return found
    if prompt_on_tty and sys.stdin is not None and sys.stdin.isatty():
        return prompt_passphrase(), "prompt"
    return None, None


def prompt_passphrase(*, confirm: bool = False) -> str:
    """Ask for the passphrase: hidden on a terminal, one plain line otherwise.

    With *confirm* the text is asked twice on a terminal.

    Raises:
        ValueError: nothing was entered, or the two entries differ.
        SystemExit: the input was interrupted or ended.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        entered = sys.stdin.readline().rstrip("\r\n") if sys.stdin is not None else ""
        return _not_empty(entered)
    import getpass

    try:
        entered = _not_empty(getpass.getpass("Vault passphrase: ").strip())
        if confirm and getpass.getpass("Again: ").strip() != entered:
            raise ValueError("the two entries differ")
    except (EOFError, KeyboardInterrupt):
        raise SystemExit("no passphrase entered") from None
    return entered


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("the passphrase is empty")
    return text
