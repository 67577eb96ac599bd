from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from container_box import Box, why_not


@pytest.fixture(scope="session")
def namespaces():
    reason = why_not()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture
def box(namespaces):
    base = Path(tempfile.mkdtemp(prefix="bx", dir="/tmp"))
    base.chmod(0o755)
    yield Box(base / "b")
    shutil.rmtree(base, ignore_errors=True)
