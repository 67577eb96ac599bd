"""Measured figures: how one is told to whoever collects them, and how times are taken.

A part of the benchmark prints readable lines and, for each figure, one line that begins with `RESULT` and holds JSON.
Baseline and subject always alternate within one run, so that whatever else the machine does hits both alike; what is
judged is a median of ratios or differences.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

MARK = "RESULT "


@dataclass(frozen=True)
class Figure:
    """One line of the table; *against* says what the figure is compared with."""

    name: str
    measured: str
    bar: str
    against: str
    met: bool


def tell(name: str, measured: str, *, bar: str, against: str, met: bool) -> None:
    """Hand a figure to the collector."""
    print(MARK + json.dumps(asdict(Figure(name, measured, bar, against, met))), flush=True)


def told(line: str) -> Figure | None:
    """The figure in a line, if it holds one."""
    return Figure(**json.loads(line.removeprefix(MARK))) if line.startswith(MARK) else None


def say(text: str) -> None:
    """One line for people."""
    print(f"    {text}", flush=True)


def run_for_time(argv: Sequence[str], stdin: str = "/dev/null", name: str | None = None) -> float:
    """Milliseconds from starting a program to its end; its output is thrown away.

    *name* replaces the program's own name in its arguments. `SystemExit` when it fails.
    """
    opened = [
        (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
    ]
    began = time.perf_counter()
    pid = os.posix_spawn(argv[0], [name or argv[0], *argv[1:]], os.environ, file_actions=opened)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    took = (time.perf_counter() - began) * 1e3
    if status:
        raise SystemExit(f"`{shlex.join(argv)}` ended with status {status}")
    return took


def alternate(subjects: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Take every time once a round; the first round warms up and does not count."""
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(rounds + 1):
        for name, take in subjects.items():
            took = take()
            if number:
                times[name].append(took)
    return times


def difference(subject: Sequence[float], base: Sequence[float]) -> float:
    """Median of what the subject takes beyond its neighbour of the same round."""
    return statistics.median(a - b for a, b in zip(subject, base, strict=True))


def ratio(subject: Sequence[float], base: Sequence[float]) -> float:
    """Median of the subject's share of its neighbour of the same round."""
    return statistics.median(a / b for a, b in zip(subject, base, strict=True))


def median(times: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(times)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What Python prints goes nowhere for a while; failures are exceptions."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
