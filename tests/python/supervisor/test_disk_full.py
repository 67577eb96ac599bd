"""A disk without space: every part says so, loses nothing, and works again once there is space."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.serving import Answering, serving
from supervised_site import Site, until
from terok_sandbox import mint_gate_token
from terok_sandbox.vault.store.db import CredentialDB

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("gate", "mirror")]

from gate_client import bridge, commit, git, mirror  # noqa: E402
from mirror_site import Project  # noqa: E402

CID = "f" * 64


class Disk:
    """A small file system, its free space at our command."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.filler = path / "filler"

    def leave(self, size: int) -> None:
        """Fill it but for so many bytes."""
        self.free()
        room = os.statvfs(self.path)
        with self.filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, room.f_bavail * room.f_frsize - size))

    def free(self) -> None:
        self.filler.unlink(missing_ok=True)


@pytest.fixture
def upstream() -> Iterator[tuple[str, list[bytes]]]:
    """A vendor's token endpoint; its address, and what it was asked."""
    asked: list[bytes] = []

    class Vendor(Answering):
        def do_POST(self) -> None:
            asked.append(self.body())
            self.answer(b'{"access_token": "new", "refresh_token": "new-refresh", "expires_in": 3600}')

    with serving(Vendor) as url:
        yield url, asked


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[Path, int], Disk]]:
    """Put a small file system on a directory; root's business, inside the private host."""
    mounted: list[Path] = []

    def mount(place: Path, megabytes: int) -> Disk:
        place.mkdir(parents=True, exist_ok=True)
        if os.getuid() != 0:
            pytest.skip("only root can mount a small file system: tests/host/with-test-host")
        argv = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "small", str(place)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
        mounted.append(place)
        return Disk(place)

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_push_that_does_not_fit(site: Site, disk: Callable[[Path, int], Disk], tmp_path: Path) -> None:
    small = disk(site.state / "gate", 24)
    bare = mirror(small.path, "proj")
    token, copy = mint_gate_token(), tmp_path / "copy"
    members = {"gate_base_path": str(small.path), "gate_token": token, "project_id": "proj"}
    done = site.hook("createRuntime", CID, site.sidecar("c1", **members), site.container())
    assert done.returncode == 0, done.stderr
    port = bridge(site.runtime / "run" / "c1" / "gate-server.sock")
    git("clone", "-q", f"http://{token}:@127.0.0.1:{port}/proj.git", copy)
    before = git("for-each-ref", at=bare).stdout
    room = os.statvfs(small.path).f_bavail

    commit(copy, "large", os.urandom(32 << 20))
    for _ in range(2):
        refused = git("push", "-q", "origin", "HEAD:large", at=copy, check=False)
        assert refused.returncode != 0 and "No space left on device" in refused.stderr, refused.stderr
        git("fsck", "--full", "--strict", at=bare)
        assert git("for-each-ref", at=bare).stdout == before
        assert os.statvfs(small.path).f_bavail > room * 0.9, "what was received is gone"

    git("reset", "-q", "--hard", "origin/main", at=copy)
    tip = commit(copy, "little", b"x")
    small.leave(0)
    refused = git("push", "-q", "origin", "HEAD:little", at=copy, check=False)
    assert refused.returncode != 0 and refused.stderr.strip(), "the client hears of it"
    assert git("for-each-ref", at=bare).stdout == before
    # Reading needs no space.
    git("clone", "-q", f"http://{token}:@127.0.0.1:{port}/proj.git", tmp_path / "second")
    small.free()
    git("push", "-q", "origin", "HEAD:little", at=copy)
    assert git("rev-parse", "little", at=bare).stdout.strip() == tip
    git("fsck", "--full", "--strict", at=bare)


def test_a_synchronisation_that_does_not_fit(disk: Callable[[Path, int], Disk], tmp_path: Path) -> None:
    project = Project(tmp_path)
    first = project.commit("one")
    small = disk(project.mirror.parent, 24)
    gate = project.gate(clone_cache_base=tmp_path / "cache")
    assert gate.sync()["success"]
    mine = project.commit("mine", branch="agent", to=project.mirror)
    project.git(project.work, "reset", "-q", "--hard", first)
    (project.work / "large").write_bytes(os.urandom(32 << 20))
    second = project.commit("two")

    for _ in range(2):
        result = gate.sync()
        assert result["success"] is False
        assert any("No space left on device" in text for text in result["errors"]), result["errors"]
        project.git(project.mirror, "fsck", "--full", "--strict")
        assert (project.tip("refs/heads/main"), project.tip("refs/heads/agent")) == (first, mine)
    small.leave(0)
    assert gate.sync()["success"] is False
    small.free()

    subprocess.run(["mount", "-o", "remount,size=96m", str(small.path)], check=True)
    assert gate.sync()["success"]
    assert (project.tip("refs/heads/main"), project.tip("refs/heads/agent")) == (second, mine)
    project.git(project.mirror, "fsck", "--full", "--strict")


def test_a_mirror_that_does_not_fit_is_not_there(disk: Callable[[Path, int], Disk], tmp_path: Path) -> None:
    project = Project(tmp_path)
    (project.work / "large").write_bytes(os.urandom(16 << 20))
    tip = project.commit("one")
    small = disk(project.mirror.parent, 8)
    with pytest.raises(SystemExit, match="No space left on device"):
        project.gate().sync()
    assert not project.mirror.exists()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small.path)], check=True)
    assert project.gate().sync()["created"] and project.tip("refs/heads/main") == tip


def test_the_vault(disk: Callable[[Path, int], Disk], tmp_path: Path) -> None:
    small = disk(tmp_path / "vault", 4)
    path = small.path / "credentials.db"
    small.leave(0)
    with pytest.raises(OSError, match="no space is left"):
        CredentialDB(path, passphrase="pw")
    small.free()
    with CredentialDB(path, passphrase="pw") as db:
        db.store_credential("default", "claude", {"type": "api_key", "key": "real"})
        token = db.create_token("p", "t", "default", "claude")
        small.leave(0)
        large = {"type": "api_key", "key": "x" * 200_000}
        for change in (
            lambda: db.store_credential("default", "codex", large),
            lambda: db.store_credential("default", "claude", large),
        ):
            with pytest.raises(OSError, match="no space is left"):
                change()
        assert db.load_credential("default", "claude") == {"type": "api_key", "key": "real"}
        assert db.lookup_token(token) and db.list_credentials("default") == ["claude"]
    with CredentialDB(path, passphrase="pw") as db:
        assert db.load_credential("default", "claude") == {"type": "api_key", "key": "real"}, "opens without space"
        small.free()
        db.store_credential("default", "codex", large)
    with CredentialDB(path, passphrase="pw") as db:
        assert db.load_credential("default", "codex") == large and db.lookup_token(token)


# improves: 21-5.10-refresh-kept
def test_a_login_is_not_refreshed_while_nothing_can_be_kept(
    site: Site, disk: Callable[[Path, int], Disk], upstream: tuple[str, list[bytes]]
) -> None:
    """A vendor that hands out a new token voids the old one: it is asked when there is room for its answer again."""
    small = disk(site.vault, 4)
    url, asked = upstream
    refresh = {"token_url": f"{url}/token", "client_id": "c", "scope": "s"}
    routes = {"claude": {"upstream": url, "auth_header": "dynamic", "auth_prefix": "", "oauth_refresh": refresh}}
    (site.vault / "routes.json").write_text(json.dumps(routes))
    (site.runtime / "vault.passphrase").write_text("pw\n")
    login = {"type": "oauth", "access_token": "old", "refresh_token": "old-refresh", "expires_at": time.time() + 60}
    with CredentialDB(site.vault / "credentials.db", passphrase="pw") as db:
        db.store_credential("default", "claude", login)
        db.create_token("p", "t", "default", "claude")
    # Enough to open the vault, not enough to keep an answer.
    small.leave(48 << 10)
    members = {"project_id": "p", "task_id": "t"}
    done = site.hook("createRuntime", CID, site.sidecar("c1", **members), site.container())
    assert done.returncode == 0, done.stderr
    assert until(lambda: "could not be kept" in site.log(CID), 40), site.log(CID)
    assert asked == [] and "no storage space" in site.log(CID)
    small.free()
    # As the next container of the same login, so that the test need not wait for the next try of this one.
    done = site.hook("createRuntime", "0" * 64, site.sidecar("c2", **members), site.container())
    assert done.returncode == 0, done.stderr

    def stored() -> str:
        with CredentialDB(site.vault / "credentials.db", passphrase="pw") as db:
            return db.load_credential("default", "claude")["refresh_token"]

    assert until(lambda: stored() == "new-refresh", 40), site.log("0" * 64)
    assert until(lambda: not list(site.vault.glob(".r*")), 40), list(site.vault.iterdir())
    assert len(asked) == 1
