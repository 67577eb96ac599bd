"""Two users of one machine: nothing of one can be used, read or listed by the other.

The other user is given every advantage: the tokens, the ports and the names of all files.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tenant import Box, Tenant, Upstream, basic, handshake, http, status

#: Looks around in a tree as whoever runs it; further names come on standard input.
PROWL = """
import json, os, socket, stat, sys
root, names = json.load(sys.stdin)
found = {"listed": [], "read": [], "written": [], "connected": []}
def look(path):
    try: mode = os.lstat(path).st_mode
    except OSError: return
    if stat.S_ISDIR(mode):
        try: entries = os.listdir(path)
        except OSError: entries = None
        if entries is not None:
            found["listed"].append(path)
        try:
            os.mkdir(path + "/prowler"); os.rmdir(path + "/prowler"); found["written"].append(path)
        except OSError: pass
        return entries or []
    if stat.S_ISSOCK(mode):
        try: socket.socket(socket.AF_UNIX).connect(path); found["connected"].append(path)
        except OSError: pass
        return
    for flags, kind in ((os.O_RDONLY, "read"), (os.O_WRONLY | os.O_APPEND, "written")):
        try: os.close(os.open(path, flags | os.O_NONBLOCK)); found[kind].append(path)
        except OSError: pass
waiting = [root]
while waiting:
    path = waiting.pop()
    waiting += [path + "/" + name for name in look(path) or []]
for name in names: look(name)
print(json.dumps({kind: sorted(set(paths)) for kind, paths in found.items()}))
"""

#: What the tests themselves put there, and the part of the configuration that is no secret.
HARMLESS = {
    "",
    "/bin",
    "/bin/podman",
    "/config.yml",
    "/config",
    "/config/containers",
    "/config/containers/containers.conf",
}

SEES = """
import json, os, sys
seen = []
for pid in json.load(sys.stdin):
    for name in ("environ", "mem", "maps", "auxv", "stack", "syscall"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file: file.read(1); seen.append([pid, name])
        except OSError: pass
    for name in ("cwd", "exe", "root"):
        try: os.readlink(f"/proc/{pid}/{name}"); seen.append([pid, name])
        except OSError: pass
    try: os.listdir(f"/proc/{pid}/fd"); seen.append([pid, "fd"])
    except OSError: pass
    try: os.kill(pid, 0); seen.append([pid, "signal"])
    except OSError: pass
print(json.dumps(seen))
"""


@dataclass
class Pair:
    """A user with a container, and a stranger with one."""

    user: Tenant
    stranger: Tenant
    box: Box
    others: Box


@pytest.fixture
def pair(tenants: tuple[Tenant, Tenant]) -> Iterator[Pair]:
    user, stranger = tenants
    # The same names on both sides: only the user differs.
    yield Pair(user, stranger, user.launch("work", "t1", 1), stranger.launch("work", "t1", 2))


def questions(box: Box, tokens: dict[str, str]) -> list[tuple[str | int, bytes]]:
    """One for each service of a container, with the given tokens."""
    refs = "/work.git/info/refs?service=git-upload-pack"
    return [
        (box.where("broker"), http("/v1/models", Authorization=f"Bearer {tokens['broker']}")),
        (box.where("broker"), http("/-/health")),
        (box.where("gate"), http(refs, Authorization=basic(tokens["gate"]))),
        (box.where("ssh"), handshake(tokens["ssh"])),
    ]


# improves: 21-5.12-peer-user 22-S6-token-out-of-sight
def test_services_answer_their_own_user_only(pair: Pair, upstream: Upstream) -> None:
    asked = questions(pair.box, pair.box.tokens)
    answers = pair.stranger.call(asked)
    assert [answer for _, answer in answers] == [b""] * len(asked)
    expected = {"closed", "ConnectionResetError", "BrokenPipeError"} if pair.user.tcp else {"PermissionError"}
    assert {happened for happened, _ in answers} <= expected, answers
    assert not upstream.keys, "nothing reached the service"

    broker, health, gate, keys = (answer for _, answer in pair.user.call(asked))
    assert (status(broker), status(health), status(gate)) == (200, 200, 200)
    assert pair.box.blob in keys
    assert upstream.keys == [pair.box.key]


def test_tokens_of_another_user_are_none(pair: Pair, upstream: Upstream) -> None:
    """The stranger's own services, asked by the stranger, with tokens that are good elsewhere."""
    broker, _, gate, keys = pair.stranger.call(questions(pair.others, pair.box.tokens))
    assert (status(broker[1]), status(gate[1])) == (401, 403)
    assert keys == ("closed", b"")
    assert not upstream.keys


# improves: 21-1.2-database-private 21-7.1-sidecar-private
def test_files_cannot_be_read_listed_or_guessed(pair: Pair) -> None:
    everything = [str(path) for path in pair.user.folder.rglob("*")]
    sockets = [name for name in everything if name.endswith(".sock")]
    assert len(sockets) == (0 if pair.user.tcp else 3)
    assert sum(name.endswith((".db", ".json", "vault.passphrase", ".pid", "HEAD")) for name in everything) >= 7
    # Names in the wide may be passed through, so every one is tried.
    found = json.loads(
        pair.stranger.run(sys.executable, "-c", PROWL, given=json.dumps([str(pair.user.folder), everything])).stdout
    )
    assert not found["written"] and not found["connected"]
    seen = {path.removeprefix(str(pair.user.folder)) for path in (*found["read"], *found["listed"])}
    assert seen - HARMLESS == set()
    # The same look round by the owner sees all of it: the prowler is not blind.
    own = json.loads(pair.user.run(sys.executable, "-c", PROWL, given=json.dumps([str(pair.user.folder), []])).stdout)
    assert {str(pair.box.sidecar), str(Path(pair.user.places["vault"]) / "credentials.db")} <= set(own["read"])
    assert len(own["connected"]) == len(sockets)


def test_processes_show_and_obey_nobody_else(pair: Pair) -> None:
    served = pair.user.supervisors()
    assert len(served) == 2
    assert json.loads(pair.stranger.run(sys.executable, "-c", SEES, given=json.dumps(served)).stdout) == []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            assert not [secret for secret in pair.user.secrets if secret.encode() in line], line


def test_the_audit_is_each_users_own(pair: Pair) -> None:
    for one, box in ((pair.user, pair.box), (pair.stranger, pair.others)):
        asked = http(f"/v1/of/{one.folder.name}", Authorization=f"Bearer {box.tokens['broker']}")
        assert status(one.call([(box.where("broker"), asked)])[0][1]) == 200
    for one in (pair.user, pair.stranger):
        assert [(line["path"], line["outcome"]) for line in one.audit] == [(f"/v1/of/{one.folder.name}", "ok")]
