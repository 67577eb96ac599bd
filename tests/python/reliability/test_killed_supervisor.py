"""A supervisor is killed again and again while three clients use it: HTTP requests, git pushes, SSH signatures.

Victims are the worker that serves, the watchdog that owns the ports, and a start in progress. After each kill all three
services work again; at the end every request without an answer lies at a kill, every push that succeeded is there, and
the vault holds what it held.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from campaign import Broken, Client, Figures, children, dice, recovered
from tenant import Box, Tenant, Upstream, basic, http, status

ROUNDS = 90
HEAD_END = b"\r\n\r\n"
MESSAGE = b"what is to be signed"


def exchange(port: int, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(text)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    return answer


@dataclass
class Work:
    """What the clients do, and what they were promised."""

    tenant: Tenant
    box: Box
    clone: Path
    #: Commits whose push was reported as done, with the branch.
    pushed: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0

    def request(self) -> str:
        answer = exchange(self.port("broker"), http("/v1/models", Authorization=f"Bearer {self.box.tokens['broker']}"))
        head, end, body = answer.partition(HEAD_END)
        length = re.search(rb"content-length: (\d+)", head.lower())
        if not end or (length and len(body) < int(length[1])):
            raise Broken("cut off")
        return f"{status(answer)} {body.decode()}"

    def sign(self) -> str:
        token = self.box.tokens["ssh"].encode()
        body = b"\x0d" + b"".join(struct.pack(">I", len(part)) + part for part in (self.box.blob, MESSAGE)) + bytes(4)
        with socket.create_connection(("127.0.0.1", self.port("ssh")), timeout=20) as client:
            client.sendall(struct.pack(">I", len(token)) + token + struct.pack(">I", len(body)) + body)
            answer = b""
            while len(answer) < 4 or len(answer) < 4 + int.from_bytes(answer[:4]):
                piece = client.recv(65536)
                if not piece:
                    raise Broken("hung up")
                answer += piece
        return "signed" if answer[4] == 14 and b"ssh-ed25519" in answer else f"answer {answer[4]}"

    def push(self) -> str:
        """Pushes a commit on the one before to `agent`; every third time one that replaces `draft`."""
        self.count += 1
        replaces = self.count % 3 == 0
        branch = "draft" if replaces else "agent"
        commit = self.commit("refs/heads/main" if replaces else "refs/heads/agent", branch)
        url = f"http://{self.box.tokens['gate']}@127.0.0.1:{self.port('gate')}/{self.box.project}.git"
        done = self.git("push", "--force", url, f"{commit}:refs/heads/{branch}")
        if done.returncode:
            raise Broken(done.stderr.strip())
        self.pushed.append((branch, commit))
        return "pushed"

    def commit(self, parent: str, branch: str) -> str:
        made = self.git("commit-tree", "-p", parent, "-m", f"commit {self.count}", "HEAD^{tree}").stdout.strip()
        self.git("update-ref", f"refs/heads/{branch}", made)
        return made

    def git(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.tenant.run(
            "git",
            "-C",
            self.clone,
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            *words,
            check=False,
            GIT_TERMINAL_PROMPT="0",
        )

    def port(self, service: str) -> int:
        port = self.box.ports[service]
        assert port
        return port

    def serves(self) -> bool:
        """Whether each of the three answers as it should."""
        with contextlib.suppress(OSError, Broken):
            refs = f"/{self.box.project}.git/info/refs?service=git-receive-pack"
            gate = exchange(self.port("gate"), http(refs, Authorization=basic(self.box.tokens["gate"])))
            return self.request().startswith("200") and self.sign() == "signed" and status(gate) == 200
        return False


def start_of_work(tenant: Tenant) -> Work:
    box = tenant.launch("alpha", "t1", 1)
    clone = tenant.folder / "clone"
    tenant.run("git", "clone", "-q", "-b", "main", tenant.mirror("alpha"), clone)
    work = Work(tenant, box, clone)
    work.git("branch", "agent")
    assert work.serves()
    return work


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_while_clients_work(tenant: Tenant, figures: Figures, upstream: Upstream) -> None:
    work = start_of_work(tenant)
    rolls, windows = dice("supervisor"), []
    clients = [Client("http", work.request, 0.01), Client("git", work.push, 0.01), Client("ssh", work.sign, 0.01)]
    for client in clients:
        client.start()
    container = tenant.stand_in()
    for _ in range(ROUNDS):
        time.sleep(rolls.uniform(0, 0.1))
        watchdog = tenant.watchdog(work.box)
        (worker,) = children(watchdog)
        began = time.monotonic()
        kill(worker)
        figures.note("supervisor: worker", recovered(work.serves, began))
        windows.append((began, time.monotonic()))

        time.sleep(rolls.uniform(0, 0.1))
        began = time.monotonic()
        kill(watchdog)
        start = tenant.begin_hook("createRuntime", work.box, container)
        time.sleep(rolls.uniform(0, 0.02))
        second = time.monotonic()
        for pid in (*tenant.supervisors(), start.pid):
            kill(pid)
        start.communicate()
        tenant.start(work.box, container)
        figures.note("supervisor: watchdog", recovered(work.serves, began))
        figures.note("supervisor: while it starts", time.monotonic() - second)
        windows.append((began, time.monotonic()))
    for client in clients:
        client.end()
    judge(work, clients, windows, upstream)


def judge(work: Work, clients: list[Client], windows: list[tuple[float, float]], upstream: Upstream) -> None:
    good = {
        "http": lambda said: said == "200 ok",
        "git": lambda said: said == "pushed",
        "ssh": lambda said: said == "signed",
    }
    for client in clients:
        verdicts = client.verdicts(windows, good[client.name])
        print(f"{client.name}: {verdicts}")
        assert verdicts["served"] > ROUNDS / 10, f"{client.name} hardly worked: {verdicts}"
    assert set(upstream.keys) == {work.box.key}
    assert_pushed(work)
    assert work.tenant.tell(VAULT) == [["alpha"], ["claude"], 1, 2]


VAULT = """
with cfg.open_credential_db() as db:
    tell([db.list_credential_sets(), db.list_credentials("alpha"), db.count_ssh_keys(), len(db.list_tokens())])
"""


def assert_pushed(work: Work) -> None:
    """Every commit that git reported as pushed is reachable in the mirror, and the mirror is sound."""
    mirror = str(work.tenant.mirror(work.box.project))
    known = set(work.tenant.run("git", "-C", mirror, "rev-list", "--all").stdout.split())
    lost = [(branch, commit) for branch, commit in work.pushed if commit not in known]
    assert work.pushed and not lost, f"{len(lost)} of {len(work.pushed)} pushed commits are lost: {lost[:5]}"
    checked = work.tenant.run("git", "-C", mirror, "fsck", "--full", "--no-dangling", check=False)
    assert checked.returncode == 0, checked.stderr
    print(f"mirror: {len(work.pushed)} pushed commits reachable")
