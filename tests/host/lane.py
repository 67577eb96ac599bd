"""The test lanes for pytest: where a command runs, and what happens where it cannot.

Duty: name the lanes, phrase commands for them, and skip, or under ``CI=true`` fail, with the reason.
Invariants: a lane counts as usable only after a container ran in it; every skip of the whole run
is listed at the end with its reason. Refuses: rootful and Podman 5 lanes outside a private host.

A ``conftest.py`` takes what it needs::

    sys.path.insert(0, str(Path(__file__).parents[2] / "host"))
    from lane import lane_folder, pytest_terminal_summary, rootless

and runs under ``tests/host/with-test-host --net`` when root, as it is when not.
"""

from __future__ import annotations

import functools
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HOST = Path(__file__).resolve().parent
IMAGE = "localhost/busybox:test"


def no_rootless_podman() -> str:
    """Why this process cannot run containers as a plain user; empty when it can."""
    if reason := os.environ.get("TEROK_TEST_NO_ROOM"):
        return reason
    if os.getuid() == 0:
        return "rootless Podman needs an unprivileged user: tests/host/with-test-host tests/host/as-tester"
    if shutil.which("podman") is None:
        return "podman is not installed"
    done = subprocess.run(["podman", "info"], capture_output=True, text=True, timeout=300)
    return "" if done.returncode == 0 else f"podman does not work: {done.stderr.strip()}"


@dataclass(frozen=True)
class Lane:
    """A way to run commands: `prefix` goes before the argv.

    `number` is the lane's rank in the plan of the suite; ranks up to 3 must run in CI.
    `rootless` says whether Podman runs for an unprivileged user there.
    """

    name: str
    number: int
    prefix: tuple[str, ...]
    rootless: bool = True

    def argv(self, *command: str | Path) -> list[str]:
        return [*self.prefix, *map(str, command)]

    def run(
        self, *command: str | Path, check: bool = True, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end with text output captured; `check` raises with stderr in the message."""
        done = subprocess.run(
            self.argv(*command),
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise AssertionError(f"{command} ended with {done.returncode}: {done.stderr}")
        return done

    def require(self) -> Lane:
        """This lane, once a container ran in it; else skip (fail in CI where it must run)."""
        if reason := refusal(self):
            text = f"lane {self.number} ({self.name}): {reason}"
            if self.number <= 3 and os.environ.get("CI") == "true":
                pytest.fail(text, pytrace=False)
            pytest.skip(text)
        return self


def inside() -> bool:
    """Whether this process lives in a private host."""
    return "TEROK_TEST_HOST" in os.environ


def _script(name: str, *options: str) -> tuple[str, ...]:
    return (str(HOST / name), *options)


LANES = {
    lane.name: lane
    for lane in (
        Lane("rootless", 2, _script("as-tester")),
        Lane("rootless-runc", 3, _script("as-tester", "--runc")),
        Lane("rootful", 3, _script("as-rootful"), rootless=False),
        Lane("rootful-runc", 3, _script("as-rootful", "--runc"), rootless=False),
        Lane("podman5", 4, _script("in-podman5")),
        Lane("podman5-rootful", 4, _script("in-podman5", "--rootful"), rootless=False),
    )
}


@functools.cache
def refusal(lane: Lane) -> str:
    """Why the lane cannot run, or an empty string; tried once, with a real container."""
    if lane.number == 4 and not (_cache() / "podman5-root/etc/terok-test-packages").exists():
        return "no Podman 5 root directory; run tests/host/podman5-root"
    for command in (
        [str(HOST / "busybox-image")],
        ["podman", "run", "--rm", "--network", "none", IMAGE, "true"],
    ):
        try:
            done = lane.run(*command, check=False, timeout=300)
        except (OSError, subprocess.TimeoutExpired) as err:
            return str(err)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            return lines[-1] if lines else f"`{command[0]}` ended with {done.returncode}"
    return ""


def _cache() -> Path:
    return Path(os.environ.get("TEROK_TEST_CACHE") or HOST.parents[1] / ".cache")


def _owner() -> tuple[int, int]:
    """The user and group that rootless lanes run as."""
    if os.getuid():
        return os.getuid(), os.getgid()
    entry = pwd.getpwnam(os.environ.get("TEROK_TEST_USER", "tester"))
    return entry.pw_uid, entry.pw_gid


@pytest.fixture
def lane_folder() -> Iterator[Path]:
    """A fresh directory that the user of every lane may enter and write.

    pytest's own `tmp_path` belongs to root alone.
    """
    folder = Path(tempfile.mkdtemp(prefix="terok-lane-", dir="/tmp"))
    folder.chmod(0o755)
    if inside():
        os.chown(folder, *_owner())
    yield folder
    shutil.rmtree(folder)


def _fixture(name: str):
    @pytest.fixture(name=name.replace("-", "_"))
    def lane() -> Lane:
        return LANES[name].require()

    lane.__doc__ = f"The {name} lane, or a skip with the reason."
    return lane


rootless = _fixture("rootless")
rootful = _fixture("rootful")
podman5 = _fixture("podman5")


@pytest.fixture
def in_lane(rootless: Lane, lane_folder: Path) -> Callable[[str], Any]:
    """Runs Python text as the lane's user; the value it gives to ``tell`` comes back."""

    def run(text: str) -> Any:
        script = lane_folder / "script.py"
        paths = [entry for entry in sys.path if entry]
        head = f"import json, sys\nsys.path[:0] = {paths!r}\ntell = lambda v: print('TOLD ' + json.dumps(v))\n"
        script.write_text(head + text)
        done = rootless.run(sys.executable, script, check=False, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        told = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
        return json.loads(told[-1].removeprefix("TOLD "))

    return run


def summary(reasons: Sequence[str]) -> list[str]:
    """One line per distinct reason, the most frequent first."""
    return [f"{count:4} × {reason}" for reason, count in Counter(reasons).most_common()]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was skipped and why. Several conftest files may take this; it speaks once."""
    skipped = [
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    ]
    if skipped and not getattr(terminalreporter, "skips_are_listed", False):
        terminalreporter.skips_are_listed = True  # type: ignore[attr-defined]
        terminalreporter.section("skipped, and why")
        for line in summary(skipped):
            terminalreporter.write_line(line)
