"""The package installer on a copy with its own list: silent when done, exact words when not root."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from lane import HOST

pytestmark = pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="not a Debian system")
LIST = "# a comment\nbasic  dpkg  dpkg\nodd  no-such-package-a  -\nodd  no-such-package-b  nope\n"


@pytest.fixture
def installer():
    """A copy anybody may run, in a directory shaped like the repository."""
    with tempfile.TemporaryDirectory(dir="/tmp") as root:
        Path(root).chmod(0o755)
        folder = Path(root) / "tests/host"
        folder.mkdir(parents=True)
        for name in ("install-packages", "settings.sh"):
            shutil.copy(HOST / name, folder)
        (folder / "packages.txt").write_text(LIST)
        yield folder / "install-packages"


def run(*command, env=None):
    drop = {} if os.getuid() else {"user": 65534, "group": 65534, "extra_groups": []}
    return subprocess.run(command, text=True, capture_output=True, timeout=60, env=env, **drop)


def test_nothing_missing_is_silent(installer):
    done = run(installer, "basic")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_others_than_root_get_the_exact_command(installer):
    done = run(installer)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].strip() == (
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends "
        "no-such-package-a no-such-package-b"
    )


def test_an_unknown_group_is_refused(installer):
    done = run(installer, "nonsense")
    assert done.returncode == 125
    assert "no package group `nonsense`" in done.stderr


def test_without_dpkg_the_programs_are_named(installer):
    tools = installer.parent / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "id", "grep", "dpkg"):
        (tools / name).symlink_to(shutil.which(name))
    done = run("/bin/bash", installer, env={"PATH": str(tools)})
    assert done.returncode == 3
    assert done.stderr.splitlines()[1:] == ["  nope (no-such-package-b)"]
