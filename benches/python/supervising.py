"""The supervisor and its OCI hook, called as a runtime calls them; a sleeping process stands in for the container.

Milliseconds are measured with all processes of this part, `/bin/true` among them, in front of whatever else the machine
runs (`SCHED_RR`, what `chrt --rr 1` does), because waiting for a processor in use is not time of ours. That and reading
a supervisor's memory take root; for anybody else the times are taken as they come and the memory is left out.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from figures import alternate, difference, median, run_for_time, say, tell
from terok_sandbox.supervisor.install import supervisor_executable
from terok_sandbox.vault.ssh.manager import SSHManager
from terok_sandbox.vault.store.db import CredentialDB

ROUNDS = 25
ANNOTATION = "terok.sandbox.sidecar"
PASSPHRASE = "bench"
GATE_TOKEN = f"terok-g-{'0' * 32}"


class Site:
    """An installed hook, a real vault with its passphrase in the session file, and stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.state, self.runtime = folder / "state", folder / "r"
        for place in (self.state / "hooks", self.state / "sidecar", self.runtime / "run", folder / "vault"):
            place.mkdir(parents=True, mode=0o700)
        self.program = self.state / "hooks" / "terok-supervisor"
        self.daemon = self.program.with_name("terok-supervisord")
        for program in (self.program, self.daemon):
            shutil.copy(supervisor_executable().with_name(program.name), program)
        (self.state / "supervisor_wrapper.py").symlink_to(self.program)
        self.vault = folder / "vault" / "credentials.db"
        CredentialDB(self.vault, passphrase=PASSPHRASE).close()
        session = self.runtime / "vault.passphrase"
        session.touch(0o600)
        session.write_text(PASSPHRASE + "\n")
        route = {"upstream": "http://127.0.0.1:9", "auth_header": "dynamic", "auth_prefix": ""}
        (folder / "vault" / "routes.json").write_text(json.dumps({"claude": route}))
        self.number = 0
        self.token = ""

    def container(self, gate: Path | None = None) -> Container:
        """A new stand-in with its sidecar and runtime directory; `gate` is the directory of a mirror `p.git`."""
        self.number += 1
        return Container(self, f"c{self.number}", f"{self.number:064x}", gate)

    def mirror(self) -> Path:
        """A mirror with a few hundred files, and a key for its project."""
        folder = self.state / "gate"
        work = self.state / "work"
        work.mkdir()
        for number in range(300):
            (work / f"{number}.txt").write_text(f"{number}\n" * 100)
        git = ["git", "-C", str(work), "-c", "user.name=b", "-c", "user.email=b@b"]
        for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "one"]):
            subprocess.run([*git, *words], check=True)
        subprocess.run(["git", "clone", "-q", "--bare", str(work), str(folder / "p.git")], check=True)
        with CredentialDB(self.vault, passphrase=PASSPHRASE) as db, SSHManager(scope="p", db=db) as keys:
            keys.init()
            self.token = db.create_token("p", "t", "p", "ssh")
        return folder


class Container:
    """One stand-in."""

    def __init__(self, site: Site, name: str, identifier: str, gate: Path | None) -> None:
        self.site, self.name, self.id, self.gate = site, name, identifier, gate
        self.process = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
        self.socket = site.runtime / "run" / name / "vault.sock"
        self.socket.parent.mkdir(mode=0o700)
        self.sidecar = site.state / "sidecar" / f"{name}.json"
        members = {"container_name": name, "ipc_mode": "socket", "db_path": str(site.vault)}
        if gate:
            members |= {"project_id": "p", "task_id": "t", "gate_base_path": str(gate), "gate_token": GATE_TOKEN}
        self.sidecar.touch(0o600)
        self.sidecar.write_text(json.dumps(members | {"runtime_dir": str(site.runtime)}))
        state = {"ociVersion": "1.0.2", "id": identifier, "status": "created", "pid": self.process.pid}
        self.oci = site.state / f"{name}.oci"
        self.oci.write_text(json.dumps(state | {"annotations": {ANNOTATION: str(self.sidecar)}}))

    def hook(self, stage: str) -> float:
        """Milliseconds of one call of the hook."""
        return run_for_time([str(self.site.program), stage], stdin=str(self.oci), name="supervisor_hook")

    def start_alone(self) -> tuple[float, int]:
        """Start the daemon without its hook; milliseconds until its socket accepts, and its process."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        arguments = [str(self.site.state / "supervisor_wrapper.py"), self.id, str(self.sidecar)]
        arguments.append(f"{self.process.pid}:{fields[19]}")
        log = [(os.POSIX_SPAWN_OPEN, n, "/dev/null", os.O_WRONLY, 0) for n in (1, 2)]
        began = time.perf_counter()
        pid = os.posix_spawn(self.site.daemon, arguments, os.environ, file_actions=log)
        while not self.accepts():
            time.sleep(0.0002)
        return (time.perf_counter() - began) * 1e3, pid

    def accepts(self) -> bool:
        """Whether a connection is taken."""
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.socket)) == 0

    def answers(self) -> bool:
        """Whether the broker is healthy, so its vault is open."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(self.socket))
            client.sendall(b"GET /-/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return client.recv(64).split()[1:2] == [b"200"]

    def use(self) -> None:
        """Ask every service for something: its keys, what a clone begins with, a request without a token."""
        token = self.site.token.encode()
        user = base64.b64encode(f"{GATE_TOKEN}:".encode()).decode()
        refs = f"GET /p.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {user}\r\n"
        for name, text, expected in (
            ("ssh-agent.sock", struct.pack(">I", len(token)) + token + struct.pack(">IB", 1, 11), b"ssh-ed25519"),
            ("gate-server.sock", f"{refs}Connection: close\r\n\r\n".encode(), b"service=git-upload-pack"),
            ("vault.sock", b"GET /v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"Missing authentication"),
        ):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(10)
                client.connect(str(self.socket.with_name(name)))
                client.sendall(text)
                answer = b""
                while expected not in answer:
                    piece = client.recv(65536)
                    assert piece, f"{name} answered {answer[:200]!r}"
                    answer += piece

    def end(self) -> None:
        """End the stand-in, and so its supervisor."""
        self.process.kill()
        self.process.wait()
        deadline = time.monotonic() + 5
        while self.accepts() and time.monotonic() < deadline:
            time.sleep(0.005)


def main() -> None:
    """Start-up, hooks, memory."""
    # Short: the names of sockets have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="tk-", dir="/tmp") as folder:
        site = Site(Path(folder))
        first = go_first(os.SCHED_RR, 1)
        start_up(site)
        hooks(site)
        if first:
            go_first(os.SCHED_OTHER, 0)
            as_it_comes(site)
        memory(site)


def as_it_comes(site: Site) -> None:
    """The hook once more, now in turn with the machine's other work; said, not judged."""
    times = []
    for _ in range(10):
        container = site.container()
        times.append(container.hook("createRuntime"))
        assert container.answers(), "the hook left no supervisor that answers"
        container.end()
        container.hook("poststop")
    say(f"whole createRuntime hook in turn with everything else that runs here: {median(times):.1f} ms")


def go_first(policy: int, priority: int) -> bool:
    """Change how this process and what it starts from now on are scheduled; false without the right to."""
    try:
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except PermissionError:
        say("supervisor and hooks: no right to run before others; times include waiting for a processor")
        return False
    return True


def start_up(site: Site) -> None:
    """From exec to a socket that accepts."""

    def alone() -> float:
        container = site.container()
        took, pid = container.start_alone()
        container.end()
        os.waitpid(pid, 0)
        return took

    times = alternate({"true": lambda: run_for_time(["/bin/true"]), "start": alone}, ROUNDS)
    middle = median(times["start"])
    against = f"start and end of /bin/true: {median(times['true']):.1f} ms"
    tell("supervisor, exec to accepting", f"{middle:.1f} ms", bar="20 ms", against=against, met=middle <= 20)


def hooks(site: Site) -> None:
    """Each stage, beyond the start and end of a program that does nothing."""
    open_ones: list[Container] = []

    def create() -> float:
        open_ones.append(site.container())
        return open_ones[-1].hook("createRuntime")

    def stop() -> float:
        container = open_ones.pop()
        assert container.answers(), "the hook left no supervisor that answers"
        # As after a real end: the supervisor goes with its container and the hook tidies up.
        container.end()
        return container.hook("poststop")

    nothing = {f"true before {name}": lambda: run_for_time(["/bin/true"]) for name in ("createRuntime", "poststop")}
    before_create, before_stop = nothing
    times = alternate(
        {
            before_create: nothing[before_create], "createRuntime": create,
            before_stop: nothing[before_stop], "poststop": stop,
        },
        ROUNDS,
    )  # fmt: skip
    for stage in ("createRuntime", "poststop"):
        base = times[f"true before {stage}"]
        own = difference(times[stage], base)
        least = min(times[stage]) - min(base)
        against = f"/bin/true {median(base):.1f} ms, whole hook {median(times[stage]):.1f} ms; least own {least:.1f} ms"
        tell(f"OCI hook {stage}, own time", f"{own:.1f} ms", bar="5 ms", against=against, met=own <= 5)


def memory(site: Site) -> None:
    """Private memory of watchdog and worker, the vault open, two idle seconds later.

    Once without a gate and unused, once with every service on and each of them used.
    """
    if os.geteuid() != 0:
        say("supervisor memory: only root may look into a supervisor; not measured")
        return
    weigh(site, site.container(), "supervisor, private memory", 6)
    weigh(site, site.container(gate=site.mirror()), "the same, every service on and used", 8)


def weigh(site: Site, container: Container, title: str, limit: int) -> None:
    container.hook("createRuntime")
    while not container.answers():
        time.sleep(0.02)
    if container.gate:
        container.use()
    time.sleep(2)
    watchdog = int((site.state / "pids" / f"supervisor-{container.id}.pid").read_text())
    children = Path(f"/proc/{watchdog}/task/{watchdog}/children").read_text().split()
    parts = {pid: private_kib(pid) for pid in (str(watchdog), *children)}
    container.end()
    total = sum(parts.values())
    against = "watchdog + worker: " + " + ".join(f"{kib} KiB" for kib in parts.values())
    tell(title, f"{total / 1024:.1f} MiB", bar=f"{limit} MiB", against=against, met=total <= limit * 1024)


def private_kib(pid: str) -> int:
    """Memory that is a process's own."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


if __name__ == "__main__":
    main()
