"""The credential audit trail: one JSON object per line for each request that a broker has seen.

Every line has ``ts`` (UTC, ISO 8601, seconds), ``scope``, ``subject``, ``credential_set``, ``provider``, ``method``,
``path`` (without the query), ``status``, ``outcome`` and ``duration_ms``; where the provider's answer told, also
``model``, ``input_tokens`` and ``output_tokens``. A WebSocket is one line, written at its end, with status 101 and the
sum of what its answers consumed. A line with ``count`` stands for so many requests that failed in one minute like the
ones listed before it.

Each container has a file of its own in the directory ``<name without extension>.d`` (2 MiB, and as much rotated to
``.1``), which no other container can fill. The file of all gets a copy of every line up to a rate, where a line with
the outcome ``not_copied`` and a ``count`` stands for the rest; beyond 64 MiB it is rotated to ``.1`` as well. Files of
containers that have ended are removed, the oldest first, beyond 256 files or 64 MiB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# For annotations only, as in the neighbouring module.
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_audit(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of the trail whose file of all is *path*, oldest first, each once, rotated files included.

    A missing file yields nothing; a line that is damaged or no object is left out.

    Raises:
        OSError: a file is there and cannot be read.
    """
    import heapq
    from collections import Counter

    own = [entry for part in _own_files(path) for entry in _entries([part.with_name(part.name + ".1"), part])]
    own.sort(key=lambda entry: entry[0])
    copies = Counter(line for _, line, _ in own)

    def others() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
        for entry in _entries([path.with_name(path.name + ".1"), path]):
            if copies[entry[1]]:
                copies[entry[1]] -= 1
            elif not (own and entry[2].get("outcome") == "not_copied"):
                yield entry

    for _, _, row in heapq.merge(others(), own, key=lambda entry: entry[0]):
        yield row


def _own_files(path: Path) -> list[Path]:
    """The files of the containers; one of which only the rotated part is left is named without ``.1``."""
    names = {found.name.removesuffix(".1") for found in path.with_suffix(".d").glob("*.jsonl*")}
    return [path.with_suffix(".d") / name for name in sorted(names)]


def _entries(parts: list[Path]) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """The place in time, the line and the object of each line; a line without a time stays where it is."""
    import json

    when = ""
    for part in parts:
        try:
            lines = part.open("rb")
        except FileNotFoundError:
            continue
        with lines:
            for line in lines:
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                if isinstance(row, dict):
                    ts = row.get("ts")
                    when = max(when, ts) if isinstance(ts, str) else when
                    yield when, line, row
