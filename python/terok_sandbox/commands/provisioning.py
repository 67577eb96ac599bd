"""Where set-up puts the passphrase of a new vault."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

# For annotations only: importing this here would cost every caller.
if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

TIERS = ("systemd-creds", "keyring", "session-file", "config")
_NONE_CHOSEN = "no passphrase tier was chosen"


def check(wanted: str | None) -> None:
    """Refuse a tier that does not exist, or not on this host, before anything is changed (``SystemExit``)."""
    from terok_sandbox.vault.store import systemd_creds

    if wanted is not None and wanted not in TIERS:
        raise SystemExit(f"cannot use passphrase tier {wanted!r}\nhint: choose one of {', '.join(TIERS)}")
    if wanted == "systemd-creds" and (obstacle := systemd_creds.obstacle()):
        raise SystemExit(f"cannot use passphrase tier 'systemd-creds': {obstacle}")


def existing(cfg: SandboxConfig) -> str | None:
    """Return the passphrase that a tier has; a locked keyring is asked, so that none is made over the one it has."""
    from terok_sandbox.vault.store import encryption

    found = cfg.resolve_passphrase()
    return encryption.load_passphrase_from_keyring() if found is None and cfg.credentials_use_keyring else found


def choose() -> str:
    """Return ``systemd-creds`` where this host can seal, else what a person on a terminal chooses.

    Raises:
        SystemExit: nobody can be asked, or the choice was not confirmed.
    """
    from terok_sandbox.vault.store import systemd_creds

    if systemd_creds.is_available():
        return "systemd-creds"
    if sys.stdin is None or not sys.stdin.isatty():
        raise SystemExit(
            "cannot provision the vault: no passphrase is available and there is no terminal to ask on\n"
            f"hint: pass --passphrase-tier with one of {', '.join(TIERS)}"
        )
    print("Where is the vault's passphrase kept?")
    print("  keyring       in the desktop's keyring (default)")
    print("  session-file  until the end of this login session; keep a copy yourself")
    print("  config        as plain text in config.yml")
    answer = _asked("keyring, session-file or config? [keyring] ").lower() or "keyring"
    if answer not in TIERS[1:]:
        raise SystemExit(f"cannot use passphrase tier {answer!r}\nhint: choose one of {', '.join(TIERS[1:])}")
    if answer == "config" and _asked("Everybody who reads that file reads the vault. Type yes: ") != "yes":
        raise SystemExit(_NONE_CHOSEN)
    return answer


def _asked(question: str) -> str:
    try:
        return input(question).strip()
    except (EOFError, KeyboardInterrupt):
        raise SystemExit(_NONE_CHOSEN) from None


def store(cfg: SandboxConfig, tier: str, passphrase: str) -> None:
    """Put *passphrase* where *tier* has it, and make the configuration say so.

    Raises:
        RuntimeError, OSError, ValueError: the tier does not take it.
    """
    from terok_native import _lib
    from terok_util import config_file_paths

    from terok_sandbox._yaml import yaml_update_section
    from terok_sandbox.vault.store import encryption, systemd_creds

    if tier == "session-file":
        _lib.vault_write_session_file(cfg.vault_passphrase_file, passphrase)
    elif tier == "systemd-creds":
        systemd_creds.seal(cfg.vault_systemd_creds_file, passphrase)
    elif tier == "keyring":
        if not encryption.store_passphrase_in_keyring(passphrase):
            raise RuntimeError("the keyring did not take the passphrase; is a desktop session running?")
        yaml_update_section(Path(config_file_paths()[-1][1]), "credentials", {"use_keyring": True})
    else:
        yaml_update_section(Path(config_file_paths()[-1][1]), "credentials", {"passphrase": passphrase})


def show(passphrase: str, echo: bool) -> None:
    """Show a new passphrase once, on the controlling terminal; on standard output only when asked to."""
    from terok_sandbox.vault.store import prompt

    text = f"vault passphrase (keep a copy off this host): {passphrase}\n"
    if echo:
        sys.stdout.write(text)
    elif not prompt.show(text):
        print(
            "`terok-sandbox vault passphrase reveal` shows the passphrase; keep a copy off this host", file=sys.stderr
        )
