"""Fixtures of the kill campaigns: an installation with a container, and figures that are printed at the end."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "isolation"))
sys.path.insert(0, str(Path(__file__).parents[2] / "host"))

import lane
from campaign import Figures
from tenant import Tenant, Upstream

FIGURES = Figures()


@pytest.fixture(scope="session")
def figures() -> Figures:
    return FIGURES


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def tenant(upstream: Upstream) -> Iterator[Tenant]:
    """An installation on ports, because git wants some."""
    with tempfile.TemporaryDirectory(prefix="tk-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        made = Tenant(Path(folder) / "a", os.getuid(), tcp=True).install(upstream.routes, "pass")
        yield made
        made.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lane.pytest_terminal_summary(terminalreporter)
    if FIGURES.recoveries:
        terminalreporter.section("killed")
        for line in FIGURES.table():
            terminalreporter.write_line(line)
        FIGURES.hand_over()
