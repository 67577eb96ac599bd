"""A supervised site: state root, runtime directory, vault directory, installed hook; with or without Podman.

The hook is called as an OCI runtime calls it. A sleeping process stands in for the container where no Podman is needed:
the supervisor only watches that process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from host.processes import naming, until

ANNOTATION = "terok.sandbox.sidecar"
STAGES = ("createRuntime", "poststop")
FIXTURES = Path(__file__).parents[2] / "fixtures" / "supervisor"
#: Seconds within which the end of a container or of a watchdog is followed: milliseconds, and what a busy machine adds.
SOON = 5
ROUTES = {"claude": {"upstream": "http://127.0.0.1:9", "auth_header": "dynamic", "auth_prefix": ""}}


def built_program() -> Path | None:
    """The supervisor executable: of the installed package, or the one named in the environment."""
    if named := os.environ.get("TEROK_SUPERVISOR_PROGRAM"):
        return Path(named)
    spec = importlib.util.find_spec("terok_native")
    places = spec.submodule_search_locations if spec else None
    for place in places or ():
        if (program := Path(place, "bin", "terok-supervisor")).is_file():
            return program
    return None


@pytest.fixture(scope="session")
def program() -> Path:
    """The built executable, or a skip (a failure in CI)."""
    found = built_program()
    if found is None:
        text = "terok-supervisor is not built; install the wheel or set TEROK_SUPERVISOR_PROGRAM"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def children(pid: int) -> list[int]:
    """The living children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] not in "ZX":
                found.append(int(entry.name))
    return found


def request(path: Path, target: str = "/-/health", timeout: float = 60) -> int:
    """The HTTP status of a GET over a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout)
        client.connect(str(path))
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return int(client.recv(64).split()[1])


@dataclass
class Site:
    """Directories of one installation and the processes that stand in for containers."""

    folder: Path
    owner: tuple[int, int] | None = None
    sleepers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def runtime(self) -> Path:
        return self.folder / "r"

    @property
    def vault(self) -> Path:
        return self.folder / "vault"

    @property
    def hook_log(self) -> str:
        path = self.state / "logs" / "hook.log"
        return path.read_text() if path.exists() else ""

    def install(self, program: Path) -> Site:
        """Lay the hook out as documented; the shim's own tests are elsewhere."""
        for place in (self.state / "hooks", self.state / "sidecar", self.runtime / "run", self.vault):
            place.mkdir(parents=True, mode=0o700)
        hook = self.state / "hooks" / "terok-supervisor"
        shutil.copy(program, hook)
        shutil.copy(program.with_name("terok-supervisord"), hook.parent)
        (self.state / "supervisor_wrapper.py").symlink_to(hook)
        for stage in STAGES:
            descriptor = {
                "version": "1.0.0",
                "hook": {"path": str(hook), "args": ["supervisor_hook", stage]},
                "when": {"annotations": {ANNOTATION: ".+"}},
                "stages": [stage],
            }
            name = f"terok-sandbox-supervisor-{stage}.json"
            (self.state / "hooks" / name).write_text(json.dumps(descriptor))
        (self.vault / "routes.json").write_text(json.dumps(ROUTES))
        self.give_away()
        return self

    def give_away(self) -> None:
        """Hand all files to the user that Podman runs as."""
        if self.owner:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, *self.owner, follow_symlinks=False)

    def sidecar(self, name: str, **members: object) -> Path:
        """Write a sidecar and the runtime directory that belongs to it."""
        content = {
            "container_name": name,
            "ipc_mode": "socket",
            "db_path": str(self.vault / "credentials.db"),
            "runtime_dir": str(self.runtime),
        } | members
        return self.raw_sidecar(name, json.dumps(content))

    def raw_sidecar(self, name: str, text: str) -> Path:
        path = self.state / "sidecar" / f"{name}.json"
        path.write_text(text)
        path.chmod(0o600)
        folder = self.runtime / "run" / name
        folder.mkdir(exist_ok=True, mode=0o700)
        for item in (path, folder):
            if self.owner:
                os.chown(item, *self.owner)
        return path

    def socket(self, name: str) -> Path:
        return self.runtime / "run" / name / "vault.sock"

    def container(self) -> int:
        """The pid of a process that stands in for a container."""
        self.sleepers.append(subprocess.Popen(["sleep", "300"], start_new_session=True))
        return self.sleepers[-1].pid

    def end(self, pid: int) -> None:
        """End a stand-in."""
        for sleeper in self.sleepers:
            if sleeper.pid == pid:
                sleeper.kill()
                sleeper.wait()

    def hook(
        self, stage: str, cid: str, sidecar: Path | str | None, pid: int = 0, raw: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Call the hook as a runtime does."""
        annotations = {} if sidecar is None else {ANNOTATION: str(sidecar)}
        state = {"ociVersion": "1.0.2", "id": cid, "status": "created", "annotations": annotations}
        if pid:
            state["pid"] = pid
        return subprocess.run(
            ["supervisor_hook", stage],
            executable=self.state / "hooks" / "terok-supervisor",
            input=json.dumps(state) if raw is None else raw,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def pid_file(self, cid: str) -> Path:
        return self.state / "pids" / f"supervisor-{cid}.pid"

    def watchdog(self, cid: str) -> int:
        return int(self.pid_file(cid).read_text())

    def log(self, cid: str) -> str:
        path = self.state / "logs" / f"{cid}.log"
        return path.read_text() if path.exists() else ""

    def supervisors(self) -> list[int]:
        """Every live process whose arguments name this site."""
        return [pid for pid in naming(str(self.state / "supervisor_wrapper.py")) if alive(pid)]

    def close(self) -> None:
        for sleeper in self.sleepers:
            sleeper.kill()
            sleeper.wait()
        assert until(lambda: not self.supervisors()), "a supervisor outlived its container"


@pytest.fixture
def site(program: Path) -> Iterator[Site]:
    """A site without Podman, in a short path: socket names have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="tk-", dir="/tmp") as folder:
        site = Site(Path(folder)).install(program)
        yield site
        site.close()


@pytest.fixture
def at_site(program: Path, lane_folder: Path) -> Callable[[bool], Site]:
    """Make a site in the lane's folder: for the unprivileged user, or for root."""

    def make(rootless: bool) -> Site:
        stat = lane_folder.stat()
        owner = (stat.st_uid, stat.st_gid) if rootless and os.getuid() == 0 else None
        if not rootless:
            os.chown(lane_folder, 0, 0)
        return Site(lane_folder, owner).install(program)

    return make
