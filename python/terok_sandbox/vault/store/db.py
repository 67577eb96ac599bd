"""The encrypted credential database (SQLCipher 4 format, schema version 2)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_native import _lib

from terok_sandbox.vault.store.encryption import (
    NoPassphraseError,
    WrongPassphraseError,
    resolve_passphrase_with_source,
)

if TYPE_CHECKING:
    from terok_sandbox.config import PassphraseSource


class InvalidScopeName(ValueError):
    """A scope that is not well formed, or is reserved for the product itself."""


class UnsafeCommentError(ValueError):
    """A key comment that is too long or holds control characters."""


@dataclass(frozen=True, slots=True)
class SSHKeyRow:
    """One SSH key without its material; *created_at* is UTC as ``YYYY-MM-DD HH:MM:SS``."""

    id: int
    key_type: str
    fingerprint: str
    comment: str
    created_at: str


@dataclass(frozen=True, slots=True)
class SSHKeyRecord:
    """One SSH key with its material: unencrypted PKCS#8 DER and the SSH wire form of the public key."""

    id: int
    key_type: str
    private_der: bytes
    public_blob: bytes
    comment: str
    fingerprint: str

    def __repr__(self) -> str:
        return f"SSHKeyRecord(id={self.id}, key_type={self.key_type!r}, fingerprint={self.fingerprint!r})"


class CredentialDB:
    """An open vault; any thread may use it, and it stays usable until :meth:`close`.

    Opening derives the key anew (about 0.1 s). Failures to open are told apart: see
    :mod:`terok_sandbox.vault.store.encryption`. A closed handle raises :class:`RuntimeError`.
    """

    def __init__(self, db_path: Path, *, passphrase: str) -> None:
        self._path = Path(db_path)
        self._store = _lib.VaultStore(self._path, passphrase)

    def close(self) -> None:
        """Close the handle and wipe its key; closing again does nothing."""
        self._store.close()

    def __enter__(self) -> CredentialDB:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """Make several changes as one: kept on a clean exit, dropped on any exception (also Ctrl-C)."""
        self._store.begin()
        try:
            yield self
        except BaseException:
            self._store.end(False)
            raise
        self._store.end(True)

    def change_passphrase(self, new: str) -> None:
        """Make *new* the passphrase of this vault; a crash leaves the old one or the new one in force.

        Other open handles fail with :class:`WrongPassphraseError` from now on. The copies that tiers keep are the
        caller's matter.

        Raises:
            ValueError: *new* is empty.
            VaultBusyError: another writer is at work; nothing has changed.
        """
        self._store.change_passphrase(new)

    def store_credential(self, credential_set: str, provider: str, data: dict) -> None:
        """Store one record, replacing the one it had; ``TypeError`` when it is not JSON."""
        self._store.store_credential(credential_set, provider, json.dumps(data))

    def load_credential(self, credential_set: str, provider: str) -> dict | None:
        """Return one record, or ``None``."""
        return self._store.load_credential(credential_set, provider)

    def list_credentials(self, credential_set: str) -> list[str]:
        """Return the provider names of one set, sorted."""
        return self._store.list_credentials(credential_set)

    def list_credential_sets(self) -> list[str]:
        """Return all set names, sorted."""
        return self._store.list_credential_sets()

    def delete_credential(self, credential_set: str, provider: str) -> None:
        """Forget one record; nothing happens when there is none."""
        self._store.delete_credential(credential_set, provider)

    def store_ssh_key(
        self, key_type: str, private_der: bytes, public_blob: bytes, comment: str, fingerprint: str
    ) -> int:
        """Store a key unless its fingerprint is known; return its row number either way."""
        return self._store.store_ssh_key(key_type, private_der, public_blob, comment, fingerprint)

    def get_ssh_key_by_fingerprint(self, fp: str) -> SSHKeyRow | None:
        """Return the key with this fingerprint, without its material."""
        row = self._store.ssh_key_by_fingerprint(fp)
        return None if row is None else SSHKeyRow(**row)

    def set_ssh_key_comment(self, fp: str, comment: str) -> bool:
        """Change a comment; ``False`` when the fingerprint is unknown."""
        return self._store.set_ssh_key_comment(fp, comment)

    def assign_ssh_key(self, scope: str, key_id: int, *, allow_infra: bool = False) -> None:
        """Let *scope* use a key."""
        self._store.assign_ssh_key(scope, key_id, allow_infra)

    def unassign_ssh_key(self, scope: str, key_id: int, *, allow_infra: bool = False) -> None:
        """Take a key from *scope*; the key goes away with its last scope."""
        self._store.unassign_ssh_key(scope, key_id, allow_infra)

    def replace_ssh_keys_for_scope(self, scope: str, *, keep_key_id: int, allow_infra: bool = False) -> None:
        """Leave one key as the only one of *scope*."""
        self._store.replace_ssh_keys_for_scope(scope, keep_key_id, allow_infra)

    def unassign_all_ssh_keys(self, scope: str, *, allow_infra: bool = False) -> int:
        """Take every key from *scope*; return how many it had."""
        return self._store.unassign_all_ssh_keys(scope, allow_infra)

    def list_ssh_keys_for_scope(self, scope: str) -> list[SSHKeyRow]:
        """Return the keys of *scope*, oldest assignment first."""
        return [SSHKeyRow(**row) for row in self._store.list_ssh_keys_for_scope(scope)]

    def load_ssh_keys_for_scope(self, scope: str) -> list[SSHKeyRecord]:
        """Return the keys of *scope* with their material, oldest assignment first."""
        return [SSHKeyRecord(*record) for record in self._store.load_ssh_keys_for_scope(scope)]

    def list_scopes_with_ssh_keys(self) -> list[str]:
        """Return every scope that has a key, sorted."""
        return self._store.list_scopes_with_ssh_keys()

    def ssh_keys_version(self) -> int:
        """Return a number that grows with every change of keys, in vaults of terok 0.7.9; 0 in others."""
        return self._store.ssh_keys_version()

    def count_ssh_keys(self) -> int:
        """Return how many keys there are."""
        return self._store.count_ssh_keys()

    def create_token(self, scope: str, subject: str, credential_set: str, provider: str) -> str:
        """Mint a phantom token (``terok-p-`` and 32 hex digits) bound to the four labels."""
        return self._store.create_token(scope, subject, credential_set, provider)

    def replace_tokens(self, scope: str, subject: str, wanted: list[tuple[str, str]]) -> list[str]:
        """Mint one token per ``(credential set, provider)`` and revoke all older ones of the subject, as one step."""
        return self._store.replace_tokens(scope, subject, wanted)

    def lookup_token(self, token: str) -> dict | None:
        """Return what a token is bound to, or ``None`` when it is unknown or revoked."""
        row = self._store.lookup_token(token)
        return None if row is None else {**row}

    def token_binding(self, variables: dict[str, str]) -> dict | None:
        """Return ``scope``, ``subject`` and ``credential_set`` that all phantom tokens among the values share.

        ``None`` when they hold no token. ``credential_set`` is ``None`` when the tokens read several sets.

        Raises:
            ValueError: a token is unknown or revoked, or two of them have different owners; names the variables.
        """
        row = self._store.binding(variables)
        return None if row is None else {**row}

    def list_tokens(self) -> list[dict]:
        """Return every token with its binding; callers must mask the member ``token`` before showing it."""
        return [{**row} for row in self._store.list_tokens()]

    def revoke_tokens(self, scope: str, subject: str) -> int:
        """Revoke every token of one subject; return how many there were."""
        return self._store.revoke_tokens(scope, subject)


def open_credential_db_with_source(
    db_path: Path, *, passphrase_file: Path | None = None, systemd_creds_file: Path | None = None,
    use_keyring: bool = False, passphrase_command: str | None = None, config_fallback: str | None = None,
    prompt_on_tty: bool = False,
) -> tuple[CredentialDB, PassphraseSource]:  # fmt: skip
    """Open the vault with the first passphrase that a tier yields; return it with the tier's label.

    Raises:
        NoPassphraseError: no tier has a passphrase.
        WrongPassphraseError: a configured tier failed, or the passphrase does not fit.
    """
    passphrase, source = resolve_passphrase_with_source(
        passphrase_file=passphrase_file, systemd_creds_file=systemd_creds_file,
        use_keyring=use_keyring, passphrase_command=passphrase_command,
        config_fallback=config_fallback, prompt_on_tty=prompt_on_tty,
    )  # fmt: skip
    if not (passphrase and source):
        hint = "unlock it with `terok-sandbox vault unlock`, or run `terok-executor setup` first"
        if use_keyring:
            hint = "unlock the desktop's keyring, or the vault itself with `terok-sandbox vault unlock`"
        raise NoPassphraseError(f"cannot open the vault `{db_path}`: no passphrase is available\nhint: {hint}")
    return open_with(db_path, passphrase), source


def open_with(db_path: Path, passphrase: str) -> CredentialDB:
    """Open the vault with what a tier yields; while a change of the passphrase is unfinished, the old one fits too."""
    try:
        return CredentialDB(db_path, passphrase=passphrase)
    except WrongPassphraseError:
        from terok_sandbox.vault.store.change import successor_of

        if not (successor := successor_of(db_path, passphrase)):
            raise
        return CredentialDB(db_path, passphrase=successor)


def open_credential_db(
    db_path: Path, *, passphrase_file: Path | None = None, systemd_creds_file: Path | None = None,
    use_keyring: bool = False, passphrase_command: str | None = None, config_fallback: str | None = None,
    prompt_on_tty: bool = False,
) -> CredentialDB:  # fmt: skip
    """As :func:`open_credential_db_with_source`, without the label."""
    return open_credential_db_with_source(
        db_path, passphrase_file=passphrase_file, systemd_creds_file=systemd_creds_file,
        use_keyring=use_keyring, passphrase_command=passphrase_command,
        config_fallback=config_fallback, prompt_on_tty=prompt_on_tty,
    )[0]  # fmt: skip
