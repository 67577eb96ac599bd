"""Fixtures of the supervisor's tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "host"))

from lane import lane_folder, pytest_terminal_summary  # noqa: F401
from supervised_site import at_site, program, site  # noqa: F401
