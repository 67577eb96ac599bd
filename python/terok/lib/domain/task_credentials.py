"""The credentials of one task: taking its tokens away, and the log of what it did with them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

__all__ = ["audit_credentials", "revoke_credentials"]


def revoke_credentials(project_id: str, task_id: str) -> int:
    """Revoke every phantom token of the task and return their number; acts at the container's next request.

    Raises:
        NoPassphraseError, WrongPassphraseError: the vault does not open.
    """
    from terok_sandbox.vault import custody

    from terok.lib.core import config

    return custody.revoke_credentials(project_id, task_id, cfg=config.make_sandbox_config())


def audit_credentials(
    project_id: str, task_id: str, *, provider: str | None = None, since: datetime | None = None,
    tail: int | None = None,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Yield what the task did with credentials, oldest first; see :mod:`terok_sandbox.vault.custody`.

    Nothing is read before the first one is asked for.
    """
    from terok_sandbox.vault import custody

    from terok.lib.core import config

    cfg = config.make_sandbox_config()
    yield from custody.audit_credentials(project_id, task_id, provider=provider, since=since, tail=tail, cfg=cfg)
