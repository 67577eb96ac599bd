"""The broker as Python starts and stops it, against a real vault and a real upstream on the loopback."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import ClassVar

import pytest
from fakes.serving import Answering, Serving, serving
from host.ports import free_port
from terok_sandbox.vault.daemon import token_broker
from terok_sandbox.vault.daemon.audit import read_audit
from terok_sandbox.vault.daemon.token_broker import TcpBind, UnixBind, VaultProxy
from terok_sandbox.vault.store.db import CredentialDB
from terok_sandbox.vault.store.encryption import NoPassphraseError, WrongPassphraseError


class Upstream(Answering):
    """Answers with the headers it got, values reversed: the broker withholds an answer that holds the credential."""

    def do_GET(self) -> None:
        self.answer(json.dumps({name: value[::-1] for name, value in self.headers.items()}).encode())


def received(body: bytes) -> dict[str, str]:
    """Return the headers that the upstream got, names in lower case."""
    return {name.lower(): value[::-1] for name, value in json.loads(body).items()}


@pytest.fixture
def upstream():
    with serving(Upstream) as url:
        yield url


@pytest.fixture
def place(tmp_path: Path, upstream: str, monkeypatch: pytest.MonkeyPatch):
    """A vault with one key and one token, routes, and a session passphrase; nothing of the user's own is read."""
    for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    for variable in ("TEROK_ROOT", "TEROK_VAULT_DIR", "TEROK_CREDENTIALS_DIR", "TEROK_SANDBOX_RUNTIME_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TEROK_CONFIG_DIR", str(tmp_path / "config"))
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    (runtime / "vault.passphrase").write_text("pw\n")
    db = CredentialDB(tmp_path / "vault" / "credentials.db", passphrase="pw")
    db.store_credential("default", "claude", {"type": "api_key", "key": "real-key"})
    token = db.create_token("proj", "task", "default", "claude")
    db.close()
    routes = tmp_path / "routes.json"
    routes.write_text(json.dumps({"claude": {"upstream": upstream, "auth_header": "dynamic", "auth_prefix": ""}}))
    return {
        "db_path": tmp_path / "vault" / "credentials.db",
        "scope_id": "proj",
        "routes_path": routes,
        "audit_path": tmp_path / "audit.jsonl",
        "runtime_dir": runtime,
    }, token


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def ask(connection: http.client.HTTPConnection, token: str) -> tuple[int, bytes]:
    connection.request("GET", "/v1/models?q=1", headers={"Authorization": f"Bearer {token}"})
    reply = connection.getresponse()
    return reply.status, reply.read()


# improves: 21-5.11-audit-written
def test_serves_a_unix_socket_and_takes_it_away(place, tmp_path):
    settings, token = place
    path = tmp_path / "run" / "vault.sock"
    proxy = VaultProxy(bind=UnixBind(path), **settings)
    assert proxy.bind == UnixBind(path) and proxy.scope_id == "proj"

    async def main() -> None:
        await proxy.stop()
        await proxy.start()
        await proxy.start()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        status, body = await asyncio.to_thread(ask, UnixConnection(path), token)
        headers = received(body)
        assert status == 200 and headers["x-api-key"] == "real-key" and "authorization" not in headers
        assert (await asyncio.to_thread(ask, UnixConnection(path), "nobody")) == (401, b"Invalid token")
        await proxy.stop()
        await proxy.stop()

    asyncio.run(main())
    assert not path.exists()
    lines = [json.loads(line) for line in settings["audit_path"].read_text().splitlines()]
    assert [(line["path"], line["outcome"]) for line in lines] == [
        ("/v1/models", "ok"),
        ("/v1/models", "invalid_token"),
    ]
    asyncio.run(proxy.start())
    assert path.exists()
    asyncio.run(proxy.stop())


def test_serves_the_loopback(place):
    settings, token = place
    port = free_port()
    proxy = VaultProxy(bind=TcpBind("127.0.0.1", port), **settings)
    asyncio.run(proxy.start())
    try:
        assert ask(http.client.HTTPConnection("127.0.0.1", port), token)[0] == 200
        second = VaultProxy(bind=TcpBind("127.0.0.1", port), **settings)
        with pytest.raises(OSError, match=str(port)):
            asyncio.run(second.start())
    finally:
        asyncio.run(proxy.stop())


def test_what_keeps_it_from_starting(place, tmp_path):
    settings, _token = place
    path = tmp_path / "vault.sock"

    def start(bind: object = None, **changes: object) -> None:
        asyncio.run(VaultProxy(bind=bind or UnixBind(path), **{**settings, **changes}).start())

    with pytest.raises(ValueError, match=r"0\.0\.0\.0"):
        start(TcpBind("0.0.0.0", 1))
    with pytest.raises(FileNotFoundError):
        start(routes_path=tmp_path / "missing.json")
    broken = tmp_path / "broken.json"
    broken.write_text('{"claude": {"upstream": "ftp://x"}}')
    with pytest.raises(ValueError, match="claude"):
        start(routes_path=broken)
    path.write_text("keep")
    with pytest.raises(RuntimeError, match="not a socket"):
        start()
    assert path.read_text() == "keep"
    path.unlink()
    (settings["runtime_dir"] / "vault.passphrase").write_text("other\n")
    with pytest.raises(WrongPassphraseError):
        start()
    (settings["runtime_dir"] / "vault.passphrase").unlink()
    with pytest.raises(NoPassphraseError):
        start()
    assert not path.exists()


def test_a_served_socket_is_not_taken_over(place, tmp_path):
    settings, token = place
    path = tmp_path / "vault.sock"
    first = VaultProxy(bind=UnixBind(path), **settings)
    asyncio.run(first.start())
    try:
        with pytest.raises(RuntimeError, match="another process"):
            asyncio.run(VaultProxy(bind=UnixBind(path), **settings).start())
        assert ask(UnixConnection(path), token)[0] == 200
    finally:
        asyncio.run(first.stop())


@pytest.mark.parametrize(
    ("marker", "provider"),
    [
        (token_broker.PHANTOM_CREDENTIALS_MARKER, "claude"),
        (token_broker.CODEX_SHARED_OAUTH_MARKER, "codex"),
    ],
)
def test_markers_stand_for_the_shared_logins(place, tmp_path, upstream, marker, provider):
    settings, _token = place
    settings["routes_path"].write_text(json.dumps({provider: {"upstream": upstream}}))
    with CredentialDB(settings["db_path"], passphrase="pw") as db:
        db.store_credential("default", provider, {"type": "oauth", "access_token": "real", "refresh_token": "r"})
    proxy = VaultProxy(bind=UnixBind(tmp_path / "vault.sock"), **settings)
    asyncio.run(proxy.start())
    try:
        status, body = ask(UnixConnection(tmp_path / "vault.sock"), marker)
    finally:
        asyncio.run(proxy.stop())
    assert status == 200 and received(body)["authorization"] == "Bearer real"


# improves: 21-5.12-peer-user
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_other_users_of_the_loopback_get_nothing(place):
    settings, _token = place
    port = free_port()
    proxy = VaultProxy(bind=TcpBind("127.0.0.1", port), **settings)
    asyncio.run(proxy.start())
    program = (
        "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)\n"
        "try:\n s.sendall(b'GET /-/health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'); print(s.recv(100))\n"
        "except ConnectionError: print(b'')"
    )
    try:
        for user, answered in ((0, True), (65534, False)):
            argv = ["/usr/bin/python3", "-I", "-c", program, str(port)]
            said = subprocess.run(argv, user=user, group=user, extra_groups=[], cwd="/", capture_output=True, text=True)
            assert said.returncode == 0, said.stderr
            assert ("200 OK" in said.stdout) is answered, said
    finally:
        asyncio.run(proxy.stop())


class TokenEndpoint(Answering):
    """Hands out ``new-access`` and counts how often."""

    asked: ClassVar[list[dict[str, str]]] = []

    def do_POST(self) -> None:
        type(self).asked.append(json.loads(self.body()))
        self.answer(b'{"access_token": "new-access", "refresh_token": "new-refresh", "expires_in": 3600}')


def test_refreshes_a_login_that_is_over(place, upstream, tmp_path):
    settings, _token = place
    server = Serving(TokenEndpoint)
    refresh = {"token_url": f"{server.url}/token", "client_id": "c"}
    settings["routes_path"].write_text(json.dumps({"codex": {"upstream": upstream, "oauth_refresh": refresh}}))
    db = CredentialDB(settings["db_path"], passphrase="pw")
    db.store_credential(
        "default", "codex", {"type": "oauth", "access_token": "old", "refresh_token": "r", "account_id": "kept"}
    )
    token = db.create_token("proj", "task", "default", "codex")
    path = tmp_path / "run" / "vault.sock"
    proxy = VaultProxy(bind=UnixBind(path), **settings)
    asyncio.run(proxy.start())
    try:
        for _ in range(2000):
            record = db.load_credential("default", "codex")
            if record["access_token"] == "new-access":
                break
            time.sleep(0.02)
        assert (record["refresh_token"], record["account_id"]) == ("new-refresh", "kept")
        _status, body = ask(UnixConnection(path), token)
        assert "Bearer new-access" in received(body).values()
    finally:
        asyncio.run(proxy.stop())
        db.close()
        server.close()
    assert [question["refresh_token"] for question in TokenEndpoint.asked] == ["r"]
    locks = list((settings["runtime_dir"] / "terok" / "vault" / "locks").iterdir())
    assert [lock.name.startswith("refresh-default-") for lock in locks] == [True]
    assert stat.S_IMODE(locks[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(locks[0].parent.stat().st_mode) == 0o700


def test_the_audit_file_is_read_across_its_rotation(tmp_path):
    path = tmp_path / "audit.jsonl"
    assert list(read_audit(path)) == []
    (tmp_path / "audit.jsonl.1").write_text('{"n": 1}\nnonsense\n[]\n{"n": 2}\n')
    path.write_bytes(b'{"n": 3}\n\xff\n{"n": 4')
    assert [entry["n"] for entry in read_audit(path)] == [1, 2, 3]


# holds: audit-trail-per-container
def test_the_trail_is_read_from_the_files_of_all_containers(tmp_path):
    def line(minute, name, **more):
        return json.dumps({"ts": f"2026-01-01T00:{minute:02}:00+00:00", "name": name, **more}) + "\n"

    path = tmp_path / "credential_audit.jsonl"
    own = tmp_path / "credential_audit.d"
    own.mkdir()
    one, two = own / "p_one-1.jsonl", own / "p_two-2.jsonl"
    copied = line(3, "a") + line(4, "b") + line(4, "b")
    path.write_text(line(1, "earlier version") + copied + line(9, "", outcome="not_copied", count=1))
    one.with_name("p_one-1.jsonl.1").write_text(line(3, "a"))
    one.write_text(line(4, "b") + line(4, "b") + line(8, "not copied"))
    two.with_name("p_two-2.jsonl.1").write_text(line(2, "gone from the file of all"))
    assert [entry["name"] for entry in read_audit(path)] == [
        "earlier version", "gone from the file of all", "a", "b", "b", "not copied"
    ]  # fmt: skip
    path.unlink()
    assert [entry["name"] for entry in read_audit(path)] == ["gone from the file of all", "a", "b", "b", "not copied"]
