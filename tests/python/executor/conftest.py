"""Fixtures of the executor's tests: a stand-in for podman on PATH."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "fixtures" / "podman"))

from double import FakePodman, first_on_path, no_podman  # noqa: F401


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePodman:
    """A stand-in that fails as podman does, but for what it is given answers to."""
    return first_on_path(tmp_path / "fake", monkeypatch).plays("exit 125")
