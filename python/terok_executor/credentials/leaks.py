"""Real credentials that agents left in the shared directories."""

from __future__ import annotations

import sys
from pathlib import Path


def find_leaked_credentials(mounts_base: Path) -> list[tuple[str, Path]]:
    """Return ``(provider, path)`` of every credential file that is neither empty nor ours, in roster order."""
    return _leaks(mounts_base, remove=False)


def remove_leaked_credentials(mounts_base: Path) -> list[tuple[str, Path]]:
    """Delete every leaked credential file and return what was deleted."""
    return _leaks(mounts_base, remove=True)


def _leaks(mounts_base: Path, *, remove: bool) -> list[tuple[str, Path]]:
    from terok_native import _lib

    from terok_executor.roster.loader import AgentRoster, roster_mapping

    found, warnings = _lib.agents_leaks(roster_mapping(AgentRoster.shared()), mounts_base, remove)
    for line in warnings:
        print(line, file=sys.stderr)
    return [(provider, Path(path)) for provider, path in found]
