"""What a launch costs beyond the `podman run` that it issues, and twenty launches at once.

The bare launch is the very argument list of ours, given to podman directly: same image, mounts, options and sidecar
annotation, so the hook runs and a supervisor starts in both. What remains is our own: resources, journal, sidecar, the
checks before, and the proof afterwards that the supervisor answers. Podman's removal of containers is not timed.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from figures import alternate, difference, median, quiet, ratio, say, tell
from terok_executor import AgentRoster, AgentRunner
from terok_native import _lib
from terok_sandbox import SandboxConfig, VolumeSpec
from terok_sandbox.launch import _place, allocate_per_container_resources, write_sidecar
from terok_sandbox.supervisor.install import install_supervisor_hooks

IMAGE = "localhost/busybox:test"
COMMAND = ["sleep", "600"]
ROUNDS = 15
AT_ONCE = 20
AT_ONCE_ROUNDS = 5
PODMAN = shutil.which("podman") or "podman"


class Launches:
    """Our launches and the bare ones of one configuration."""

    def __init__(self, mode: str, folder: Path) -> None:
        self.cfg = SandboxConfig(services_mode=mode)
        self.runner = AgentRunner(cfg=self.cfg)
        self.folder, self.number = folder, 0
        self.data: dict[str, Any] = {}
        self.network: list[str] = []
        self.learn()

    def name(self) -> str:
        """A name that no container had."""
        self.number += 1
        return f"bench-{self.cfg.services_mode}-{self.number}"

    def ours(self, name: str) -> float:
        """Milliseconds of one `launch_prepared`."""
        began = time.perf_counter()
        self.runner.launch_prepared(
            env={"PLAIN": "x", "SOME_TOKEN": "y"}, volumes=[VolumeSpec(self.folder, "/workspace", "private")],
            image=IMAGE, command=COMMAND, name=name, task_dir=self.folder,
            extra_args=["--label", "ai.terok.managed=executor", "--pids-limit", "2048"],
        )  # fmt: skip
        return (time.perf_counter() - began) * 1e3

    def learn(self) -> None:
        """Launch once and keep the description that podman's arguments are rendered from."""
        prepare, name = _lib.sandbox_prepare, self.name()

        def note(place: object, data: dict[str, Any], verb: str, network: list[str]) -> object:
            self.data, self.network = data, network
            return prepare(place, data, verb, network)

        _lib.sandbox_prepare = note
        try:
            with quiet():
                self.ours(name)
        finally:
            _lib.sandbox_prepare = prepare
        remove()

    def prepared(self, name: str) -> list[str]:
        """The bare command line of a launch whose sidecar and directory are in place."""
        resources = allocate_per_container_resources(self.cfg, name)
        sidecar = write_sidecar(name, cfg=self.cfg, per_container=resources)
        _lib.sandbox_finish(_place(self.cfg), name)
        volumes = [dict(v) for v in self.data["volumes"]]
        volumes[-1]["host_path"] = str(resources.container_runtime_dir)
        data = self.data | {"container_name": name, "volumes": volumes}
        data["annotations"] = dict(self.data["annotations"]) | {"terok.sandbox.sidecar": str(sidecar)}
        return [PODMAN, *_lib.sandbox_prepare(_place(self.cfg), data, "run", self.network).args]

    def bare(self, name: str) -> float:
        """Milliseconds of one bare launch."""
        argv = self.prepared(name)
        began = time.perf_counter()
        done = subprocess.run(argv, capture_output=True, env=values())
        took = (time.perf_counter() - began) * 1e3
        if done.returncode:
            raise SystemExit(done.stderr.decode())
        return took


def values() -> dict[str, str]:
    """Secret values travel in podman's environment."""
    return os.environ | {"SOME_TOKEN": "y"}


def remove() -> None:
    """Remove every container of this store."""
    subprocess.run([PODMAN, "rm", "-f", "-t", "0", "-a"], check=True, stdout=subprocess.DEVNULL)


def one_by_one(launches: Launches) -> None:
    """Our own time in one launch."""

    def removed(took: float) -> float:
        remove()
        return took

    def ours() -> float:
        with quiet():
            return removed(launches.ours(launches.name()))

    times = alternate({"bare": lambda: removed(launches.bare(launches.name())), "ours": ours}, ROUNDS)
    base = median(times["bare"])
    beyond, share = difference(times["ours"], times["bare"]), ratio(times["ours"], times["bare"])
    tell(
        "launch_prepared, beyond podman run",
        f"{beyond:+.1f} ms, {100 * (share - 1):+.1f} %",
        bar="40 ms and 10 %",
        against=f"the same `podman run` bare (hook and supervisor in both), {base:.0f} ms",
        met=beyond <= 40 and share <= 1.1,
    )


def at_once(launches: Launches) -> None:
    """Twenty at the same moment, against as many bare ones."""
    whole: list[float] = []
    bare: list[float] = []
    running = supervised = AT_ONCE
    apart = "nothing shared"
    for number in range(AT_ONCE_ROUNDS):
        names = [launches.name() for _ in range(AT_ONCE)]
        # Each goes first as often as second.
        if number % 2:
            whole.append(crowd(launches, names))
        else:
            bare.append(crowd_of_bare(launches))
            remove()
            whole.append(crowd(launches, names))
        seen = judge(launches, names)
        running, supervised = min(running, seen[0]), min(supervised, seen[1])
        apart = apart if seen[2] == "nothing shared" else seen[2]
        remove()
        if number % 2:
            bare.append(crowd_of_bare(launches))
            remove()
    share = ratio(whole, bare)
    tell(
        f"{AT_ONCE} launches at once",
        f"{share:.2f} x; {running} run, {supervised} supervised, {apart}",
        bar="1.2 x, all, none shared",
        against=f"as many bare `podman run` of the same arguments at once, {median(bare) / 1e3:.1f} s",
        met=share <= 1.2 and running == supervised == AT_ONCE and apart == "nothing shared",
    )


def crowd(launches: Launches, names: list[str]) -> float:
    """Milliseconds until all of ours are launched."""
    with quiet(), ThreadPoolExecutor(AT_ONCE) as pool:
        began = time.perf_counter()
        list(pool.map(launches.ours, names))
        return (time.perf_counter() - began) * 1e3


def crowd_of_bare(launches: Launches) -> float:
    """Milliseconds until as many bare ones are launched."""
    prepared = [launches.prepared(launches.name()) for _ in range(AT_ONCE)]
    began = time.perf_counter()
    running = [
        subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=values()) for argv in prepared
    ]
    codes = [process.wait() for process in running]
    took = (time.perf_counter() - began) * 1e3
    if any(codes):
        raise SystemExit(f"bare launches ended with {codes}")
    return took


def judge(launches: Launches, names: list[str]) -> tuple[int, int, str]:
    """How many run, how many have a broker that answers, and whether two share a socket, a port or a process."""
    listed = subprocess.run(
        [PODMAN, "ps", "--format", "{{.Names}}"], capture_output=True, text=True, check=True
    ).stdout.split()
    running = len(set(names) & set(listed))
    sidecars = [_sidecar(launches.cfg, name) for name in names]
    marks: list[object] = []
    supervised = 0
    for name, sidecar in zip(names, sidecars, strict=True):
        if launches.cfg.services_mode == "tcp":
            marks += [sidecar["tcp_port"], sidecar["ssh_signer_port"]]
            client = socket.create_connection(("127.0.0.1", sidecar["tcp_port"]), 5)
        else:
            path = Path(launches.cfg.runtime_dir) / "run" / name / "vault.sock"
            marks.append(path.stat().st_ino)
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(path))
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            marks.append(f"process {int.from_bytes(credentials[:4], sys.byteorder)}")
        supervised += answers(client)
    shared = len(marks) - len(set(marks))
    return running, supervised, f"{shared} shared" if shared else "nothing shared"


def _sidecar(cfg: SandboxConfig, name: str) -> dict[str, Any]:
    return json.loads((Path(cfg.state_dir) / "sidecar" / f"{name}.json").read_text())


def answers(client: socket.socket) -> bool:
    """Whether a supervisor is there; 503 says that its vault is locked."""
    with client:
        client.settimeout(10)
        client.sendall(b"GET /-/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return client.recv(64).split()[1:2] in ([b"200"], [b"503"])


def ports(folder: Path) -> None:
    """Twenty at once once more, with services on TCP ports: no port may be given twice."""
    launches = Launches("tcp", folder)
    names = [launches.name() for _ in range(AT_ONCE)]
    crowd(launches, names)
    running, supervised, apart = judge(launches, names)
    remove()
    tell(
        f"{AT_ONCE} launches at once, on TCP ports",
        f"{running} run, {supervised} supervised, {apart}",
        bar="all, none shared",
        against="-",
        met=running == supervised == AT_ONCE and apart == "nothing shared",
    )


def main() -> None:
    """All of it, in a home of its own."""
    install_supervisor_hooks()
    AgentRoster.shared().ensure_vault_routes(cfg=SandboxConfig())
    with tempfile.TemporaryDirectory() as folder:
        launches = Launches("socket", Path(folder))
        one_by_one(launches)
        at_once(launches)
        ports(Path(folder))
    say("the vault is locked in these runs; an unlock happens after the launch and is no part of it")


if __name__ == "__main__":
    main()
