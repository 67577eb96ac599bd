"""Lines of a check-up: what was looked at, and how it is."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from terok.lib.util.ansi import green, red, supports_color, yellow

DEFAULT_LABEL_WIDTH = 48
STATUS_MARKERS = {"ok": "ok", "info": "info", "warn": "WARN", "error": "ERROR"}

_PAINTS = {"ok": green, "warn": yellow, "error": red}
_SEVERITY_RANK = {"ok": 0, "info": 1, "warn": 2, "error": 3}
_WORST_FIRST = ("error", "warn", "info", "ok")


def _rank(status: str) -> int:
    return _SEVERITY_RANK.get(status, 0)


def _worse(a: str, b: str) -> str:
    """Return the worse of two states, the first one when they are alike."""
    return b if _rank(b) > _rank(a) else a


def _paint_marker(status: str, *, color_on: bool) -> str:
    marker = STATUS_MARKERS.get(status, status)
    paint = _PAINTS.get(status)
    return paint(marker, color_on) if paint else marker


class _GroupContext:
    """Collects the members of a group."""

    def __init__(self) -> None:
        self.members: list[tuple[str, str]] = []

    def add(self, status: str, detail: str) -> None:
        """Add one result with the text that is shown when it is not ok."""
        self.members.append((status, detail))

    def track(self, status: str, label: str, detail: str) -> None:
        """Add one result that has a name of its own."""
        self.add(status, detail or label)

    @property
    def worst(self) -> str:
        """The worst state of a member; of equally bad ones the first."""
        return max((status for status, _ in self.members), key=_rank, default="ok")

    @property
    def summary(self) -> str:
        """``2 checks``, or how many there are of each known state, the worst first."""
        states = [status for status, _ in self.members]
        if all(state == "ok" for state in states):
            return f"{len(states)} checks"
        return ", ".join(f"{states.count(state)} {state}" for state in _WORST_FIRST if state in states)


class CheckReporter:
    """Prints check after check and remembers the worst state."""

    def __init__(self, *, width: int = DEFAULT_LABEL_WIDTH, stream: Any = None, color: bool | None = None) -> None:
        self._width = width
        self._stream = sys.stdout if stream is None else stream
        self._color = supports_color() if color is None else color
        self._worst = "ok"

    @property
    def worst_status(self) -> str:
        """The worst state so far: ``ok``, ``info``, ``warn`` or ``error``."""
        return self._worst

    def begin(self, label: str) -> None:
        """Print what is being looked at, without ending the line."""
        gap = max(self._width - len(label), 3)
        self._write(f"  {label}{' ' * gap}")

    def end(self, status: str, detail: str) -> None:
        """Print how it is, and end the line."""
        note = f" ({detail})" if detail else ""
        self._write(f"{_paint_marker(status, color_on=self._color)}{note}\n")
        self._worst = _worse(self._worst, status)

    def emit(self, status: str, label: str, detail: str) -> None:
        """Print a whole line."""
        self.begin(label)
        self.end(status, detail)

    @contextlib.contextmanager
    def group(self, label: str) -> Iterator[_GroupContext]:
        """Print one line for many checks, and one more for each that is not ok."""
        self.begin(label)
        members = _GroupContext()
        try:
            yield members
        finally:
            self.end(members.worst, members.summary)
            for status, detail in members.members:
                if status != "ok":
                    self._write(f"    {_paint_marker(status, color_on=self._color)}: {detail}\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
