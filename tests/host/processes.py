"""Looking at the processes of this host, and waiting for what they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def until(happens: Callable[[], object], limit: float = 30.0) -> bool:
    """Whether `happens` becomes true in time."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if happens():
            return True
        time.sleep(0.005)
    return bool(happens())


def naming(argument: str) -> list[int]:
    """Every process that has this argument."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if argument.encode() in line.split(b"\0"):
                found.append(int(entry.name))
    return found
