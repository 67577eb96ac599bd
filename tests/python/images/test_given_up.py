"""Real builds that somebody gives up: nothing of them runs on, whichever way the wish comes.

Runs when ``TEROK_TEST_IMAGES`` is set, as the builds of whole layers do.
"""

from __future__ import annotations

import os
import pty
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from terok_executor.container import build

pytestmark = [
    pytest.mark.skipif(not os.environ.get("TEROK_TEST_IMAGES"), reason="TEROK_TEST_IMAGES is not set"),
    pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed"),
    pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="mmdebstrap is not installed"),
]
_BUILD = """
import sys
from pathlib import Path
from terok_executor.container import build
folder = Path(sys.argv[1])
build.build_project_image(dockerfile=folder / "Dockerfile", context_dir=folder, target_tag="terok-test-given-up")
"""


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"not within 30 s: {what}"
        time.sleep(0.05)


def running(mark: str) -> list[str]:
    """The command lines of processes with this text, but for that of the builder itself."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [line for line in found if mark in line]


def containers() -> set[str]:
    """All containers, those of builds too."""
    listed = ["podman", "ps", "-aq", "--external"]
    return set(subprocess.run(listed, capture_output=True, text=True, check=True, timeout=60).stdout.split())


@pytest.mark.parametrize("wish", ["a signal to the process alone", "Ctrl-C on a terminal"])
def test_a_step_does_not_outlive_the_build_it_belongs_to(tmp_path: Path, wish: str) -> None:
    mark = f"86399.{secrets.randbelow(10**9)}"
    recipe = f"FROM {build.make_base_image()}\nRUN echo begun; sleep {mark}; echo through\n"
    (tmp_path / "Dockerfile").write_text(recipe)
    before = containers()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", _BUILD, str(tmp_path)])
    until(lambda: running(f"sleep {mark}"), "the step runs")
    if wish.startswith("Ctrl-C"):
        os.write(terminal, b"\x03")
    else:
        os.kill(pid, signal.SIGINT)
    said = b""
    try:
        while chunk := os.read(terminal, 65536):
            said += chunk
    except OSError:
        pass  # how the end of a terminal looks
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    assert ended == -signal.SIGINT and b"KeyboardInterrupt" in said, said
    until(lambda: not running(f"sleep {mark}"), "the end of the step")
    until(lambda: containers() <= before, "the end of the build's container")
