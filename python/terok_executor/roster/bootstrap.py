"""Fills the two shared tables from the roster, once, when either is first asked for.

A user's file that breaks the format is left out here with a warning, so that it cannot take every command down; asking
for the roster itself stays strict.
"""

from __future__ import annotations

import threading

_lock = threading.Lock()
_filled = False


def ensure_filled() -> None:
    """Fill ``AGENT_PROVIDERS`` and ``AUTH_PROVIDERS`` in place unless that was done."""
    global _filled
    from terok_executor.credentials import auth
    from terok_executor.provider import providers
    from terok_executor.roster import loader

    with _lock:
        if _filled:
            return
        roster = loader._shared or loader._load(strict=False)
        providers._TABLE.update(sorted(roster.providers.items()))
        auth._TABLE.update(sorted(roster.auth_providers.items()))
        _filled = True
