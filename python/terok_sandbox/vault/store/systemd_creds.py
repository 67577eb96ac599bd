"""The passphrase sealed by ``systemd-creds`` to this host, its TPM, or both.

The program is looked up once per process and must be of systemd 257 or newer; the passphrase goes through pipes.
"""

from __future__ import annotations

from pathlib import Path

from terok_native import _lib

#: What operators write, and what ``systemd-creds`` calls it.
KEYS = {"auto": "auto", "host": "host", "tpm": "tpm2", "tpm+host": "host+tpm2"}


def is_available() -> bool:
    """Return whether this host can seal."""
    return obstacle() is None


def obstacle() -> str | None:
    """Return why this host cannot seal, or ``None`` when it can."""
    return _lib.passphrase_seal_obstacle()


def systemd_creds_has_tpm2() -> bool:
    """Return whether this host can seal and has a TPM for it (asked within 5 s)."""
    return _lib.passphrase_has_tpm2()


has_tpm2 = systemd_creds_has_tpm2


def seal(path: Path, passphrase: str, *, mode: str = "auto") -> None:
    """Seal *passphrase* and store it in *path* (0600, atomically) after it was opened again for a test.

    Args:
        mode: ``auto``, ``host``, ``tpm2`` or ``host+tpm2``.

    Raises:
        ValueError: the passphrase is empty.
        RuntimeError: sealing is not possible here, a link is in the way, or what was sealed does not open.
        OSError: the file cannot be written. The old file stays in every case.
    """
    if path.is_symlink():
        raise RuntimeError(f"cannot seal the vault passphrase: `{path}` is a symbolic link")
    trial = path.with_name(path.name + ".new")
    _lib.passphrase_seal(trial, passphrase, mode)
    try:
        if _lib.passphrase_unseal(trial) != passphrase:
            raise RuntimeError("cannot seal the vault passphrase: what was sealed opens as something else")
        trial.replace(path)
    except BaseException:
        trial.unlink(missing_ok=True)
        raise


def unseal(path: Path) -> str | None:
    """Return the sealed passphrase, or ``None`` when it cannot be opened, whatever the reason."""
    from terok_sandbox.vault.store.encryption import WrongPassphraseError

    try:
        return _lib.passphrase_unseal(path)
    except WrongPassphraseError:
        return None
