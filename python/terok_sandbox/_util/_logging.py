"""A log that can never be the reason for a failure."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from terok_util.tty import sanitize_tty


def default_log_path() -> Path:
    """Return the sandbox's log file below the user's state directory."""
    base = os.environ.get("XDG_STATE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state"
    return root / "terok-sandbox" / "terok-sandbox.log"


class BestEffortLogger:
    """Appends lines to the file that *path_fn* names at each write; every error is swallowed."""

    def __init__(self, path_fn: Callable[[], Path]) -> None:
        self._path_fn = path_fn

    def log(self, msg: str, *, level: str = "DEBUG") -> None:
        """Append one line ``[local time] LEVEL: msg``; line breaks in *msg* are written as ``\\n`` and ``\\r``."""
        with contextlib.suppress(Exception):
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            line = f"[{stamp}] {level}: {msg}".replace("\r", "\\r").replace("\n", "\\n")
            _append(Path(self._path_fn()), line)

    def debug(self, msg: str) -> None:
        """Log at level ``DEBUG``."""
        self.log(msg, level="DEBUG")

    def warning(self, msg: str) -> None:
        """Log at level ``WARNING``."""
        self.log(msg, level="WARNING")

    def warn_user(self, component: str, msg: str) -> None:
        """Log at level ``WARNING`` and say it on stderr, made safe for a terminal."""
        with contextlib.suppress(Exception):
            print(f"Warning [{sanitize_tty(component)}]: {sanitize_tty(msg)}", file=sys.stderr)
        self.warning(f"[{component}] {msg}")


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        os.write(descriptor, (line + "\n").encode("utf-8", "backslashreplace"))
    finally:
        os.close(descriptor)
