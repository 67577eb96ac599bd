"""Fixtures of the isolation tests: users with containers of their own."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "host"))

from lane import inside, pytest_terminal_summary  # noqa: F401
from tenant import Tenant, Upstream, place, upstream  # noqa: F401

#: Accounts need no name to be users.
UIDS = (61601, 61602)


@pytest.fixture(params=["socket", "tcp"])
def tcp(request: pytest.FixtureRequest) -> bool:
    return request.param == "tcp"


@pytest.fixture
def tenant(place: Path, upstream: Upstream, tcp: bool) -> Iterator[Tenant]:  # noqa: F811
    """One user: an unprivileged one when we are root."""
    made = Tenant(place / "a", UIDS[0] if os.getuid() == 0 else os.getuid(), tcp).install(upstream.routes, "pass-of-a")
    yield made
    made.close()


@pytest.fixture
def tenants(place: Path, upstream: Upstream, tcp: bool) -> Iterator[tuple[Tenant, Tenant]]:  # noqa: F811
    """Two users."""
    if os.getuid() != 0:
        pytest.skip("only root can be two users")
    pair = [Tenant(place / name, uid, tcp) for name, uid in zip("ab", UIDS, strict=True)]
    for one in pair:
        one.install(upstream.routes, f"pass-of-{one.folder.name}")
    yield pair[0], pair[1]
    for one in pair:
        one.close()
