"""What one container can make its supervisor hold: every kind of bomb, against a real supervisor and a hostile provider.

The provider is a fake that does what the path says; the container is raw sockets.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from supervised_site import Site, alive, children, request, until
from terok_native import _lib
from terok_sandbox.vault.store.db import CredentialDB

CID = "b" * 64
#: Most resident memory of watchdog and worker together, in KiB.
CEILING = 64 * 1024
MIB = 1 << 20
SOCKETS = ("vault.sock", "ssh-agent.sock", "gate-server.sock")
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


class Provider:
    """A hostile provider on the loopback: a thread for each connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._attend, args=(connection,), daemon=True).start()

    def _attend(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536) or self._gone()
            kind = head.split(b" ")[1].strip(b"/").split(b"?")[0].decode()
            getattr(self, f"_{kind}")(connection)
            self.ended.wait(60)

    def _gone(self) -> bytes:
        raise OSError

    def _hang(self, connection: socket.socket) -> None:
        """Reads nothing more and says nothing."""

    def _sink(self, connection: socket.socket) -> None:
        while connection.recv(1 << 20):
            pass

    def _flood(self, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        while not self.ended.is_set():
            connection.sendall(bytes(65536))

    def _heads(self, connection: socket.socket) -> None:
        lines = b"".join(b"x-%d: %s\r\n" % (n, b"v" * 1000) for n in range(58))
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 1073741824\r\n\r\n")
        self._flood(connection)

    def _windows(self, connection: socket.socket) -> None:
        """A zstd frame with a window of 8 MiB, of which nothing more comes."""
        frame = b"\x28\xb5\x2f\xfd\x00\x68" + b"\x02\x00\x10" + b"a" * 1000
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: 100000\r\n\r\n" + frame)

    def _bomb(self, connection: socket.socket) -> None:
        coder = zlib.compressobj(9, zlib.DEFLATED, 31)
        text = b"".join(coder.compress(bytes(MIB)) for _ in range(256)) + coder.flush()
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
        )

    def close(self) -> None:
        self.ended.set()
        self._listener.close()


class Upgrading(Provider):
    """Agrees to every WebSocket; then it reads nothing, or begins a message of 16 MiB that it never ends."""

    def _attend(self, connection: socket.socket) -> None:
        import base64
        import hashlib

        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536) or self._gone()
            key = head.lower().split(b"sec-websocket-key: ")[1].split(b"\r\n")[0]
            key = head[head.lower().index(key) :][: len(key)]
            digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
            )
            if b" /down" in head:
                connection.sendall(b"\x82\x7f" + struct.pack(">Q", 16 * MIB) + bytes(15 * MIB))
            if b" /read" in head:
                self._sink(connection)
            self.ended.wait(60)


@dataclass(frozen=True)
class Pour:
    """So many connections, and what is sent on each."""

    count: int
    data: Callable[[Box, int], bytes]
    socket: str = "vault.sock"


@dataclass
class Box:
    """A supervised stand-in for a container, and its provider."""

    site: Site
    provider: Provider
    token: str
    ssh_token: str
    socket: Path
    watchdog: int

    def head(self, method: str, path: str, *lines: str) -> bytes:
        return "\r\n".join(
            [f"{method} /{path} HTTP/1.1", "Host: x", f"Authorization: Bearer {self.token}", *lines, "", ""]
        ).encode()

    def connect(self, name: str) -> socket.socket | None:
        """A connection, unless the supervisor takes no more."""
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        try:
            client.connect(str(self.socket.with_name(name)))
        except BlockingIOError:
            client.close()
            return None
        return client

    def pour(self, pours: list[Pour], seconds: float = 4) -> list[socket.socket]:
        """Opens all connections, as far as they are taken, and sends on all of them at the same time."""
        left: dict[socket.socket, memoryview] = {}
        clients = []
        for pour in pours:
            misses = 0
            for number in range(pour.count):
                while (client := self.connect(pour.socket)) is None and misses < 50:
                    misses += 1
                    time.sleep(0.01)
                if client is None:
                    break
                clients.append(client)
                left[client] = memoryview(pour.data(self, number))
        deadline = time.monotonic() + seconds
        while left and time.monotonic() < deadline:
            moved = False
            for client, rest in list(left.items()):
                try:
                    sent = client.send(rest[: 1 << 18])
                except BlockingIOError:
                    continue
                except OSError:
                    del left[client]
                    continue
                moved = True
                left[client] = rest[sent:]
                if not left[client]:
                    del left[client]
            if not moved:
                time.sleep(0.01)
        return clients

    def peak_kib(self) -> int:
        """Highest resident memory of both processes since they began."""
        return sum(_field(pid, "VmHWM") for pid in (self.watchdog, *children(self.watchdog)))


def _is_healthy(box: Box) -> bool:
    try:
        return request(box.socket) == 200
    except OSError:
        return False


def _field(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise AssertionError(name)


@contextlib.contextmanager
def supervised(site: Site, provider: Provider) -> Iterator[Box]:
    route = {"upstream": f"http://127.0.0.1:{provider.port}", "auth_header": "dynamic", "auth_prefix": ""}
    (site.vault / "routes.json").write_text(json.dumps({"claude": route}))
    (site.runtime / "vault.passphrase").write_text("pw\n")
    with CredentialDB(site.vault / "credentials.db", passphrase="pw") as db:
        db.store_credential("default", "claude", {"type": "api_key", "key": "sk-real-0123456789"})
        token, ssh = db.create_token("p", "t", "default", "claude"), db.create_token("p", "t", "p", "ssh")
        _lib.key_init(db._store, "p", "ed25519")
    site.give_away()
    gate = {"gate_base_path": str(site.folder), "gate_token": "terok-g-1", "gate_scope": "p"}
    sidecar, container = site.sidecar("c1", project_id="p", task_id="t", **gate), site.container()
    done = site.hook("createRuntime", CID, sidecar, container)
    assert done.returncode == 0, done.stderr
    box = Box(site, provider, token, ssh, site.socket("c1"), site.watchdog(CID))
    assert until(lambda: _is_healthy(box), 20), site.log(CID)
    workers = children(box.watchdog)
    try:
        yield box
        assert children(box.watchdog) == workers and alive(box.watchdog), site.log(CID)
        assert until(lambda: _is_healthy(box), 20), "what was poured away is gone"
    finally:
        provider.close()
        site.end(container)


def _websocket(box: Box, path: str) -> bytes:
    return box.head(
        "GET",
        path,
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY.decode()}",
    )


def _half_message(box: Box) -> bytes:
    return _websocket(box, "up") + b"\x82\xff" + struct.pack(">Q", 16 * MIB) + bytes(4) + bytes(15 * MIB)


def _upload(box: Box, number: int) -> bytes:
    return box.head("POST", "hang", f"Idempotency-Key: {number}", f"Content-Length: {2 * MIB}") + bytes(MIB)


def _drops(box: Box, number: int) -> bytes:
    return box.head("POST", "sink", f"Idempotency-Key: {number}", "Transfer-Encoding: chunked") + b"1\r\na\r\n" * 40_000


def _large_head(box: Box, _: int) -> bytes:
    return box.head("GET", "hang", *(f"x-{n}: {'v' * 1000}" for n in range(58)))


def _half_head(_box: Box, _: int) -> bytes:
    return b"GET / HTTP/1.1\r\nX: " + b"v" * 60_000


def _signing(box: Box, _: int) -> bytes:
    """A signing request of nearly 256 KiB without its end."""
    token = box.ssh_token.encode()
    return struct.pack(">I", len(token)) + token + struct.pack(">I", 256 << 10) + bytes(250_000)


def _get(path: str) -> Callable[[Box, int], bytes]:
    return lambda box, _: box.head("GET", path)


BOMBS: dict[str, tuple[type[Provider], list[Pour]]] = {
    "half-sent messages": (Upgrading, [Pour(60, lambda box, _: _half_message(box))]),
    "half-received messages": (Upgrading, [Pour(300, lambda box, _: _websocket(box, "down"))]),
    "remembered uploads": (Provider, [Pour(300, _upload)]),
    "chunks of one byte": (Provider, [Pour(100, _drops)]),
    "slow readers": (Provider, [Pour(300, _get("flood"))]),
    "large answer heads": (Provider, [Pour(300, _get("heads"))]),
    "many connections": (Provider, [Pour(1000, lambda _, __: b"G", name) for name in SOCKETS]),
    "half heads": (Provider, [Pour(600, _half_head), Pour(300, _half_head, "gate-server.sock")]),
    "large heads": (Provider, [Pour(600, _large_head)]),
    "unread uploads": (Provider, [Pour(300, lambda box, _: box.head("POST", "hang", f"Content-Length: {64 * MIB}") + bytes(MIB))]),
    "large windows": (Provider, [Pour(60, _get("windows"))]),
    "compressed bombs": (Provider, [Pour(12, _get("bomb"))]),
    "signing requests": (Provider, [Pour(100, _signing, "ssh-agent.sock")]),
    "everything at once": (
        Provider,
        [
            Pour(16, _upload), Pour(80, _get("heads")), Pour(100, _large_head), Pour(60, _half_head),
            Pour(64, _signing, "ssh-agent.sock"), Pour(64, _half_head, "gate-server.sock"),
        ],
    ),
}  # fmt: skip


# holds: budget-of-one-supervisor
@pytest.mark.parametrize("kind", BOMBS)
def test_supervisor_stays_below_its_ceiling_under_a_bomb(site: Site, kind: str) -> None:
    provider, pours = BOMBS[kind]
    with supervised(site, provider()) as box:
        before = box.peak_kib()
        clients = box.pour(pours)
        time.sleep(0.5)
        peak = box.peak_kib()
        print(f"{kind}: {len(clients)} connections, {before} KiB before, {peak} KiB at most")
        for client in clients:
            client.close()
        box.provider.ended.set()
    assert peak <= CEILING, f"{peak} KiB, {before} before"
