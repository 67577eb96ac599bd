"""The credential audit file: one JSON object per line for each request that a broker has seen.

Every line has ``ts`` (UTC, ISO 8601, seconds), ``scope``, ``subject``, ``credential_set``, ``provider``, ``method``,
``path`` (without the query), ``status``, ``outcome`` and ``duration_ms``; where the provider's answer told, also
``model``, ``input_tokens`` and ``output_tokens``. A WebSocket is one line, written at its end, with status 101 and the
sum of what its answers consumed. A file that has grown beyond 64 MiB is moved to the same name with ``.1``, replacing
the one before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# For annotations only, as in the neighbouring module.
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_audit(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of the audit file at *path*, oldest first, those of the file moved aside included.

    A missing file yields nothing; a line that is damaged or no object is left out.

    Raises:
        OSError: a file is there and cannot be read.
    """
    import json

    for part in (path.with_name(path.name + ".1"), path):
        try:
            lines = part.open("rb")
        except FileNotFoundError:
            continue
        with lines:
            for line in lines:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict):
                    yield entry
