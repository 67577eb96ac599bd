"""The second part of the demo: a repository by URL, through the git gate.

A real git server on the loopback serves it, and would take pushes. The agent clones from the mirror on this host,
commits and pushes; the branch must then be in the mirror while the upstream is as it was, and the container's gate
token must open no other repository. Everything here is looked up after the fact, by git or over the gate's own socket.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from terok_util.tty import clean_text

BRANCH = "fix/greeting"
PROMPT = (
    "The test in test_greet.py fails. Fix greet.py so that it passes and run the test. Then commit the fix on a new "
    f"branch named {BRANCH} and push that branch to origin."
)
_WAIT_S = 60


#: Nothing that an agent left in a directory, and no configuration but git's own defaults, makes this git run a program.
_INERT = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.attributesFile=/dev/null")
_INERT_ENVIRONMENT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}


def git(folder: Path, *words: str) -> str:
    """Run git in a folder of ours; its output."""
    command = ["git", "-C", str(folder), *_INERT, *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(command, check=True, capture_output=True, env={**environment, **_INERT_ENVIRONMENT})
    return done.stdout.decode(errors="replace").strip()


@contextlib.contextmanager
def git_server(base: Path, *repositories: Path) -> Iterator[str]:
    """Serve bare clones of *repositories* from *base*, pushes welcome; the address they stand below."""
    for repository in repositories:
        git(base.parent, "clone", "-q", "--bare", str(repository), str(base / f"{repository.name}.git"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["git", "daemon", "--listen=127.0.0.1", f"--port={port}", f"--base-path={base}", "--export-all"]
    with subprocess.Popen([*command, "--enable=receive-pack", "--reuseaddr"], stderr=subprocess.DEVNULL) as server:
        try:
            _until(lambda: _answers(port), "the git server answers")
            yield f"git://127.0.0.1:{port}"
        finally:
            server.terminate()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {_WAIT_S} s: {what}")
        time.sleep(0.05)


class Gate:
    """The gate of one running container, asked from this host the way the container asks."""

    def __init__(self, sidecar: Path, runtime: Path) -> None:
        _until(sidecar.is_file, "the container's sidecar is written")
        told = json.loads(sidecar.read_text())
        self.own, self._token = told["gate_scope"], told["gate_token"]
        self._socket = runtime / "run" / sidecar.stem / "gate-server.sock"
        _until(self._socket.exists, "the container's gate listens")

    def status(self, repository: str, *, token: bool = True) -> int:
        """The HTTP status for the first request of a clone."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(10)
        connection.sock.connect(str(self._socket))
        login = base64.b64encode(f"{self._token}:".encode()).decode()
        headers = {"Authorization": f"Basic {login}"} if token else {}
        connection.request("GET", f"/{repository}.git/info/refs?service=git-upload-pack", headers=headers)
        status = connection.getresponse().status
        connection.close()
        return status


def verdict(mirror: Path, upstream: Path, before: str, statuses: dict[str, int]) -> list[str]:
    """What is not as it must be, one line each; empty when all is. Prints what was found."""
    faults = []
    try:
        print(clean_text(git(mirror, "log", "--oneline", "--stat", "-1", BRANCH)))
        print(f"branch {BRANCH}: in the mirror")
    except subprocess.CalledProcessError:
        faults.append(f"branch {BRANCH} is not in the mirror {mirror}")
    after = refs(upstream)
    print(f"upstream: {'untouched' if after == before else 'CHANGED'} ({after.split()[-1]} at {after[:10]})")
    if after != before:
        faults.append("the upstream was changed")
    for what, (status, wanted) in {
        "own repository": (statuses["own"], 200),
        "another repository, same token": (statuses["other"], 403),
        "own repository, no token": (statuses["none"], 401),
    }.items():
        print(f"gate: {what}: {status}")
        if status != wanted:
            faults.append(f"gate: {what}: {status} instead of {wanted}")
    return faults


def refs(repository: Path) -> str:
    """Every reference of a repository with its commit."""
    return git(repository, "for-each-ref", "--format=%(objectname) %(refname)")
