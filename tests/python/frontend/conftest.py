"""The adopted front ends on the real library: one account, one image set and one project for the whole folder.

Runs as an unprivileged user: ``tests/host/with-test-host --home DIR tests/host/as-tester .venv/bin/pytest ...``.
The front ends are those of ``python -m terok.adopt``; without them everything here is skipped.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e"), str(REPOSITORY / "tests/host")]

from e2e_site import Site, opened  # noqa: E402
from fixtures.real_image import agent_image, mapped  # noqa: E402
from front_site import Front  # noqa: E402
from lane import no_rootless_podman, pytest_terminal_summary  # noqa: E402, F401


def _cannot_run() -> str:
    if importlib.util.find_spec("terok.tui") is None:
        return "the front ends are not adopted: python -m terok.adopt"
    return no_rootless_podman()


@pytest.fixture(scope="package")
def account() -> Iterator[Site]:
    """An account that has set the product up; the layers below projects are those of the end-to-end suite."""
    if reason := _cannot_run():
        pytest.skip(f"front ends: {reason}")
    base, image = agent_image()
    # Short, because socket paths below it are limited.
    root = Path(tempfile.mkdtemp(prefix="tfe-", dir="/tmp"))
    try:
        with opened(root, base, image) as site:
            yield site
    finally:
        subprocess.run(["podman", "unshare", "rm", "-rf", "--", str(root)], check=False)


@pytest.fixture(scope="package")
def front(account: Site) -> Iterator[Front]:
    """The account with the choice of agents made, and what the commands said written down.

    The projects' images go at the end, and with them the two gigabytes that podman 4 copied for the mapping of users.
    Their layers are those of the agent image, so that the next run has them again in no time but that of the copy.
    """
    made = Front(account)
    try:
        yield made
    finally:
        if path := os.environ.get("TEROK_TRANSCRIPT"):
            Path(path).write_text(made.transcript())
        for name in os.listdir(account.home / ".config/terok/projects"):
            account.podman("rmi", "-f", f"{name}:l2-cli", check=False)


@pytest.fixture(scope="package")
def project(front: Front) -> str:
    """A gatekeeping project that the command line's wizard made and set up, image and mirror included."""
    made = front.by_wizard("walk")
    mapped(f"{made}:l2-cli")
    return made
