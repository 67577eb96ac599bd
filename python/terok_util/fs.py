"""Directories and secrets on disk."""

from pathlib import Path

from terok_native import _lib


def ensure_dir(path: Path) -> None:
    """Create *path* and its parents; an existing directory is fine."""
    Path(path).mkdir(parents=True, exist_ok=True)


def ensure_dir_writable(path: Path, label: str) -> None:
    """Make sure that *path* is a directory we can write to; *label* names its purpose in messages.

    Raises ``SystemExit`` with a text that names label and path, and how to change the owner where that would help.
    """
    _lib.base_ensure_writable(path, label)


def write_sensitive_file(path: Path, content: str | bytes) -> bool:
    """Write a secret once: directory 0700, file 0600, links refused; ``False`` when something is there already.

    Raises ``RuntimeError`` when the directory is a symbolic link, ``OSError`` when writing fails (nothing is left).
    """
    return _lib.base_write_sensitive(path, content.encode() if isinstance(content, str) else bytes(content))
