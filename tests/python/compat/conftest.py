"""State of terok 0.8.0 under this library, and the reverse.

``TEROK_ORIGINAL`` names a virtual environment with terok 0.8.0 in it, for the tests that run both.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from compat_state import State


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


@pytest.fixture(scope="session")
def original() -> Path:
    """The original's interpreter."""
    given = os.environ.get("TEROK_ORIGINAL")
    if not given:
        pytest.skip("terok 0.8.0 beside ours: TEROK_ORIGINAL names no environment that has it")
    return Path(given) / "bin" / "python"
