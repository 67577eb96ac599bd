"""Fixtures of the kill campaigns: an installation with a container, and figures that are printed at the end."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "isolation"))
sys.path.insert(0, str(Path(__file__).parents[2] / "host"))

import lane
from campaign import Figures
from tenant import Tenant, Upstream, place, upstream  # noqa: F401

FIGURES = Figures()


@pytest.fixture(scope="session")
def figures() -> Figures:
    return FIGURES


@pytest.fixture
def tenant(place: Path, upstream: Upstream) -> Iterator[Tenant]:  # noqa: F811
    """An installation on ports, because git wants some."""
    made = Tenant(place / "a", os.getuid(), tcp=True).install(upstream.routes, "pass")
    yield made
    made.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lane.pytest_terminal_summary(terminalreporter)
    if FIGURES.recoveries:
        terminalreporter.section("killed")
        for line in FIGURES.table():
            terminalreporter.write_line(line)
        FIGURES.hand_over()
