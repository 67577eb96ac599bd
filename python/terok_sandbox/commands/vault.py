"""Verbs of the vault: unlock, lock, list."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

_EXIT_UNREACHABLE = 2
_SHOWN_TOKEN_CHARS = 8
_TOKEN_PREFIX = "terok-p-"  # noqa: S105 - the public beginning of every phantom token


def _config(cfg: SandboxConfig | None) -> SandboxConfig:
    from terok_sandbox.config import SandboxConfig

    return cfg or SandboxConfig()


def handle_vault_unlock(*, cfg: SandboxConfig | None = None) -> None:
    """Ask for the passphrase, check it against the vault, keep it for this session.

    Raises:
        SystemExit: nothing was entered, or the passphrase does not open the vault.
    """
    from terok_native import _lib

    from terok_sandbox.vault.store.db import CredentialDB
    from terok_sandbox.vault.store.encryption import prompt_passphrase

    cfg = _config(cfg)
    try:
        passphrase = prompt_passphrase()
        if cfg.db_path.exists():
            CredentialDB(cfg.db_path, passphrase=passphrase).close()
    except (ValueError, RuntimeError, OSError) as error:
        raise SystemExit(f"cannot unlock the vault: {error}") from error
    _lib.vault_write_session_file(cfg.vault_passphrase_file, passphrase)
    print("vault unlocked for this session")


def handle_vault_lock(*, cfg: SandboxConfig | None = None) -> None:
    """Forget this session's passphrase; say which other tiers would still open the vault."""
    cfg = _config(cfg)
    cfg.vault_passphrase_file.unlink(missing_ok=True)
    print("vault locked for this session")
    try:
        left: str | None = cfg.resolve_passphrase_with_source()[1]
    except RuntimeError as error:
        left = str(error)
    if left:
        print(f"warning: the vault still opens through another tier: {left}", file=sys.stderr)


def handle_vault_list(*, include_tokens: bool = False, as_json: bool = False, cfg: SandboxConfig | None = None) -> None:
    """List credentials (and tokens, masked); field names only, never values.

    Raises:
        SystemExit: status 2 when the vault cannot be opened.
    """
    cfg = _config(cfg)
    try:
        db = cfg.open_credential_db(prompt_on_tty=True)
    except (RuntimeError, OSError) as error:
        print(f"cannot list the vault: {error}", file=sys.stderr)
        raise SystemExit(_EXIT_UNREACHABLE) from error
    try:
        shown: dict[str, list[dict[str, Any]]] = {"credentials": _credentials(db)}
        if include_tokens:
            shown["tokens"] = _tokens(db)
    finally:
        db.close()
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
