"""The verb that encrypts a vault of the days without encryption."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from terok_util.cli_types import CommandDef

from terok_sandbox.commands.arguments import NEW_PASSPHRASE

# For annotations only: importing it here would cost every caller.
if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig


def handle_credentials_encrypt_db(
    *, cfg: SandboxConfig | None = None, echo_passphrase: bool = False, passphrase_tier: str | None = None
) -> None:
    """Encrypt the database where it lies, after a backup beside it; an encrypted one is left alone.

    Without a passphrase in any tier a new one is made and kept in *passphrase_tier*.

    Raises:
        SystemExit: the tier does not do, somebody uses the database, or a file cannot be written; the database is
            untouched then.
    """
    from terok_sandbox.commands import provisioning
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.vault.store import encryption

    cfg = cfg or SandboxConfig()
    if not cfg.db_path.exists():
        raise SystemExit(f"there is no database at `{cfg.db_path}`")
    if not encryption.is_plaintext_sqlite(cfg.db_path):
        print(f"`{cfg.db_path}` is encrypted already")
        return
    provisioning.check(passphrase_tier)
    try:
        passphrase = provisioning.existing(cfg)
        if passphrase is None:
            tier, passphrase = passphrase_tier or provisioning.choose(), encryption.generate_passphrase()
            provisioning.store(cfg, tier, passphrase)
            provisioning.show(passphrase, echo_passphrase)
        kept = backup(cfg.db_path)
        encryption.encrypt_in_place(cfg.db_path, passphrase)
        # The first opening brings the tables to the current layout, and proves that the passphrase fits.
        from terok_sandbox.vault.store.db import CredentialDB

        CredentialDB(cfg.db_path, passphrase=passphrase).close()
    except (RuntimeError, OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(f"encrypted `{cfg.db_path}`\nbackup, NOT encrypted: {kept}\nremove it when everything works")


def backup(db_path: Path) -> Path:
    """Pack a plain database with its logs into a new ``.tar.gz`` (0600) beside it; return its path.

    Raises:
        OSError: it cannot be written, or exists.
    """
    import tarfile
    from datetime import datetime

    target = db_path.with_name(f"{db_path.name}.plaintext-backup-{datetime.now():%Y%m%d-%H%M%S}.tar.gz")
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz") as archive:
                for name in (db_path.name, f"{db_path.name}-wal", f"{db_path.name}-shm", f"{db_path.name}-journal"):
                    if (part := db_path.with_name(name)).exists():
                        archive.add(part, arcname=name, recursive=False)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return target


#: The group ``credentials``.
CREDENTIALS = CommandDef(
    name="credentials",
    help="The credential database",
    children=(
        CommandDef(
            name="encrypt-db",
            help="Encrypt a database of terok before 0.8 in place (deprecated)",
            handler=handle_credentials_encrypt_db,
            args=NEW_PASSPHRASE,
        ),
    ),
)
