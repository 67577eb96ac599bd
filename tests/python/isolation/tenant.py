"""Users of one machine, each with an installation of their own, and containers that a sleeping process stands in for.

What an installation consists of is made by the product itself, as the user it belongs to: vault, tokens, keys, hooks,
runtime directories, sidecars. A program that answers "no" plays Podman, because no container is needed: the hook is
called as a runtime calls it, and the supervisor watches the stand-in.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes.serving import Answering, Serving
from host.processes import naming, until

HEAD = """
import json, os, subprocess, sys
from pathlib import Path
from terok_sandbox import SandboxConfig, launch
from terok_sandbox.vault.store.db import CredentialDB
cfg = SandboxConfig()
def tell(value): print("TOLD " + json.dumps(value))
given = json.load(sys.stdin)
"""

INSTALL = """
from terok_sandbox.supervisor.install import install_supervisor_hooks
install_supervisor_hooks()
CredentialDB(cfg.db_path, passphrase=given["passphrase"]).close()
cfg.routes_path.write_text(json.dumps(given["routes"]))
cfg.runtime_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
cfg.vault_passphrase_file.touch(mode=0o600)
cfg.vault_passphrase_file.write_text(given["passphrase"] + "\\n")
tell({"state": str(cfg.state_dir), "runtime": str(cfg.runtime_dir), "vault": str(cfg.vault_dir), "gate": str(cfg.gate_base_path)})
"""

LAUNCH = """
name, project, task = given["name"], given["project"], given["task"]
made = launch.allocate_per_container_resources(cfg, name)
from base64 import b64decode
with cfg.open_credential_db() as db:
    db.store_credential(project, "claude", {"type": "api_key", "key": given["key"]})
    tokens = {"broker": db.create_token(project, task, project, "claude"), "ssh": db.create_token(project, task, project, "ssh")}
    key = db.store_ssh_key("ed25519", b64decode(given["der"]), b64decode(given["blob"]), "tk-main:" + project, given["fingerprint"])
    db.assign_ssh_key(project, key)
tokens["gate"] = given["gate"]
sidecar = launch.write_sidecar(
    name, cfg=cfg, per_container=made, project_id=project, task_id=task, gate_base_path=cfg.gate_base_path,
    gate_token=given["gate"], gate_port=made.gate_port, gate_scope=project, token_scope=project, token_subject=task,
    credential_set=project, shared_logins=(),
)
launch.finish(name, cfg=cfg)
tell({"sidecar": str(sidecar), "folder": str(made.container_runtime_dir), "tokens": tokens,
      "ports": {"broker": made.token_broker_port, "ssh": made.ssh_signer_port, "gate": made.gate_port}})
"""

#: Tries connections as whoever runs it: [where, text as base64] in, [what happened, answer as base64] out.
CALLER = """
import base64, json, socket, sys
def attempt(where, text):
    client = socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET)
    client.settimeout(20)
    try:
        client.connect(where if isinstance(where, str) else ("127.0.0.1", where))
    except OSError as err:
        return type(err).__name__, b""
    answer = b""
    try:
        client.sendall(text)
        if not text.startswith(b"GET "):
            client.shutdown(socket.SHUT_WR)  # else the signer waits for more; the others close after their answer
        while len(answer) < 65536:
            piece = client.recv(65536)
            if not piece:
                break
            answer += piece
    except TimeoutError:
        return "silent", answer
    except OSError as err:
        return type(err).__name__, answer
    return "closed", answer
for where, text in json.load(sys.stdin):
    happened, answer = attempt(where, base64.b64decode(text))
    print(json.dumps([happened, base64.b64encode(answer).decode()]))
"""

SOCKETS = {"broker": "vault.sock", "ssh": "ssh-agent.sock", "gate": "gate-server.sock"}


def http(target: str, **headers: str) -> bytes:
    """A GET that asks for the connection to be closed after the answer."""
    lines = [f"GET {target} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def status(answer: bytes) -> int:
    """The status of an HTTP answer; 0 for none."""
    words = answer.split(None, 2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") else 0


def basic(token: str) -> str:
    return "Basic " + base64.b64encode(f"{token}:x".encode()).decode()


def handshake(token: str) -> bytes:
    """What opens a connection to the signer, and the question for its keys behind it."""
    text = token.encode()
    return struct.pack(">I", len(text)) + text + struct.pack(">IB", 1, 11)


class Upstream:
    """A service that remembers which key each request carried."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        keys = self.keys

        class Answer(Answering):
            def do_GET(self) -> None:
                keys.append(self.headers.get("x-api-key", ""))
                self.answer()

        self._server = Serving(Answer)

    @property
    def routes(self) -> dict[str, Any]:
        return {"claude": {"upstream": self._server.url, "auth_header": "dynamic", "auth_prefix": ""}}

    def close(self) -> None:
        self._server.close()


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


@dataclass
class Box:
    """A container as its services see it."""

    name: str
    project: str
    task: str
    cid: str
    key: str
    blob: bytes
    folder: Path
    sidecar: Path
    tokens: dict[str, str]
    ports: dict[str, int | None]

    def where(self, service: str) -> str | int:
        """The socket or port of a service."""
        return self.ports[service] or str(self.folder / SOCKETS[service])


@dataclass
class Tenant:
    """One user: `uid` is another than ours only when we are root."""

    folder: Path
    uid: int
    tcp: bool = False
    #: What never may be seen by others, filled as it is made.
    secrets: set[str] = field(default_factory=set)
    places: dict[str, str] = field(default_factory=dict)
    sleepers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o755)
        os.chown(self.folder, self.uid, self.uid)

    @property
    def state(self) -> Path:
        return Path(self.places["state"])

    @property
    def audit(self) -> list[dict[str, Any]]:
        path = Path(self.places["vault"]) / "credential_audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def as_user(self) -> dict[str, Any]:
        """Arguments of `subprocess` that make a process this user's."""
        return {"user": self.uid, "group": self.uid, "extra_groups": []} if os.getuid() == 0 else {}

    def environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            "HOME": folder,
            "PATH": f"{folder}/bin:/usr/local/bin:/usr/bin:/bin",
            "XDG_CONFIG_HOME": f"{folder}/config",
            "XDG_DATA_HOME": f"{folder}/data",
            "XDG_STATE_HOME": f"{folder}/history",
            "TEROK_ROOT": f"{folder}/s",
            "TEROK_SANDBOX_RUNTIME_DIR": f"{folder}/r",
            "TEROK_PORT_REGISTRY_DIR": f"{folder}/ports",
            "TEROK_CONFIG_FILE": f"{folder}/config.yml",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANG": "C.UTF-8",
        }

    def run(
        self, *argv: str | Path, given: str = "", check: bool = True, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """A program as this user; standard input is `given`."""
        done = subprocess.run(
            [str(word) for word in argv],
            input=given,
            capture_output=True,
            text=True,
            timeout=180,
            env=self.environment() | more,
            cwd=self.folder,
            umask=0o022,
            **self.as_user(),
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def tell(self, text: str, **given: Any) -> Any:
        """Runs Python text as this user; the value that it tells."""
        done = self.run(sys.executable, "-c", HEAD + text, given=json.dumps(given))
        told = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
        assert told, done.stdout + done.stderr
        return json.loads(told[-1].removeprefix("TOLD "))

    def install(self, routes: dict[str, Any], passphrase: str) -> Tenant:
        """Everything that containers of this user share."""
        (self.folder / "config.yml").write_text(f"services:\n  mode: {'tcp' if self.tcp else 'socket'}\n")
        (self.folder / "bin").mkdir()
        podman = self.folder / "bin" / "podman"
        podman.write_text("#!/bin/sh\nexit 1\n")
        podman.chmod(0o755)
        self.secrets.add(passphrase)
        self.places = self.tell(INSTALL, routes=routes, passphrase=passphrase)
        if other := os.environ.get("TEROK_SUPERVISOR_PROGRAM"):
            for program in (Path(other), Path(other).with_name("terok-supervisord")):
                shutil.copyfile(program, self.state / "hooks" / program.name)
        return self

    def launch(self, project: str, task: str, number: int) -> Box:
        """A container with all its services, for a project that has a key, an SSH key and a mirror of its own."""
        name, cid = f"{project}-{task}", f"{number:064x}"
        der = self.run("sh", "-c", "openssl genpkey -algorithm ed25519 -outform DER | base64 -w0").stdout
        public = self.run(
            "sh", "-c", "base64 -d | openssl pkey -inform DER -pubout -outform DER | base64 -w0", given=der
        )
        raw = base64.b64decode(public.stdout)[-32:]
        blob = b"".join(struct.pack(">I", len(part)) + part for part in (b"ssh-ed25519", raw))
        key, gate = f"real-key-of-{project}-{task}", f"terok-g-{os.urandom(16).hex()}"
        self.mirror(project)
        made = self.tell(
            LAUNCH, name=name, project=project, task=task, key=key, gate=gate, der=der,
            blob=base64.b64encode(blob).decode(), fingerprint=f"SHA256:{os.urandom(8).hex()}",
        )  # fmt: skip
        box = Box(
            name,
            project,
            task,
            cid,
            key,
            blob,
            Path(made["folder"]),
            Path(made["sidecar"]),
            made["tokens"],
            made["ports"],
        )
        self.secrets |= {key, *box.tokens.values()}
        self.start(box)
        return box

    def mirror(self, project: str) -> Path:
        """A mirror with one commit."""
        path = Path(self.places["gate"]) / f"{project}.git"
        if not path.exists():
            script = (
                'mkdir -p -m 700 "$(dirname "$1")" && umask 077 && git init -q --bare -b main "$1" && tree=$(git -C "$1" mktree </dev/null) && '
                'commit=$(git -C "$1" -c user.name=t -c user.email=t@t commit-tree -m first "$tree") && '
                'git -C "$1" update-ref refs/heads/main "$commit"'
            )
            self.run("sh", "-ec", script, "sh", path)
        return path

    def stand_in(self) -> int:
        """The pid of a process that stands in for a container."""
        self.sleepers.append(subprocess.Popen(["sleep", "600"], start_new_session=True, **self.as_user()))
        return self.sleepers[-1].pid

    def start(self, box: Box, pid: int | None = None) -> None:
        """Calls the hook as a runtime does when it creates the container."""
        done = self.hook("createRuntime", box, pid or self.stand_in())
        assert done.returncode == 0, done.stderr

    def hook(self, stage: str, box: Box, pid: int = 0) -> subprocess.CompletedProcess[str]:
        """Calls the hook to its end."""
        process = self.begin_hook(stage, box, pid)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def begin_hook(self, stage: str, box: Box, pid: int = 0) -> subprocess.Popen[str]:
        """Starts the hook, the container's state on its standard input."""
        state: dict[str, object] = {"ociVersion": "1.0.2", "id": box.cid, "status": "created"}
        state["annotations"] = {"terok.sandbox.sidecar": str(box.sidecar)}
        if pid:
            state["pid"] = pid
        process = subprocess.Popen(
            ["supervisor_hook", stage],
            executable=self.state / "hooks" / "terok-supervisor",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(),
            **self.as_user(),
        )
        assert process.stdin
        process.stdin.write(json.dumps(state))
        process.stdin.close()
        process.stdin = None  # else `communicate` stumbles over it
        return process

    def call(self, attempts: Sequence[tuple[str | int, bytes]]) -> list[tuple[str, bytes]]:
        """Tries connections as this user: how each ended, and what came back."""
        given = json.dumps([[where, base64.b64encode(text).decode()] for where, text in attempts])
        lines = self.run(sys.executable, "-c", CALLER, given=given).stdout.splitlines()
        return [(happened, base64.b64decode(answer)) for happened, answer in map(json.loads, lines)]

    def watchdog(self, box: Box) -> int:
        return int((self.state / "pids" / f"supervisor-{box.cid}.pid").read_text())

    def supervisors(self) -> list[int]:
        """Every process whose arguments name this installation."""
        return naming(str(self.state / "supervisor_wrapper.py"))

    def close(self) -> None:
        """Ends the stand-ins, and with them the supervisors."""
        for sleeper in self.sleepers:
            sleeper.kill()
            sleeper.wait()
        if self.places and not until(lambda: not self.supervisors()):
            for pid in self.supervisors():
                os.kill(pid, signal.SIGKILL)
            raise AssertionError("a supervisor outlived its container")
        shutil.rmtree(self.folder, ignore_errors=True)
