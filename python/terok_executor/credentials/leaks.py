"""Real credentials that agents left in the shared directories."""

from __future__ import annotations

import sys
from pathlib import Path


def find_leaked_credentials(mounts_base: Path) -> list[tuple[str, Path]]:
    """Return ``(provider, path)`` of every credential file that is neither empty nor ours, in roster order."""
    return _leaks(mounts_base, remove=False)


def remove_leaked_credentials(mounts_base: Path, *, keep: frozenset[str] = frozenset()) -> list[tuple[str, Path]]:
    """Delete every leaked credential file, those of the providers *keep* excepted, and return what was deleted."""
    return _leaks(mounts_base, remove=True, keep=keep)


def mount_trees() -> list[Path]:
    """Return every directory of shared mounts: the host's, and those of projects with credentials of their own."""
    from terok_executor import paths

    return [paths.mounts_dir(), *paths.project_mounts_dirs()]


def _leaks(mounts_base: Path, *, remove: bool, keep: frozenset[str] = frozenset()) -> list[tuple[str, Path]]:
    from terok_native import _lib

    from terok_executor.roster.loader import AgentRoster, roster_mapping

    table = roster_mapping(AgentRoster.shared())
    routes = {name: route for name, route in table["vault_routes"].items() if name not in keep}
    found, warnings = _lib.agents_leaks({**table, "vault_routes": routes}, mounts_base, remove)
    for line in warnings:
        print(line, file=sys.stderr)
    return [(provider, Path(path)) for provider, path in found]
