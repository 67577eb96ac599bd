"""SSH key pairs: generated, read from key files, written to them. The material itself is handled natively.

Known kinds: ed25519, RSA and ECDSA on the NIST curves; key files in OpenSSH's own format, PKCS#1, SEC 1 and PKCS#8,
with or without a passphrase. Refused with a named cause: DSA, keys in hardware tokens, RSA below 2048 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from terok_native import _lib

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok_sandbox.vault.store.db import CredentialDB, SSHKeyRecord


class PasswordProtectedKeyError(ValueError):
    """The private key needs a passphrase, or another one than was given."""


class KeypairMismatchError(ValueError):
    """The public key does not belong to the private key."""


@dataclass(frozen=True, slots=True)
class GeneratedKeypair:
    """A key pair outside the vault: PKCS#8 DER without encryption, and the SSH wire form of the public key."""

    key_type: str
    private_der: bytes
    public_blob: bytes
    #: As in ``authorized_keys``: algorithm, base64, comment.
    public_line: str
    comment: str
    fingerprint: str

    def __repr__(self) -> str:
        return f"GeneratedKeypair(key_type={self.key_type!r}, fingerprint={self.fingerprint!r})"


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import did; *comment* is the one that was found or given, also when the vault keeps an older one."""

    key_id: int
    fingerprint: str
    comment: str
    already_present: bool
    scope_was_assigned: bool


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The two files of an export: the private key 0600, the public one 0644."""

    key_id: int
    fingerprint: str
    private_path: Path
    public_path: Path


@dataclass(frozen=True, slots=True)
class InfraKeypair:
    """The key pair of one of the product's own scopes; *private_pem* is OpenSSH's text without a passphrase."""

    scope: str
    private_pem: bytes
    public_line: str
    fingerprint: str
    key_type: str
    created: bool

    def __repr__(self) -> str:
        return f"InfraKeypair(scope={self.scope!r}, fingerprint={self.fingerprint!r}, created={self.created})"


def generate_keypair(key_type: str, *, comment: str) -> GeneratedKeypair:
    """Generate ``ed25519``, or ``rsa`` with 3072 bits (up to a second).

    Raises:
        ValueError: another kind, or an unsafe comment.
    """
    return GeneratedKeypair(*_lib.key_generate(key_type, comment))


def parse_openssh_keypair(
    priv_bytes: bytes, pub_bytes: bytes | None = None, *, comment_override: str | None = None,
    passphrase: str | None = None,
) -> GeneratedKeypair:  # fmt: skip
    """Read a pair from the content of its files; the comment is *comment_override*, else the public file's, else empty.

    Raises:
        PasswordProtectedKeyError: the private key needs a passphrase, or another one.
        KeypairMismatchError: the two do not belong together.
        ValueError: a file is malformed, or the kind of key is not supported.
    """
    return GeneratedKeypair(*_lib.key_read(priv_bytes, pub_bytes, comment_override, passphrase))


def import_ssh_keypair(
    db: CredentialDB, scope: str, priv_path: Path, pub_path: Path | None = None, comment: str | None = None,
    *, passphrase: str | None = None,
) -> ImportResult:  # fmt: skip
    """Store a pair from its files and assign it to *scope*; a refusal leaves nothing behind.

    Raises:
        InvalidScopeName: the scope is malformed or reserved.
        FileNotFoundError: a file does not exist.
        ValueError: as for :func:`parse_openssh_keypair`.
    """
    return ImportResult(*_lib.key_import(db._store, scope, priv_path, pub_path, comment, passphrase))


def export_ssh_keypair(
    db: CredentialDB, scope: str, out_dir: Path, key_id: int | None = None, out_name: str | None = None
) -> ExportResult:
    """Write a key of *scope* to two new files; by default the newest, as ``id_<type>_<8 hex digits>``.

    Raises:
        ValueError: the scope has no such key, or *out_name* is not a bare file name.
        FileExistsError: one of the files exists; neither is written then.
    """
    done = _lib.key_export(db._store, scope, out_dir, key_id, out_name)
    return ExportResult(done[0], done[1], Path(done[2]), Path(done[3]))


def openssh_pem_of(private_der: bytes) -> bytes:
    """Return a stored private key as OpenSSH's text, without a passphrase and without a comment."""
    return _lib.key_openssh(private_der)


def public_line_of(record: SSHKeyRecord) -> str:
    """Return algorithm, base64 and comment on one line, as in an ``authorized_keys`` file."""
    return _lib.key_public_line(record.public_blob, record.comment)


def fingerprint_of(public_blob: bytes) -> str:
    """Return ``SHA256:`` and the unpadded base64 of the digest, as ``ssh-keygen -l`` shows it."""
    return _lib.key_fingerprint(public_blob)


def ensure_infra_keypair(
    scope: str, *, db: CredentialDB, comment: str | None = None, key_type: str = "ed25519"
) -> InfraKeypair:
    """Return the newest key of one of the product's own scopes (``%…``), which is made when there is none.

    Raises:
        ValueError: the scope is not one of these.
    """
    (_, kind, fingerprint, _, line), pem, created = _lib.key_ensure_infra(db._store, scope, key_type, comment)
    return InfraKeypair(scope, pem, line, fingerprint, kind, created)
