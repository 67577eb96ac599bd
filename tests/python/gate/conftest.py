"""Fixtures of the gate's tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "supervisor"))

from supervised_site import at_site, program, site  # noqa: F401
