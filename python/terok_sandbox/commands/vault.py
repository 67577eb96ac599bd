"""Verbs of the vault: unlock, lock, list, and moving the passphrase to another tier.

Whoever moves a passphrase stores and tests the new copy before an old one goes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok_sandbox.config import PassphraseSource, SandboxConfig

_EXIT_UNREACHABLE = 2
_SHOWN_TOKEN_CHARS = 8
_TOKEN_PREFIX = "terok-p-"  # noqa: S105 - the public beginning of every phantom token
_FAILURES = (ValueError, RuntimeError, OSError)


def _config(cfg: SandboxConfig | None) -> SandboxConfig:
    from terok_sandbox.config import SandboxConfig

    return cfg or SandboxConfig()


def handle_vault_unlock(*, cfg: SandboxConfig | None = None) -> None:
    """Ask for the passphrase, check it against the vault, keep it for this session.

    Raises:
        SystemExit: nothing was entered, or the passphrase does not open the vault; nothing is kept then.
    """
    from terok_native import _lib

    from terok_sandbox.vault.store.db import CredentialDB
    from terok_sandbox.vault.store.encryption import prompt_passphrase

    cfg = _config(cfg)
    try:
        passphrase = prompt_passphrase()
        if cfg.db_path.exists():
            CredentialDB(cfg.db_path, passphrase=passphrase).close()
        _lib.vault_write_session_file(cfg.vault_passphrase_file, passphrase)
    except _FAILURES as error:
        raise SystemExit(f"cannot unlock the vault: {error}") from error
    print("vault unlocked for this session")


def handle_vault_lock(*, cfg: SandboxConfig | None = None) -> None:
    """Forget this session's passphrase; say which other tiers would still open the vault.

    Running supervisors that had it from there close the vault at once.

    Raises:
        SystemExit: the session file cannot be removed.
    """
    from terok_native import _lib

    cfg = _config(cfg)
    try:
        _lib.passphrase_forget_session_file(cfg.vault_passphrase_file)
    except OSError as error:
        raise SystemExit(f"cannot lock the vault: {error}") from error
    print("vault locked for this session")
    if left := other_tiers(cfg):
        print(f"warning: the vault still opens through {', '.join(left)}", file=sys.stderr)


def other_tiers(cfg: SandboxConfig) -> list[str]:
    """Return the tiers that are set up beside the session's file; none of them is asked."""
    return [
        name
        for name, active in (
            ("systemd-creds", cfg.vault_systemd_creds_file.is_symlink() or cfg.vault_systemd_creds_file.exists()),
            ("keyring", cfg.credentials_use_keyring),
            ("passphrase_command", bool(cfg.credentials_passphrase_command)),
            ("config.yml", bool(cfg.credentials_passphrase)),
        )
        if active
    ]


def tested_passphrase(cfg: SandboxConfig, *, prompt_on_tty: bool = False) -> tuple[str, PassphraseSource]:
    """Return the passphrase and its tier, after it has opened the vault, where there is one.

    Raises:
        SystemExit: no tier has one, it does not open the vault, or the vault cannot be used.
    """
    from terok_sandbox.vault.store import change
    from terok_sandbox.vault.store.db import CredentialDB

    try:
        passphrase, source = cfg.resolve_passphrase_with_source(prompt_on_tty=prompt_on_tty)
        if not (passphrase and source):
            raise SystemExit("no passphrase is available\nhint: unlock the vault with `terok-sandbox vault unlock`")
        if change.is_interrupted(cfg.db_path):
            raise SystemExit(
                "a change of the passphrase was interrupted\n"
                "hint: finish it with `terok-sandbox vault passphrase change`"
            )
        if cfg.db_path.exists():
            CredentialDB(cfg.db_path, passphrase=passphrase).close()
    except _FAILURES as error:
        raise SystemExit(str(error)) from error
    return passphrase, source


def handle_vault_seal(*, cfg: SandboxConfig | None = None, key: str = "auto") -> None:
    """Seal the passphrase for this user with ``systemd-creds``; never asks for it.

    Args:
        key: what it is sealed to: ``auto``, ``host``, ``tpm`` or ``tpm+host``.

    Raises:
        SystemExit: unknown *key*, this host cannot seal, no or a wrong passphrase, or sealing failed.
    """
    from terok_sandbox.vault.store import systemd_creds

    cfg = _config(cfg)
    if key not in systemd_creds.KEYS:
        raise SystemExit(f"cannot seal to `{key}`\nhint: choose one of {', '.join(systemd_creds.KEYS)}")
    if obstacle := systemd_creds.obstacle():
        raise SystemExit(f"cannot seal the vault passphrase: {obstacle}")
    passphrase, _ = tested_passphrase(cfg)
    try:
        systemd_creds.seal(cfg.vault_systemd_creds_file, passphrase, mode=systemd_creds.KEYS[key])
    except _FAILURES as error:
        raise SystemExit(str(error)) from error
    print(f"passphrase sealed in {cfg.vault_systemd_creds_file}")


def handle_vault_to_keyring(*, cfg: SandboxConfig | None = None) -> None:
    """Move the passphrase to the desktop's keyring, which becomes its only place on this host.

    Raises:
        SystemExit: no or a wrong passphrase, or the keyring does not take it; nothing has changed then.
    """
    from terok_native import _lib
    from terok_util import config_file_paths

    from terok_sandbox._yaml import yaml_update_section
    from terok_sandbox.vault.store import encryption

    cfg = _config(cfg)
    passphrase, source = tested_passphrase(cfg, prompt_on_tty=True)
    if source == "keyring":
        print("the passphrase is in the keyring already")
        return
    if not encryption.store_passphrase_in_keyring(passphrase):
        raise SystemExit(
            "the keyring did not take the passphrase; nothing has changed\n"
            "hint: a desktop session with a Secret Service (GNOME Keyring, KeePassXC, KWallet) is needed"
        )
    settings = {"use_keyring": True, "passphrase": None, "passphrase_command": None}
    try:
        yaml_update_section(Path(config_file_paths()[-1][1]), "credentials", settings)
        _lib.passphrase_forget_session_file(cfg.vault_passphrase_file)
        _lib.passphrase_forget_sealed(cfg.vault_systemd_creds_file)
    except _FAILURES as error:
        raise SystemExit(f"the keyring has the passphrase, but an older copy stays: {error}") from error
    print("passphrase moved to the keyring")


def handle_vault_list(*, include_tokens: bool = False, as_json: bool = False, cfg: SandboxConfig | None = None) -> None:
    """List credentials (and tokens, masked); field names only, never values.

    Raises:
        SystemExit: status 2 when the vault cannot be opened.
    """
    cfg = _config(cfg)
    try:
        with cfg.open_credential_db(prompt_on_tty=True) as db:
            shown: dict[str, list[dict[str, Any]]] = {"credentials": _credentials(db)}
            if include_tokens:
                shown["tokens"] = _tokens(db)
    except _FAILURES as error:
        print(f"cannot list the vault: {error}", file=sys.stderr)
        raise SystemExit(_EXIT_UNREACHABLE) from error
    if as_json:
        print(json.dumps(shown, indent=2))
        return
    for row in shown["credentials"]:
        print(f"{row['credential_set']}  {row['provider']}  {row['type']}  {', '.join(row['fields'])}")
    for row in shown.get("tokens", []):
        print(f"{row['token_prefix']}  {row['scope']}  {row['subject']}  {row['credential_set']}  {row['provider']}")


def _credentials(db: Any) -> list[dict[str, Any]]:
    rows = []
    for name in db.list_credential_sets():
        for provider in db.list_credentials(name):
            record = db.load_credential(name, provider) or {}
            fields = sorted(key for key in record if key != "type")
            kind = record.get("type", "unknown")
            rows.append({"credential_set": name, "provider": provider, "type": kind, "fields": fields})
    return rows


def _tokens(db: Any) -> list[dict[str, Any]]:
    rows = []
    for row in db.list_tokens():
        shown = row["token"][: len(_TOKEN_PREFIX) + _SHOWN_TOKEN_CHARS] + "…"
        rows.append({"token_prefix": shown, **{key: value for key, value in row.items() if key != "token"}})
    return rows
