"""Revoking a task's tokens with the command, while its container uses them on every way there is."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from fakes.serving import Answering, serving
from supervised_site import Site, until
from terok_sandbox.vault.daemon.token_broker import PHANTOM_CREDENTIALS_MARKER
from terok_sandbox.vault.ssh.manager import SSHManager
from terok_sandbox.vault.store.db import CredentialDB

CIDS = {"t": "1" * 64, "u": "2" * 64}


class Upstream(Answering):
    """Answers every GET, and sends back what comes on a WebSocket."""

    def do_GET(self) -> None:
        if self.headers.get("Upgrade") == "websocket":
            seed = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(seed.encode()).digest()).decode()
            head = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
            self.wfile.write(f"HTTP/1.1 101 Switching Protocols\r\n{head}\r\n".encode())
            self.close_connection = True
            while (found := frame(self.rfile)) and found[0] == 1:
                self.wfile.write(bytes([0x81, len(found[1])]) + found[1])
            return
        self.answer()


def frame(stream) -> tuple[int, bytes] | None:
    """The kind and the content of a short WebSocket frame."""
    head = stream.read(2)
    if len(head) < 2:
        return None
    mask = stream.read(4) if head[1] & 0x80 else bytes(4)
    content = stream.read(head[1] & 0x7F)
    return head[0] & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(content))


@pytest.fixture
def upstream() -> Iterator[str]:
    with serving(Upstream) as url:
        yield url


class Container:
    """What a container of one task does through its sockets."""

    def __init__(self, site: Site, task: str) -> None:
        self.folder = site.runtime / "run" / task
        with CredentialDB(site.vault / "credentials.db", passphrase="pw") as db:
            self.token = db.create_token("p", task, "default", "claude")
            self.ssh = db.create_token("p", task, "p", "ssh")
        members = {"project_id": "p", "task_id": task, "shared_logins": ["claude"], "credential_set": "default"}
        done = site.hook("createRuntime", CIDS[task], site.sidecar(task, **members), site.container())
        assert done.returncode == 0, done.stderr

    def connect(self, name: str) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(str(self.folder / name))
        return client

    def status(self, token: str) -> int:
        head = f"GET /v1/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        with self.connect("vault.sock") as client:
            client.sendall(head.encode())
            return int(client.makefile("rb").read().split()[1])

    def agent(self) -> socket.socket:
        client = self.connect("ssh-agent.sock")
        client.sendall(len(self.ssh).to_bytes(4, "big") + self.ssh.encode())
        return client

    def websocket(self) -> socket.socket:
        client = self.connect("vault.sock")
        head = f"GET /v1/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n"
        head += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        client.sendall(f"{head}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            piece = client.recv(1)
            assert piece, answer
            answer += piece
        assert answer.startswith(b"HTTP/1.1 101"), answer
        return client


def said(client: socket.socket, text: bytes) -> tuple[int, bytes] | None:
    """What a WebSocket answers to a text: the frame's kind and content."""
    client.sendall(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)
    return frame(client.makefile("rb"))


def asked(client: socket.socket) -> int:
    """The kind of the signer's answer to a listing: 12 are keys, 5 is a refusal; 0 when it has hung up."""
    client.sendall(b"\0\0\0\x01\x0b")
    head = client.recv(4)
    if len(head) < 4:
        return 0
    answer = client.recv(int.from_bytes(head, "big"))
    return answer[0]


def verb(site: Site, *words: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TEROK_", "XDG_"))}
    env |= {"HOME": str(site.folder), "TEROK_ROOT": str(site.state), "TEROK_VAULT_DIR": str(site.vault)}
    env |= {"TEROK_SANDBOX_RUNTIME_DIR": str(site.runtime), "TEROK_CONFIG_FILE": str(site.folder / "config.yml")}
    argv = [sys.executable, "-m", "terok_sandbox.cli", "vault", *words]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_revoking_acts_on_every_way_at_once(site: Site, upstream: str) -> None:
    routes = {"claude": {"upstream": upstream, "auth_header": "dynamic", "auth_prefix": ""}}
    (site.vault / "routes.json").write_text(json.dumps(routes))
    (site.runtime / "vault.passphrase").write_text("pw\n")
    with CredentialDB(site.vault / "credentials.db", passphrase="pw") as db:
        db.store_credential("default", "claude", {"type": "oauth", "access_token": "real"})
        SSHManager(scope="p", db=db).init()
    mine, other = Container(site, "t"), Container(site, "u")
    assert until(lambda: mine.status(mine.token) == 200), site.log(CIDS["t"])
    held = {one: (one.agent(), one.websocket()) for one in (mine, other)}
    for one, (agent, web) in held.items():
        assert (one.status(one.token), one.status(PHANTOM_CREDENTIALS_MARKER)) == (200, 200)
        assert (asked(agent), said(web, b"a")) == (12, (1, b"a"))

    assert "revoked 2 token(s)" in verb(site, "revoke", "p", "t")

    agent, web = held[mine]
    assert (mine.status(mine.token), mine.status(PHANTOM_CREDENTIALS_MARKER)) == (401, 401)
    assert asked(agent) == 5 and agent.recv(1) == b"", "the connection that was open ends"
    kind, content = said(web, b"b")
    assert kind == 8 and int.from_bytes(content[:2], "big") == 1008
    with mine.agent() as late:
        assert late.recv(1) == b""
    agent, web = held[other]
    assert (other.status(other.token), other.status(PHANTOM_CREDENTIALS_MARKER)) == (200, 200)
    assert (asked(agent), said(web, b"c")) == (12, (1, b"c"))
    for pair in held.values():
        for client in pair:
            client.close()

    def lines(*more: str) -> list[tuple[int, str]]:
        found = [json.loads(line) for line in verb(site, "audit", "p", "t", "--json", *more).splitlines()]
        return [(row["status"], row["outcome"]) for row in found]

    assert until(lambda: (101, "ok") in lines())
    assert lines("--provider", "claude").count((200, "ok")) >= 2
    assert set(lines()) == {(200, "ok"), (101, "ok")} and len(lines("--tail", "1")) == 1
    assert lines("--since", "2999-01-01") == [] and lines("--since", "2000-01-01T00:00:00") == lines()
    assert "real" not in verb(site, "audit", "p", "t")
