"""Which agents a user has authenticated."""

from __future__ import annotations

from pathlib import Path


def list_authenticated_agents(*, db_path: Path | None = None, scope: str = "default") -> list[str]:
    """Return the sorted names that have a credential in the set *scope*; never asks for a passphrase.

    Raises:
        NoPassphraseError, WrongPassphraseError: the vault cannot be opened.
    """
    from terok_executor.integrations import sandbox as catalogue

    db = catalogue.SandboxConfig().open_credential_db(db_path, prompt_on_tty=False)
    try:
        return sorted(db.list_credentials(scope))
    finally:
        db.close()
