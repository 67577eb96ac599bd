"""The library's log, and warnings that go to the user as well. Neither ever fails."""

import contextlib
import sys
import time
from pathlib import Path

from terok_native import _lib

LOG_FILENAME = "terok.log"


def sanitize_tty(text: str) -> str:
    """Return *text* on one line and without anything that a terminal would act on."""
    return _lib.base_sanitize_tty(text)


def _terok_log_path() -> Path:
    """Return the log of this layer; asked for at every line."""
    from terok.lib.core import paths

    return paths.core_state_dir() / LOG_FILENAME


def _log(message: str, *, level: str = "DEBUG") -> None:
    """Append one line with the local time."""
    # Whoever logs is usually in trouble already.
    with contextlib.suppress(Exception):
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        _lib.project_log(_terok_log_path(), stamp, level, _text(message))


def _text(message: object) -> str:
    """Return text that the engine takes; what no encoding knows is shown as escapes."""
    return str(message).encode("utf-8", "backslashreplace").decode("utf-8")


def _log_debug(message: str) -> None:
    """Append a line for whoever looks for the cause later."""
    _log(message)


def log_warning(message: str) -> None:
    """Append a line about something that is not as it should be."""
    _log(message, level="WARNING")


def warn_user(component: str, message: str) -> None:
    """Say ``Warning [component]: message`` on stderr, and log it."""
    part, line = sanitize_tty(_text(component)), sanitize_tty(_text(message))
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(f"Warning [{part}]: {line}", file=sys.stderr)
    log_warning(f"[{part}] {line}")
