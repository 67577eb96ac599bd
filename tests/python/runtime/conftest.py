"""Fixtures of the runtime tests: a stand-in for podman on PATH, or real containers in a lane."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(TESTS / "host"), str(TESTS / "fixtures" / "podman")]

from double import no_podman, podman  # noqa: E402, F401
from lane import in_lane, lane_folder, pytest_terminal_summary, rootless  # noqa: E402, F401
