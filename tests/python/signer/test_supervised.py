"""The signer as a supervisor serves it: a real supervisor process, no container needed."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from host.ports import free_range
from openssh_site import Bridged, Key, add, run
from supervised_site import Site, alive, children, site, until  # noqa: F401
from terok_sandbox.vault.store.db import CredentialDB

CIDS = ("a" * 64, "b" * 64)


@pytest.fixture
def db(site: Site):  # noqa: F811
    """The site's vault, locked for the supervisors: nobody has left a passphrase yet."""
    db = CredentialDB(site.vault / "credentials.db", passphrase="pw")
    yield db
    db.close()


def unlock(site: Site) -> None:  # noqa: F811
    (site.runtime / "vault.passphrase").write_text("pw\n")


def agent_socket(site: Site, name: str) -> Path:  # noqa: F811
    return site.runtime / "run" / name / "ssh-agent.sock"


def start(site: Site, number: int, name: str, **members: object) -> None:  # noqa: F811
    done = site.hook("createRuntime", CIDS[number], site.sidecar(name, **members), site.container())
    assert done.returncode == 0, done.stderr


def listed(tmp: Path, token: str, **where: str) -> list[str]:
    """Fingerprints that `ssh-add -l` shows through the container's bridge; none when it is not let in."""
    tmp.mkdir(exist_ok=True)
    with Bridged(tmp, token, **where) as agent:
        done = run("ssh-add", "-l", env=dict(os.environ, SSH_AUTH_SOCK=str(agent)), check=False)
        agent.unlink()
    return [line.split()[1] for line in done.stdout.splitlines() if done.returncode == 0]


def test_a_locked_vault_closes_connections_and_heals_without_a_restart(site, db, keys: list[Key], tmp_path):  # noqa: F811
    add(db, "p", keys[0])
    token = db.create_token("p", "t", "p", "ssh")
    start(site, 0, "c1", project_id="p", task_id="t")
    path = agent_socket(site, "c1")
    assert path.stat().st_mode & 0o777 == 0o600
    assert until(lambda: "stays locked" in site.log(CIDS[0]), 60)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(len(token).to_bytes(4, "big") + token.encode())
        assert client.recv(1) == b""
    watchdog = site.watchdog(CIDS[0])
    unlock(site)
    place = {"TEROK_SSH_SIGNER_SOCKET": str(path)}
    assert until(lambda: listed(tmp_path, token, **place) == [keys[0].fingerprint], 60)
    assert site.watchdog(CIDS[0]) == watchdog
    log = site.log(CIDS[0])
    assert "the vault is locked" in log and token not in log


# improves: 21-3.5-lock-reaches-running
def test_locking_ends_open_connections(site, db, keys: list[Key]):  # noqa: F811
    """A client that was let in and says nothing loses its connection too, and comes back after the next unlocking."""
    unlock(site)
    add(db, "p", keys[0])
    token = db.create_token("p", "t", "p", "ssh")
    start(site, 0, "c1", project_id="p", task_id="t")

    def admitted() -> socket.socket | None:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(60)
        client.connect(str(agent_socket(site, "c1")))
        client.sendall(len(token).to_bytes(4, "big") + token.encode() + b"\0\0\0\x01\x0b")
        if client.recv(5)[4:] == b"\x0c":
            return client
        client.close()
        return None

    with admitted() as client:
        rest = len(keys[0].blob) + 64
        client.setblocking(False)
        assert client.recv(rest)
        client.settimeout(4)
        (site.runtime / "vault.passphrase").unlink()
        assert client.recv(1) == b"", "closed within four seconds, nothing was asked"
    assert admitted() is None
    unlock(site)
    assert until(lambda: (again := admitted()) and again.close() is None, 60), site.log(CIDS[0])


def test_no_key_of_one_container_is_listed_by_another(site, db, keys: list[Key], tmp_path):  # noqa: F811
    """Two projects, and two tasks of one project: a token opens its own container's socket alone."""
    unlock(site)
    for scope, key in zip(("p", "q"), keys, strict=False):
        add(db, scope, key)
    labels = {"c1": ("p", "t"), "c2": ("q", "t")}
    tokens = {name: db.create_token(scope, task, scope, "ssh") for name, (scope, task) in labels.items()}
    sibling = db.create_token("p", "u", "p", "ssh")
    for number, (name, (scope, task)) in enumerate(labels.items()):
        start(site, number, name, project_id=scope, task_id=task)
    for name, key in zip(labels, keys, strict=False):
        place = {"TEROK_SSH_SIGNER_SOCKET": str(agent_socket(site, name))}
        seen = {shown: listed(tmp_path, token, **place) for shown, token in {**tokens, "sibling": sibling}.items()}
        assert seen == {"c1": [], "c2": [], "sibling": [], name: [key.fingerprint]}
    db.revoke_tokens("p", "t")
    place = {"TEROK_SSH_SIGNER_SOCKET": str(agent_socket(site, "c1"))}
    assert listed(tmp_path, tokens["c1"], **place) == []


def test_ports_serve_as_sockets_do_and_a_killed_worker_comes_back(site, db, keys: list[Key], tmp_path):  # noqa: F811
    unlock(site)
    add(db, "p", keys[0])
    token = db.create_token("p", "t", "p", "ssh")
    ports = free_range(2)
    members = {"ipc_mode": "tcp", "tcp_port": ports[0], "ssh_signer_port": ports[1]}
    start(site, 0, "c1", project_id="p", task_id="t", **members)
    place = {"TEROK_SSH_SIGNER_PORT": str(ports[1])}
    assert listed(tmp_path, token, **place) == [keys[0].fingerprint]
    (worker,) = children(site.watchdog(CIDS[0]))
    os.kill(worker, signal.SIGKILL)
    assert until(lambda: not alive(worker))
    assert listed(tmp_path, token, **place) == [keys[0].fingerprint]
