"""Passphrase tiers, and the exceptions that opening the vault can raise.

The tiers are asked by the native resolver in a fixed order (session file, systemd credential, keyring, helper command,
configuration); the prompt, which needs a terminal, comes last and lives in :mod:`terok_sandbox.vault.store.prompt`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from terok_native import _lib
from terok_native.kept import kept

if TYPE_CHECKING:
    from terok_sandbox.config import PassphraseSource


@kept
class NoPassphraseError(RuntimeError):
    """No passphrase tier yields a value."""


@kept
class WrongPassphraseError(RuntimeError):
    """The passphrase does not open the database, or a configured tier failed."""


class PlaintextDBFoundError(RuntimeError):
    """The database file is not encrypted."""


class VaultBusyError(RuntimeError):
    """Another process kept the database locked for longer than the waiting time (5 s)."""


class VaultCorruptError(RuntimeError):
    """The database file is damaged, or no database at all."""


def generate_passphrase() -> str:
    """Return a new passphrase: 43 URL-safe characters, six random bits each."""
    return _lib.vault_generate_passphrase()


def resolve_passphrase_with_source(
    *, passphrase_file: Path | None = None, systemd_creds_file: Path | None = None, use_keyring: bool = False,
    passphrase_command: str | None = None, config_fallback: str | None = None, prompt_on_tty: bool = False,
) -> tuple[str | None, PassphraseSource | None]:  # fmt: skip
    """Return ``(passphrase, tier label)``, or ``(None, None)`` when no tier has one.

    Without *prompt_on_tty* nobody is asked, also not by the dialogue of a locked keyring: front ends look at the vault
    on the thread that draws their screen.

    Raises:
        WrongPassphraseError: a configured tier failed; lower tiers are then not asked.
    """
    if found := _lib.vault_resolve_passphrase(
        {
            "session_file": None if passphrase_file is None else str(passphrase_file),
            "systemd_creds_file": None if systemd_creds_file is None else str(systemd_creds_file),
            "use_keyring": use_keyring,
            "keyring_may_ask": prompt_on_tty,
            "passphrase_command": passphrase_command,
            "config_passphrase": config_fallback,
        }
    ):
        return found
    if prompt_on_tty and sys.stdin is not None and sys.stdin.isatty():
        return prompt_passphrase(), "prompt"
    return None, None


def prompt_passphrase(*, confirm: bool = False) -> str:
    """Ask for the passphrase: masked on a terminal, one plain line otherwise.

    With *confirm*, a text on a terminal is asked twice, and an empty one makes a new passphrase, shown once.

    Raises:
        ValueError: nothing was entered, or the two entries differ.
        SystemExit: the input was interrupted or ended, or a new passphrase cannot be shown.
    """
    from terok_sandbox.vault.store import prompt

    return prompt.ask(confirm=confirm)


def load_passphrase_from_keyring() -> str | None:
    """Return the passphrase that the desktop's keyring has, or ``None``, also when it cannot be asked (10 s)."""
    return _lib.passphrase_keyring_load(True)


def store_passphrase_in_keyring(passphrase: str) -> bool:
    """Store *passphrase* in the desktop's keyring; ``False`` when it cannot be read back afterwards.

    Raises:
        ValueError: it is empty.
    """
    if not passphrase:
        raise ValueError("an empty passphrase cannot be stored")
    return _lib.passphrase_keyring_store(passphrase)


def forget_passphrase_in_keyring() -> bool:
    """Remove the passphrase from the desktop's keyring; ``True`` when there was one and it is gone."""
    return _lib.passphrase_keyring_forget()


def is_plaintext_sqlite(db_path: Path) -> bool:
    """Return whether *db_path* is a database without encryption; ``False`` when there is none."""
    return _lib.vault_is_plain(str(db_path))


def encrypt_in_place(db_path: Path, passphrase: str) -> None:
    """Encrypt a plain database; it is replaced by a complete copy in one step, or untouched.

    Raises:
        ValueError: the passphrase is empty, or the file is not a plain database.
        FileNotFoundError: there is no such file.
        VaultBusyError: somebody uses it.
    """
    _lib.vault_encrypt_in_place(db_path, passphrase)
