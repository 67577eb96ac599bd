"""Fixtures of the test host's own tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "host"))

from lane import lane_folder, pytest_terminal_summary  # noqa: F401
