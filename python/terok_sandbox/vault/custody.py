"""What containers hold and have done with it: stored logins, revocation, and the broker's log of uses.

Everything here looks at the vault and the log as they are now; nothing is cached, nothing is asked on the terminal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

# For annotations only: importing this here would cost every caller.
if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig


def _config(cfg: SandboxConfig | None) -> SandboxConfig:
    from terok_sandbox.config import SandboxConfig

    return cfg or SandboxConfig()


def list_authenticated_agents(*, db_path: Path | None = None, scope: str = "default") -> list[str]:
    """Return the providers with a stored credential in the set *scope*, sorted.

    Raises:
        NoPassphraseError, WrongPassphraseError: the vault (*db_path*, default the configured one) does not open.
    """
    db = _config(None).open_credential_db(db_path)
    try:
        return list(db.list_credentials(scope))
    finally:
        db.close()


def revoke_credentials(project_id: str, task_id: str, *, cfg: SandboxConfig | None = None) -> int:
    """Revoke every phantom token of one task and return their number.

    Acts at the container's next request; what is under way ends by itself, and the container goes on running.

    Raises:
        NoPassphraseError, WrongPassphraseError: the vault does not open.
    """
    db = _config(cfg).open_credential_db()
    try:
        return int(db.revoke_tokens(project_id, task_id))
    finally:
        db.close()


def audit_credentials(
    project_id: str, task_id: str, *, provider: str | None = None, since: datetime | None = None,
    tail: int | None = None, cfg: SandboxConfig | None = None,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Yield what one task did with credentials, oldest first: the log's objects as they were written.

    Kept are the lines of *project_id* and *task_id*, of *provider* if given, not older than *since* (a line whose time
    cannot be read is kept), and of these the last *tail*. Lines that are no objects are passed over; without a log
    there are none. The log that was moved aside is read as well.

    Raises:
        ValueError: *since* has no time zone (when the first line of the task is reached).
    """
    found = _matching(_config(cfg).credential_audit_log_path, project_id, task_id, provider, since)
    return iter(deque(found, maxlen=tail)) if tail is not None and tail > 0 else found


def _matching(
    path: Path, project_id: str, task_id: str, provider: str | None, since: datetime | None
) -> Iterator[dict[str, Any]]:
    from terok_sandbox.vault.daemon.audit import read_audit

    for row in read_audit(path):
        if (row.get("scope"), row.get("subject")) != (project_id, task_id):
            continue
        if provider is not None and row.get("provider") != provider:
            continue
        if since is None or _is_new_enough(row.get("ts"), since):
            yield row


def _is_new_enough(text: Any, since: datetime) -> bool:
    if since.tzinfo is None:
        raise ValueError("cannot compare times: `since` must be offset-aware")
    try:
        when = datetime.fromisoformat(text)
        return when >= since
    except (TypeError, ValueError):
        return True
