"""Real agents in real containers, from the outside: the command line and the Python interface.

Runs as an unprivileged user with rootless Podman and the machine's network (for the first build of the image, which the
account's store then keeps).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
sys.path[:0] = [str(HERE), str(REPOSITORY / "tests/host"), str(REPOSITORY / "demo")]

from e2e_site import Site, opened  # noqa: E402
from fixtures.real_image import agent_image, mapped  # noqa: E402
from lane import no_rootless_podman, pytest_terminal_summary  # noqa: E402, F401


@pytest.fixture(scope="package")
def image() -> tuple[str, str]:
    """The base image and the agent image."""
    if reason := no_rootless_podman():
        pytest.skip(f"end to end: {reason}")
    base, image = agent_image()
    mapped(image)
    return base, image


@pytest.fixture(scope="package")
def shared_site(image: tuple[str, str]) -> Iterator[Site]:
    # Short, because socket paths below it are limited.
    root = Path(tempfile.mkdtemp(prefix="te2e-", dir="/tmp"))
    try:
        with opened(root, *image) as site:
            yield site
    finally:
        # Some files belong to ids that only the container's user namespace may touch.
        subprocess.run(["podman", "unshare", "rm", "-rf", "--", str(root)], check=False)


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """The suite's account, without any container before and after."""
    yield shared_site
    shared_site.stop_all()


@pytest.fixture
def folder(shared_site: Site) -> Path:
    """A fresh directory of the account, apart from the temp folder that is watched for leftovers."""
    return Path(tempfile.mkdtemp(prefix="t", dir=shared_site.root))
