"""Published holes of podman: which of them the installed version has, by its number alone.

Distributions repair older versions without changing the number, so a finding is a warning, with the way to find out.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path(__file__).parent / "resources" / "podman-advisories.toml"
_CHECK = "distributions repair older versions without a new number: look for the ids in the package's changelog"


@dataclass(frozen=True)
class Advisory:
    """One advisory: from which version on podman is affected, and the fixed version of each release line."""

    id: str
    since: str
    fixed: tuple[str, ...]
    what: str
    ours: str

    def affects(self, version: tuple[int, ...]) -> bool:
        """True for a version that has the hole."""
        fixed = [_numbers(text) for text in self.fixed]
        repaired = version >= max(fixed) or any(version[:2] == line[:2] and version >= line for line in fixed)
        return version >= _numbers(self.since) and not repaired


@functools.cache
def table() -> tuple[Advisory, ...]:
    """All advisories, the worst first."""
    import tomllib

    rows = tomllib.loads(_TABLE.read_text(encoding="utf-8"))["advisory"]
    return tuple(Advisory(**{**row, "fixed": tuple(row["fixed"])}) for row in rows)


def known_holes(version: tuple[int, ...]) -> list[Advisory]:
    """The advisories that affect a version of podman."""
    return [advisory for advisory in table() if advisory.affects(version)]


def report(version: tuple[int, ...]) -> tuple[bool, str]:
    """True without known holes, and the text for `setup` and `doctor`: one line per hole, then how to check."""
    holes = known_holes(version)
    text = ".".join(str(number) for number in version)
    if not holes:
        return True, f"no known holes in podman {text}"
    lines = [f"podman {text} has {len(holes)} known hole{'s' if len(holes) > 1 else ''}"]
    lines += [f"{hole.id}, fixed in {' and '.join(hole.fixed)}: {hole.what} ({hole.ours})" for hole in holes]
    return False, "\n".join([*lines, _CHECK])


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split("."))
