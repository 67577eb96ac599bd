"""Verbs about what containers do with credentials: revoke their tokens, read the log of uses.

They are no part of the tree that other programs extend; the command line puts them into the vault group.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from terok_util.cli_types import ArgDef, CommandDef

from terok_sandbox.commands.arguments import flag

# For annotations only: importing this here would cost every caller.
if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

_SHOWN = ("ts", "provider", "method", "path", "status", "outcome", "duration_ms")


def handle_vault_revoke(*, scope: str, subject: str, cfg: SandboxConfig | None = None) -> None:
    """Revoke every phantom token of one container and say how many there were."""
    from terok_sandbox.vault.custody import revoke_credentials

    print(f"revoked {revoke_credentials(scope, subject, cfg=cfg)} token(s) of `{scope}/{subject}`")


def handle_vault_audit(
    *, scope: str, subject: str, provider: str | None = None, since: str | None = None, tail: int | None = None,
    as_json: bool = False, cfg: SandboxConfig | None = None,
) -> None:  # fmt: skip
    """Print what one container did with credentials, a line for each request.

    Raises:
        SystemExit: *since* is no date or time in ISO format.
    """
    from terok_sandbox.vault.custody import audit_credentials

    rows = audit_credentials(scope, subject, provider=provider, since=_time(since), tail=tail, cfg=cfg)
    for row in rows:
        print(json.dumps(row) if as_json else "  ".join(_text(row.get(key)) for key in _SHOWN))


def _text(value: Any) -> str:
    from terok_util import sanitize_tty

    return sanitize_tty(str(value)) if value not in (None, "") else "-"


def _time(text: str | None) -> Any:
    """A time with a zone; one without is the host's own."""
    from datetime import datetime

    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise SystemExit(
            f"cannot read the time `{text}`\nhint: write it like 2026-01-31 or 2026-01-31T12:00:00+00:00"
        ) from error
    return when if when.tzinfo else when.astimezone()


_WHOSE = (
    ArgDef(name="scope", help="Scope of its tokens: the project, or `standalone`"),
    ArgDef(name="subject", help="Their subject: the task, the run, or the container"),
)

#: What the command lines add to the vault group.
VAULT_CUSTODY: tuple[CommandDef, ...] = (
    CommandDef(name="revoke", help="Revoke a container's tokens", handler=handle_vault_revoke, args=_WHOSE),
    CommandDef(
        name="audit",
        help="Show what a container did with credentials",
        handler=handle_vault_audit,
        args=(
            *_WHOSE,
            ArgDef(name="--provider", help="Only this provider"),
            ArgDef(name="--since", help="Not before this date or time (ISO format)"),
            ArgDef(name="--tail", type=int, help="Only the last so many"),
            flag("--json", "Print the log's own lines", dest="as_json"),
        ),
    ),
)
