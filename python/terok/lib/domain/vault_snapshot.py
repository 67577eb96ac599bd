"""The vault at one moment, as front ends show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from terok_native.kept import kept
from terok_sandbox.vault.store.encryption import NoPassphraseError, WrongPassphraseError
from terok_sandbox.vault.store.recovery import RecoveryStatus

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.vault.store.db import CredentialDB

__all__ = ["VaultStatusSnapshot"]


@kept
@dataclass(frozen=True)
class VaultStatusSnapshot:
    """The vault at one moment.

    ``locked``: no tier has a passphrase, or it does not open the vault. ``credentials_stored`` (provider names of all
    sets, sorted) and ``ssh_keys_stored`` (assignments of all scopes) are ``None`` where they cannot be read.
    ``db_error`` is the text of any other trouble. ``credential_types``: provider to the type of its first record.
    """

    locked: bool
    passphrase_source: str | None
    credentials_stored: tuple[str, ...] | None
    ssh_keys_stored: int | None
    plaintext_passphrase_path: str | None
    db_path: str
    recovery_acknowledged: bool
    db_error: str | None
    credential_types: Mapping[str, str] = field(default_factory=dict)

    @property
    def session_only_passphrase(self) -> bool:
        """Whether the vault is open with a passphrase that goes with this login session."""
        return not self.locked and self.passphrase_source == "session-file"  # noqa: S105 - the name of a tier

    @classmethod
    def load(cls) -> VaultStatusSnapshot:
        """Open the vault, which makes one where there is a passphrase and no vault, and look into it.

        Trouble with the vault is told by the fields and never raised; nothing is asked on the terminal.
        """
        from terok_sandbox.config import SandboxConfig
        from terok_sandbox.paths import plaintext_passphrase_config_path

        cfg = SandboxConfig()
        plaintext = plaintext_passphrase_config_path()
        locked, source, types, keys, trouble = _look(cfg)
        return cls(
            locked=locked,
            passphrase_source=source,
            credentials_stored=None if types is None else tuple(sorted(types)),
            ssh_keys_stored=keys,
            plaintext_passphrase_path=None if plaintext is None else str(plaintext),
            db_path=str(cfg.db_path),
            recovery_acknowledged=RecoveryStatus.is_acknowledged(cfg),
            db_error=trouble,
            credential_types=MappingProxyType(types or {}),
        )


def _look(cfg: SandboxConfig) -> tuple[bool, str | None, dict[str, str] | None, int | None, str | None]:
    """Whether it is locked, the tier, the types, the number of keys, and what else is wrong."""
    from terok_sandbox.vault.store.db import open_with

    source = None
    try:
        passphrase, source = cfg.resolve_passphrase_with_source()
        if not passphrase:
            return True, None, None, None, None
        with open_with(cfg.db_path, passphrase) as db:
            types = _types(db)
            keys = sum(len(db.list_ssh_keys_for_scope(name)) for name in db.list_scopes_with_ssh_keys())
    except (NoPassphraseError, WrongPassphraseError):
        return True, source, None, None, None
    except Exception as error:
        return False, source, None, None, str(error)
    return False, source, types, keys, None


def _types(db: CredentialDB) -> dict[str, str]:
    types: dict[str, str] = {}
    for name in db.list_credential_sets():
        for provider in db.list_credentials(name):
            record = db.load_credential(name, provider) or {}
            types.setdefault(provider, str(record.get("type") or "unknown"))
    return types
