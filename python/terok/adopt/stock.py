"""The stock wheel: checked against its own record, and what of it is taken."""

from __future__ import annotations

import base64
import hashlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

KNOWN = ("0.7.9", "0.8.0")
"""The versions whose front ends are known to fit this library; the older one is no longer published."""
FOLDER = "terok_front_ends"
_PACKAGES = ("terok/tui/", "terok/cli/")
_READ_BY_THEM = ("terok/resources/tmux/", "terok/resources/desktop/")
#: What the front ends import; the other requirements of the wheel are those of its library.
_NEEDED = {"argcomplete", "jinja2", "rich", "textual", "textual-serve"}
#: What reading a file that is no wheel, or a damaged one, may end with.
_DAMAGED = (OSError, EOFError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error)


class NotTheFrontEnds(ValueError):
    """The file is not a wheel that can be adopted; the text says why."""


@dataclass(frozen=True)
class Stock:
    """A wheel whose every taken file agrees with its record."""

    version: str
    metadata: Message
    entry_points: bytes
    files: dict[str, bytes]
    """Where each file goes below the packages' folder, and its content."""

    def requirements(self) -> list[str]:
        """Return the requirements of the front ends, as the wheel words them."""
        wanted = self.metadata.get_all("Requires-Dist") or []
        return [line for line in wanted if _name(line) in _NEEDED]


def _name(requirement: str) -> str:
    end = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), len(requirement))
    return requirement[:end].lower().replace("_", "-")


def read(path: Path) -> Stock:
    """Read the wheel at *path*.

    Raises:
        NotTheFrontEnds: not a wheel of a known version of terok, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as wheel:
            return _read(wheel, path)
    except NotTheFrontEnds:
        raise
    except _DAMAGED as error:
        raise NotTheFrontEnds(f"`{path}` cannot be read as a wheel: {error}") from error


def _read(wheel: zipfile.ZipFile, path: Path) -> Stock:
    info = next((n.partition("/")[0] for n in wheel.namelist() if n.endswith(".dist-info/METADATA")), None)
    if info is None:
        raise NotTheFrontEnds(f"`{path}` is not a wheel: it has no METADATA")
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    name, version = metadata["Name"], metadata["Version"]
    if name != "terok" or version not in KNOWN:
        raise NotTheFrontEnds(f"`{path}` holds {name} {version}, not terok {' or '.join(KNOWN)}")
    record = _record(wheel.read(f"{info}/RECORD").decode())
    files = dict(_taken(wheel, record))
    if not any(name.endswith("/tui/app.py") for name in files):
        raise NotTheFrontEnds(f"`{path}` has no front ends in it")
    return Stock(version, metadata, _agreed(wheel, record, f"{info}/entry_points.txt"), files)


def _record(text: str) -> dict[str, str]:
    rows = (line.rsplit(",", 2) for line in text.splitlines() if line)
    return {name.strip('"'): digest for name, digest, _ in rows}


def _taken(wheel: zipfile.ZipFile, record: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    for name in wheel.namelist():
        if name.endswith("/") or not name.startswith((*_PACKAGES, *_READ_BY_THEM)):
            continue
        if ".." in Path(name).parts:
            raise NotTheFrontEnds(f"the file name `{name}` leaves its folder")
        # Resources are looked for in the package itself.
        yield (f"{FOLDER}/{name}" if name.startswith(_PACKAGES) else name), _agreed(wheel, record, name)


def _agreed(wheel: zipfile.ZipFile, record: dict[str, str], name: str) -> bytes:
    """The content of a file, which the wheel's own record confirms."""
    content = wheel.read(name)
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    if record.get(name) != f"sha256={digest}":
        raise NotTheFrontEnds(f"`{name}` differs from the wheel's own record")
    return content
