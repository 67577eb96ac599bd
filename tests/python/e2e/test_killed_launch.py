"""The launching process killed with SIGKILL at every step: the next command leaves nothing of the launch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from e2e_site import Site

DRIVER = Path(__file__).with_name("killed_launch_driver.py")
STEPS = (
    "journal", "resources", "temp folder noted", "token noted", "agent configuration", "environment and tokens",
    "sidecar", "container running", "journal closed",
)  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_killed_after(site: Site, step: str) -> None:
    before = site.traces()
    done = site.run(sys.executable, str(DRIVER), step, site.base, str(site.repository()))
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    if step == "journal closed":
        # The launch was complete: its container is listed and stays until it is stopped.
        (name,) = set(site.traces()["containers"]) - before["containers"]
        assert name in site.cli("list").stdout
        site.podman("kill", name)
        assert site.cli("stop", name).returncode == 0
    else:
        assert site.traces() != before, "the step leaves something to clear"
        listed = site.cli("list")
        assert listed.returncode == 0, listed.stderr
    assert site.traces() == before


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_killed_around_podman(site: Site, folder: Path, moment: str) -> None:
    """A podman in front of the real one kills its caller and goes on, as a real one would."""
    podman = folder / "podman"
    act = {
        "before": "kill -9 $PPID; exit 1",
        "during": "kill -9 $PPID",
        "after": 'trap "" HUP; /usr/bin/podman "$@"; kill -9 $PPID; exit 0',
    }[moment]
    podman.write_text(f'#!/bin/bash\nif [ "$1" = run ]; then {act}; fi\nexec /usr/bin/podman "$@"\n')
    podman.chmod(0o755)
    before = site.traces()
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    command = [sys.executable, str(DRIVER), "none", site.base, str(site.repository())]
    # Its output goes nowhere: the container's monitor would keep a pipe open.
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert site.cli("list").returncode == 0
    assert site.traces() == before
