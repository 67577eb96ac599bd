"""The vault as a context: open inside, closed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.vault.store.db import CredentialDB

__all__ = ["maybe_vault_db", "vault_db"]


def _open(cfg: SandboxConfig | None, prompt_on_tty: bool) -> CredentialDB:
    from terok_sandbox.config import SandboxConfig

    return (cfg or SandboxConfig()).open_credential_db(prompt_on_tty=prompt_on_tty)


@contextmanager
def vault_db(*, prompt_on_tty: bool = False, cfg: SandboxConfig | None = None) -> Iterator[CredentialDB]:
    """Open the vault for the body.

    Raises:
        NoPassphraseError: no tier has a passphrase.
        WrongPassphraseError: it does not open the vault, or a tier failed.
    """
    with _open(cfg, prompt_on_tty) as db:
        yield db


@contextmanager
def maybe_vault_db(*, prompt_on_tty: bool = False, cfg: SandboxConfig | None = None) -> Iterator[CredentialDB | None]:
    """As :func:`vault_db`, but a locked vault is ``None``; what the body raises goes on as it is."""
    from terok_sandbox.vault.store.encryption import NoPassphraseError, WrongPassphraseError

    try:
        db = _open(cfg, prompt_on_tty)
    except (NoPassphraseError, WrongPassphraseError):
        yield None
        return
    with db:
        yield db
