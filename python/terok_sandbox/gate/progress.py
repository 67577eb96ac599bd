"""Progress of a synchronisation for people: a line that rewrites itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from typing import TextIO

#: What git says about a step under way: ``Receiving objects:  45% (9/20), 1.2 MiB | 3 MiB/s``.
_STEP = re.compile(r"^(?:remote: )?([A-Z][a-z]+(?: [a-z]+)*): +(\d+)%")


def terminal_progress(stream: TextIO | None = None) -> Callable[[str], None]:
    """Return a listener for :attr:`GitGate.progress` that writes to ``stream`` (default: standard error as it is then).

    On a terminal one line shows the present step; elsewhere every finished step is a line.
    """
    out = sys.stderr if stream is None else stream
    live = out.isatty()

    def hear(line: str) -> None:
        step = _STEP.match(line)
        if step is None:
            return
        done = line.rstrip().endswith("done.")
        if live:
            text = line[: max(shutil.get_terminal_size().columns - 1, 20)]
            out.write(f"\r\x1b[K{text}" + ("\n" if done else ""))
            out.flush()
        elif done:
            out.write(f"{line}\n")
            out.flush()

    return hear
