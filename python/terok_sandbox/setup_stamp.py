"""The setup stamp: which package versions the last complete set-up was made with."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path

from terok_native import _lib
from terok_native.kept import kept
from terok_util import paths as _namespace

_SCHEMA = 1


@kept
class SetupVerdict(Enum):
    """Whether set-up must run, and why."""

    OK = "ok"
    FIRST_RUN = "first_run"
    STALE_AFTER_UPDATE = "stale_after_update"
    STALE_AFTER_DOWNGRADE = "stale_after_downgrade"
    STAMP_CORRUPT = "stamp_corrupt"


def stamp_path() -> Path:
    """Return where the stamp is, in the state directory of the family."""
    return _namespace.namespace_state_dir() / "setup.stamp"


def installed_versions() -> dict[str, str]:
    """Return name and version of the family's distributions that are installed, from their metadata."""
    return _lib.sandbox_stamp_installed([entry or "." for entry in sys.path])


def needs_setup() -> SetupVerdict:
    """Compare the stamp with what is installed; distributions that are not in the stamp do not count."""
    return SetupVerdict(_lib.sandbox_stamp_verdict(stamp_path(), installed_versions()))


def read_stamp(path: Path) -> dict[str, str]:
    """Return the versions in the stamp at *path*.

    Raises ``OSError`` when it cannot be read, ``ValueError`` (``JSONDecodeError`` for broken JSON) for a wrong shape.
    """
    import json

    stamp = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(stamp, dict) or stamp.get("version") != _SCHEMA:
        raise ValueError(f"cannot use setup stamp `{path}`: not an object of version {_SCHEMA}")
    packages = stamp.get("packages")
    if not isinstance(packages, dict):
        raise ValueError(f"cannot use setup stamp `{path}`: `packages` is not an object")
    return {str(name): str(version) for name, version in packages.items()}


def write_stamp() -> Path:
    """Record the installed versions as set up now; return the stamp's path."""
    from datetime import UTC, datetime

    path = stamp_path()
    _lib.sandbox_stamp_write(path, installed_versions(), datetime.now(UTC).isoformat(timespec="seconds"))
    return path


def clear_stamp() -> bool:
    """Remove the stamp; true when there was one."""
    return _lib.sandbox_stamp_clear(stamp_path())
