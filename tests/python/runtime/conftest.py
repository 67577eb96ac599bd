"""Fixtures of the runtime tests: a stand-in for podman on PATH, or real containers in a lane."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(TESTS / "host"), str(TESTS / "fixtures" / "podman")]

from double import no_podman, podman  # noqa: E402, F401
from lane import Lane, lane_folder, pytest_terminal_summary, rootless  # noqa: E402, F401


@pytest.fixture
def in_lane(rootless: Lane, lane_folder: Path) -> Callable[[str], Any]:  # noqa: F811
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
