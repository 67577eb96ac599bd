"""What the kill campaigns share: seeded dice, figures, clients that remember when they asked and what they got.

A campaign kills a victim with SIGKILL at a moment the dice choose, while clients work; after every kill it waits until
the product serves again, and looks whether anything is lost. The seed is `TEROK_KILL_SEED`, printed with the figures.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SEED = int(os.environ.get("TEROK_KILL_SEED") or 20_261_122)
#: Longest time after a kill until everything is served again.
RECOVERY_LIMIT = 15.0


def dice(name: str) -> random.Random:
    """A generator of its own for each campaign, so that one more kill in one changes no other."""
    return random.Random(f"{SEED} {name}")


@dataclass
class Figures:
    """Kills and recoveries of one run, by victim."""

    recoveries: dict[str, list[float]] = field(default_factory=dict)

    def note(self, victim: str, seconds: float) -> None:
        self.recoveries.setdefault(victim, []).append(seconds)

    def table(self) -> list[str]:
        lines = [
            f"seed {SEED} (TEROK_KILL_SEED)",
            f"{'victim':34} {'kills':>5} {'recovered':>9} {'median':>8} {'slowest':>8}",
        ]
        for victim, times in sorted(self.recoveries.items()):
            median = sorted(times)[len(times) // 2]
            lines.append(f"{victim:34} {len(times):5} {len(times):9} {median:7.3f}s {max(times):7.3f}s")
        lines.append(f"{'in all':34} {sum(map(len, self.recoveries.values())):5}")
        return lines

    def hand_over(self) -> None:
        """Adds the figures to the file that the whole suite's sum is made of, when there is one."""
        if place := os.environ.get("TEROK_KILL_FIGURES"):
            with Path(place).open("a", encoding="utf-8") as file:
                for victim, times in self.recoveries.items():
                    file.write(json.dumps({"victim": victim, "kills": len(times), "slowest": max(times)}) + "\n")


@dataclass(frozen=True)
class Asked:
    """One request: when it began and ended, and either what was said or that the connection broke."""

    began: float
    ended: float
    said: str
    broken: bool


class Broken(Exception):
    """The connection ended without an answer; allowed only around a kill."""


class Client(threading.Thread):
    """Asks again and again until told to stop. `ask` returns what was said or raises `Broken`."""

    def __init__(self, name: str, ask: Callable[[], str], pause: float) -> None:
        super().__init__(name=name, daemon=True)
        self.asked: list[Asked] = []
        self.surprise: BaseException | None = None
        self._ask, self._pause, self._stop_now = ask, pause, threading.Event()

    def run(self) -> None:
        try:
            while not self._stop_now.wait(self._pause):
                began = time.monotonic()
                try:
                    said, broken = self._ask(), False
                except (Broken, OSError) as error:
                    said, broken = f"{type(error).__name__}: {error}", True
                self.asked.append(Asked(began, time.monotonic(), said, broken))
        except BaseException as error:
            self.surprise = error

    def end(self) -> None:
        self._stop_now.set()
        self.join(60)
        assert not self.is_alive(), f"{self.name} hangs"
        if self.surprise:
            raise self.surprise

    def verdicts(self, windows: list[tuple[float, float]], good: Callable[[str], bool]) -> dict[str, int]:
        """How often each answer was given. Fails for an answer that names no cause, and for a break without a kill."""
        count = {"served": 0, "refused": 0, "broken": 0}
        for one in self.asked:
            if one.broken:
                inside = any(begin <= one.ended and one.began <= end for begin, end in windows)
                assert inside, f"{self.name}: no kill explains `{one.said}`"
                count["broken"] += 1
            elif good(one.said):
                count["served"] += 1
            else:
                assert named(one.said), f"{self.name}: `{one.said}` names no cause"
                count["refused"] += 1
        return count


#: The causes that a service gives while it comes back.
CAUSES = ("Vault locked", "Upstream disconnected", "Upstream request failed")


def named(said: str) -> bool:
    """Whether a refusal says why."""
    return any(cause in said for cause in CAUSES)


def children(pid: int) -> list[int]:
    """The living children of a process's first thread."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def recovered(serves: Callable[[], bool], since: float) -> float:
    """Seconds from `since` until `serves`; fails when that takes too long."""
    while not serves():
        assert time.monotonic() - since < RECOVERY_LIMIT, "not served again"
        time.sleep(0.003)
    return time.monotonic() - since


def add_up(lines: list[str]) -> list[str]:
    """The table of a whole run: one line per victim, and the sum."""
    kills: dict[str, int] = {}
    slowest: dict[str, float] = {}
    for one in map(json.loads, lines):
        name = one["victim"]
        kills[name] = kills.get(name, 0) + one["kills"]
        slowest[name] = max(slowest.get(name, 0.0), one.get("slowest") or 0.0)
    table = []
    for name, count in sorted(kills.items()):
        # Some campaigns look whether anything is lost, and not how soon it is served again.
        longest = f", slowest recovery {slowest[name]:.2f} s" if slowest[name] else ""
        table.append(f"{name:34} {count:5} kills{longest}")
    return ["killed with SIGKILL while clients worked:", *table, f"{'in all':34} {sum(kills.values()):5}"]


if __name__ == "__main__":
    print("\n".join(add_up(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())))
