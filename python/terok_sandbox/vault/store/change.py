"""Changing the passphrase of a vault that is in use, so that a crash at any point leaves a pair that works.

Order: a note that leads from the old passphrase to the new one, the vault's key, every copy that a tier has, the test
that the first tier opens the vault, the end of the note. While the note exists, the old passphrase opens the vault too
(see :mod:`terok_sandbox.vault.store.db`), and the next change finishes what this one began.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from terok_native import _lib

from terok_sandbox.vault.store.encryption import WrongPassphraseError

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

#: Label of a tier and the function that gives it a new passphrase.
Copy = tuple[str, Callable[[str], None]]


def successor_of(db_path: Path, passphrase: str) -> str | None:
    """Return the passphrase that an interrupted change was leading to from *passphrase*, or ``None``."""
    return _lib.passphrase_handover_read(db_path, passphrase)


def is_interrupted(db_path: Path) -> bool:
    """Return whether a change of the passphrase was begun and not finished."""
    return _lib.passphrase_handover_note(db_path).exists()


def copies(cfg: SandboxConfig) -> list[Copy]:
    """Return every tier that has a copy which can be replaced, the one that is asked first at the end.

    Raises:
        RuntimeError: a copy exists that cannot be replaced.
    """
    from terok_sandbox._yaml import yaml_update_section
    from terok_sandbox.paths import plaintext_passphrase_config_path
    from terok_sandbox.vault.store import encryption, systemd_creds

    if cfg.credentials_passphrase_command:
        raise RuntimeError(
            "the passphrase comes from `credentials.passphrase_command`, whose answer cannot be changed from here\n"
            "hint: move it with `vault passphrase to-keyring`, or seal it and remove the command"
        )
    found: list[Copy] = []
    if cfg.credentials_passphrase:
        path = plaintext_passphrase_config_path()
        if path is None or not os.access(path, os.W_OK):
            raise RuntimeError(f"the copy in the configuration file `{path}` cannot be written")
        found.append(("config", lambda new: yaml_update_section(path, "credentials", {"passphrase": new})))
    if cfg.credentials_use_keyring and encryption.load_passphrase_from_keyring() is not None:
        found.append(("keyring", _into_keyring))
    sealed = cfg.vault_systemd_creds_file
    if sealed.is_symlink() or sealed.exists():
        if obstacle := systemd_creds.obstacle():
            raise RuntimeError(f"the sealed copy cannot be replaced: {obstacle}")
        found.append(("systemd-creds", lambda new: systemd_creds.seal(sealed, new)))
    if cfg.vault_passphrase_file.exists():
        found.append(("session-file", lambda new: _lib.vault_write_session_file(cfg.vault_passphrase_file, new)))
    return found


def _into_keyring(passphrase: str) -> None:
    from terok_sandbox.vault.store import encryption

    if not encryption.store_passphrase_in_keyring(passphrase):
        raise RuntimeError("the keyring did not take the passphrase")


def change(cfg: SandboxConfig, old: str, new: str) -> list[str]:
    """Give the vault a new passphrase, and every tier that has a copy; return the labels of these tiers.

    Raises:
        WrongPassphraseError: *old* does not open the vault, or the tiers do not open it afterwards.
        RuntimeError, OSError: a copy cannot be replaced, or the vault is busy or damaged. What was done so far holds
            together: the passphrase at hand opens the vault, and the next change finishes this one.
        ValueError: *new* is empty.
    """
    from terok_sandbox.vault.store.db import CredentialDB

    places = copies(cfg)
    with CredentialDB(cfg.db_path, passphrase=old) as db:
        _lib.passphrase_handover_write(cfg.db_path, old, new)
        try:
            db.change_passphrase(new)
        except Exception:
            # A vault that still opens with the old passphrase needs no way to the new one.
            CredentialDB(cfg.db_path, passphrase=old).close()
            _lib.passphrase_handover_forget(cfg.db_path)
            raise
    return _hand_over(cfg, new, places)


def finish(cfg: SandboxConfig, passphrase: str) -> list[str] | None:
    """Finish an interrupted change; the labels of the tiers that got the new passphrase, ``None`` when none was due.

    *passphrase* is what the tiers yield. Raises as :func:`change` does.
    """
    from terok_sandbox.vault.store.db import CredentialDB

    try:
        CredentialDB(cfg.db_path, passphrase=passphrase).close()
    except WrongPassphraseError:
        new = successor_of(cfg.db_path, passphrase)
        if new is None:
            raise
        return _hand_over(cfg, new, copies(cfg))
    # The tier that is asked first fits: either nothing had been changed yet, or everything.
    _lib.passphrase_handover_forget(cfg.db_path)
    return None


def _hand_over(cfg: SandboxConfig, new: str, places: list[Copy]) -> list[str]:
    from dataclasses import replace

    from terok_sandbox.config import credentials_passphrase
    from terok_sandbox.vault.store.db import CredentialDB

    for _, store in places:
        store(new)
    # The configuration at hand was read before its passphrase changed.
    found = replace(cfg, credentials_passphrase=credentials_passphrase()).resolve_passphrase()
    CredentialDB(cfg.db_path, passphrase=found or new).close()
    _lib.passphrase_handover_forget(cfg.db_path)
    return [label for label, _ in places]
