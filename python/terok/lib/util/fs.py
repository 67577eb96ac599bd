"""Names of archives that nobody has yet, and directories that must be writable.

Archives hold what projects and tasks hold, so they are 0600 in directories that are 0700.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from terok_util import ensure_dir, ensure_dir_writable, write_sensitive_file

__all__ = [
    "archive_timestamp",
    "create_archive_dir",
    "create_archive_file",
    "ensure_dir",
    "ensure_dir_writable",
    "unique_archive_path",
    "write_sensitive_file",
]


def archive_timestamp() -> str:
    """Return the universal time to the microsecond, as names of archives carry it."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")


def _candidates(root: Path, base_name: str, suffix: str) -> Iterator[Path]:
    yield root / f"{base_name}{suffix}"
    for number in count(1):
        yield root / f"{base_name}_{number}{suffix}"


def unique_archive_path(root: Path, base_name: str, suffix: str = "") -> Path:
    """Return the first of ``base``, ``base_1``, ``base_2``, … that does not exist; another process may take it."""
    return next(path for path in _candidates(root, base_name, suffix) if not os.path.lexists(path))


def create_archive_dir(root: Path, base_name: str) -> Path:
    """Create and return a directory that is ours alone."""
    _ensure_private(root)
    for path in _candidates(root, base_name, ""):
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return path
    raise AssertionError("numbers do not end")


def create_archive_file(root: Path, base_name: str, suffix: str = ".tar.gz") -> Path:
    """Create and return an empty file that is ours alone."""
    _ensure_private(root)
    for path in _candidates(root, base_name, suffix):
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            continue
        return path
    raise AssertionError("numbers do not end")


def _ensure_private(root: Path) -> None:
    """Create *root* for its owner alone; one that exists keeps its mode."""
    missing = [path for path in (root, *root.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
