"""State of terok 0.8.0 under this library, and the reverse.

``TEROK_ORIGINAL`` names a virtual environment with terok 0.8.0 in it, for the tests that run both; without it they take
the one that the benchmark made in the cache, if it did.
"""

from __future__ import annotations

import os
import subprocess
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
    cache = Path(os.environ.get("TEROK_TEST_CACHE") or Path(__file__).parents[3] / ".cache")
    python = Path(os.environ.get("TEROK_ORIGINAL") or cache / "bench/original-0.8.0") / "bin/python"
    check = "import sys, terok.lib.api; from importlib.util import find_spec; sys.exit(bool(find_spec('terok_native')))"
    if not python.exists():
        pytest.skip("terok 0.8.0 beside ours: TEROK_ORIGINAL names no environment that has it")
    if subprocess.run([python, "-c", check], capture_output=True).returncode:
        pytest.skip(f"terok 0.8.0 beside ours: {python.parents[1]} does not hold it")
    return python
