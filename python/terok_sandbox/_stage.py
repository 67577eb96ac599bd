"""Progress lines of set-up: one line per stage, its outcome at the end; and the few colours they need."""

from __future__ import annotations

import os
import sys
from types import TracebackType

_LABEL_WIDTH = 21
_DETAIL_INDENT = " " * 25


def _colour_wanted() -> bool:
    if "NO_COLOR" in os.environ:
        return False
    if os.environ.get("FORCE_COLOR", "0") != "0":
        return True
    return sys.stdout is not None and sys.stdout.isatty()


_COLOUR = _colour_wanted()


def _paint(code: int, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if _COLOUR else text


def bold(text: str) -> str:
    """Return *text* in bold when colour is on."""
    return _paint(1, text)


def red(text: str) -> str:
    """Return *text* in red when colour is on."""
    return _paint(31, text)


def green(text: str) -> str:
    """Return *text* in green when colour is on."""
    return _paint(32, text)


def yellow(text: str) -> str:
    """Return *text* in yellow when colour is on."""
    return _paint(33, text)


class StageLine:
    """Context manager behind :func:`stage_line`; the last outcome set before leaving is the one printed."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._outcome = (red("FAIL"), "no marker set")

    def __enter__(self) -> StageLine:
        print(f"  {self._label:<{_LABEL_WIDTH}}", end="", flush=True)
        return self

    def __exit__(
        self,
        _exc_type: type[BaseException] | None,
        exc: BaseException | None,
        _tb: TracebackType | None,
    ) -> None:
        if exc is not None:
            self.fail(str(exc) or type(exc).__name__)
        marker, detail = self._outcome
        first, *rest = detail.splitlines() or [""]
        print(f" {marker}" + (f" ({first})" if first else ""))
        for line in rest:
            print(f"{_DETAIL_INDENT}{line}" if line.strip() else "")
        sys.stdout.flush()

    def ok(self, detail: str = "") -> None:
        """The stage is done."""
        self._outcome = (green("ok"), detail)

    def warn(self, detail: str = "") -> None:
        """The stage is done, with a reservation."""
        self._outcome = (yellow("WARN"), detail)

    def fail(self, detail: str = "") -> None:
        """The stage failed."""
        self._outcome = (red("FAIL"), detail)

    def missing(self, detail: str = "") -> None:
        """Something the stage needs is not there."""
        self._outcome = (red("MISSING"), detail)

    def skip(self, detail: str = "") -> None:
        """The stage does not apply."""
        self._outcome = ("skip", detail)


def stage_line(label: str) -> StageLine:
    """Return a context manager that prints *label*, runs its body, and ends the line with the outcome.

    An exception in the body is shown as ``FAIL`` and goes on; a body that sets nothing is a failure, too.
    """
    return StageLine(label)
