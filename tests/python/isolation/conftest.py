"""Fixtures of the isolation tests: users with containers of their own."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "host"))

from lane import inside, pytest_terminal_summary  # noqa: F401
from tenant import Tenant, Upstream

#: Accounts need no name to be users.
UIDS = (61601, 61602)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path that every user may pass through: socket names have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="tk-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(params=["socket", "tcp"])
def tcp(request: pytest.FixtureRequest) -> bool:
    return request.param == "tcp"


@pytest.fixture
def tenant(place: Path, upstream: Upstream, tcp: bool) -> Iterator[Tenant]:
    """One user: an unprivileged one when we are root."""
    made = Tenant(place / "a", UIDS[0] if os.getuid() == 0 else os.getuid(), tcp).install(upstream.routes, "pass-of-a")
    yield made
    made.close()


@pytest.fixture
def tenants(place: Path, upstream: Upstream, tcp: bool) -> Iterator[tuple[Tenant, Tenant]]:
    """Two users."""
    if os.getuid() != 0:
        pytest.skip("only root can be two users")
    pair = [Tenant(place / name, uid, tcp) for name, uid in zip("ab", UIDS, strict=True)]
    for one in pair:
        one.install(upstream.routes, f"pass-of-{one.folder.name}")
    yield pair[0], pair[1]
    for one in pair:
        one.close()
