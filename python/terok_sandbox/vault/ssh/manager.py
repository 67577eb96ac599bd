"""The SSH keys of one scope."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from terok_native import _lib

from terok_sandbox.vault.ssh.keypair import GeneratedKeypair

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.vault.store.db import CredentialDB

__all__ = ["DEFAULT_RSA_BITS", "GeneratedKeypair", "SSHInitResult", "SSHManager"]

#: Bits of a generated RSA key.
DEFAULT_RSA_BITS = 3072


class SSHInitResult(TypedDict):
    """A key as :meth:`SSHManager.init` reports it; *public_line* is what a forge wants to be given."""

    key_id: int
    key_type: str
    fingerprint: str
    comment: str
    public_line: str


class SSHManager:
    """Gives a scope its keys. Borrows the vault, or owns one opened by :meth:`open_for_config`."""

    def __init__(self, *, scope: str, db: CredentialDB) -> None:
        self._scope = scope
        self._db = db
        self._owned = False

    @classmethod
    def open_for_config(
        cls, *, scope: str, cfg: SandboxConfig, db_path: Path | None = None, prompt_on_tty: bool = False
    ) -> SSHManager:
        """Open the vault of *cfg* (or *db_path*) for one scope; closing the manager closes it.

        Raises what :meth:`terok_sandbox.SandboxConfig.open_credential_db` raises.
        """
        manager = cls(scope=scope, db=cfg.open_credential_db(db_path, prompt_on_tty=prompt_on_tty))
        manager._owned = True
        return manager

    def close(self) -> None:
        """Close the vault if this manager opened it; closing again does nothing."""
        if self._owned:
            self._owned = False
            self._db.close()

    def __enter__(self) -> SSHManager:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def init(self, key_type: str = "ed25519", comment: str | None = None, force: bool = False) -> SSHInitResult:
        """Return the scope's main key, which is made when needed.

        A *comment* (also an empty one) always makes another key; *force* makes one that replaces all others. A refused
        scope, kind or comment leaves nothing behind.

        Raises:
            InvalidScopeName: the scope is malformed or reserved.
            ValueError: an unknown kind, or an unsafe comment.
        """
        made = _lib.key_init(self._db._store, self._scope, key_type, comment, force)
        key_id, kind, fingerprint, stored, line = made
        return SSHInitResult(
            key_id=key_id, key_type=kind, fingerprint=fingerprint, comment=stored, public_line=line
        )  # fmt: skip
