"""Fixtures of the launch tests: a configuration of its own, a stand-in for podman, or real containers in a lane."""

import sys
from pathlib import Path

import pytest
from terok_sandbox import SandboxConfig

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(TESTS / "host"), str(TESTS / "fixtures" / "podman")]

from double import podman  # noqa: E402, F401
from lane import in_lane, lane_folder, pytest_terminal_summary, rootless  # noqa: E402, F401


@pytest.fixture
def cfg(tmp_path: Path) -> SandboxConfig:
    """A configuration whose directories lie below the test's own."""
    return SandboxConfig(
        state_dir=tmp_path / "s",
        runtime_dir=tmp_path / "r",
        config_dir=tmp_path / "c",
        vault_dir=tmp_path / "v",
        services_mode="socket",
        allow_root=True,
    )
