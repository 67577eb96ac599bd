"""Writes the wheel that pip installs: the front ends at their place, their scripts and requirements."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

from terok.adopt.stock import Stock

_WHEEL = "Wheel-Version: 1.0\nGenerator: terok.adopt\nRoot-Is-Purelib: false\nTag: py3-none-any\n"


def write(stock: Stock, folder: Path) -> Path:
    """Write the wheel into *folder*; returns its path. The same front ends give the same bytes."""
    info = f"terok-{stock.version}.dist-info"
    files = {
        **dict(sorted(stock.files.items())),
        f"{info}/METADATA": _metadata(stock).encode(),
        f"{info}/entry_points.txt": stock.entry_points,
        f"{info}/WHEEL": _WHEEL.encode(),
    }
    path = folder / f"terok-{stock.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in files.items():
            wheel.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
        wheel.writestr(zipfile.ZipInfo(f"{info}/RECORD", (1980, 1, 1, 0, 0, 0)), _record(files, info))
    return path


def _metadata(stock: Stock) -> str:
    lines = [
        "Metadata-Version: 2.1",
        "Name: terok",
        f"Version: {stock.version}",
        "Summary: The stock front ends of terok, adopted over terok-rs",
        f"License: {stock.metadata['License-Expression'] or stock.metadata['License'] or 'Apache-2.0'}",
        "Requires-Python: >=3.11",
        "Requires-Dist: terok-rs",
        *(f"Requires-Dist: {line}" for line in stock.requirements()),
    ]
    return "\n".join(lines) + "\n"


def _record(files: dict[str, bytes], info: str) -> str:
    rows = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(content)}")
    return "\n".join([*rows, f"{info}/RECORD,,", ""])
