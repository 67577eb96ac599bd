"""The gate inside a supervisor: beside a locked vault, through the death of its worker, for one container alone."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from gate_client import bridge, commit, git, mirror
from supervised_site import Site, children, request, until
from terok_sandbox import mint_gate_token

CID = "9" * 64


@pytest.fixture
def gated(site: Site) -> tuple[Site, str, str]:
    """A supervised stand-in with a gate for `proj`; the site, the token and the URL."""
    mirrors = site.state / "gate"
    mirrors.mkdir()
    mirror(mirrors, "proj")
    token = mint_gate_token()
    members = {"gate_base_path": str(mirrors), "gate_token": token, "project_id": "other", "gate_scope": "proj"}
    done = site.hook("createRuntime", CID, site.sidecar("c1", **members), site.container())
    assert done.returncode == 0, done.stderr
    port = bridge(site.runtime / "run" / "c1" / "gate-server.sock")
    return site, token, f"http://{token}:@127.0.0.1:{port}/proj.git"


def test_it_works_while_the_vault_is_locked(gated: tuple[Site, str, str], tmp_path: Path) -> None:
    site, _token, url = gated
    assert request(site.socket("c1")) == 503
    git("clone", "-q", url, tmp_path / "copy")
    tip = commit(tmp_path / "copy", "new", b"new\n")
    git("push", "-q", "origin", "HEAD:main", at=tmp_path / "copy")
    assert git("rev-parse", "main", at=site.state / "gate" / "proj.git").stdout.strip() == tip


# improves: 22-S6-token-out-of-sight
def test_another_containers_token_is_refused_and_tokens_stay_out_of_sight(gated: tuple[Site, str, str]) -> None:
    site, token, url = gated
    assert "403" in git("ls-remote", url.replace(token, mint_gate_token()), check=False).stderr
    assert "403" in git("ls-remote", url.replace("proj.git", "other.git"), check=False).stderr
    assert git("push", url, "main:refs/notes/x", at=site.state / "gate" / "proj-work", check=False).returncode
    assert "403" in site.log(CID) and token not in site.log(CID)
    watchdog = site.watchdog(CID)
    for pid in (watchdog, *children(watchdog)):
        assert token.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        # Where not even its own user may read a supervisor's environment, the token is out of sight all the more.
        with contextlib.suppress(PermissionError):
            assert token.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


def at_work(folder: Path) -> dict[str, bytes]:
    """The processes that run in *folder*, and their arguments."""
    found = {}
    for place in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if place.readlink() == folder:
                found[place.parent.name] = (place.parent / "cmdline").read_bytes()
    return found


def test_a_worker_killed_in_the_middle_of_a_push(gated: tuple[Site, str, str], tmp_path: Path) -> None:
    """Its git ends with it, the repository is whole, the client hears of it, and the next push works."""
    site, _, url = gated
    bare, copy = site.state / "gate" / "proj.git", tmp_path / "copy"
    git("clone", "-q", url, copy)
    tip = commit(copy, "large", os.urandom(24 << 20))

    def incoming() -> set[Path]:
        return set((bare / "objects").glob("tmp_objdir-*"))

    for _ in range(2):
        left = incoming()
        argv = ["git", "-C", str(copy), "push", "-q", "origin", "HEAD:large"]
        pushing = subprocess.Popen(argv, stderr=subprocess.PIPE, env=os.environ | {"GIT_TERMINAL_PROMPT": "0"})
        assert until(lambda before=left: incoming() - before, 60) or pushing.poll() is not None
        for worker in children(site.watchdog(CID)):
            os.kill(worker, signal.SIGKILL)
        said = pushing.communicate(timeout=60)[1].decode()
        assert until(lambda: not at_work(bare), 10), at_work(bare)
        there = git("rev-parse", "-q", "--verify", "refs/heads/large", at=bare, check=False).returncode == 0
        assert there or pushing.returncode != 0, said
        git("fsck", "--full", "--strict", at=bare)
        time.sleep(0.3)
    git("push", "-q", "origin", "HEAD:large", at=copy)
    assert git("rev-parse", "large", at=bare).stdout.strip() == tip


def test_a_sidecar_that_names_no_repository_keeps_the_container_from_running(site: Site) -> None:
    for project in ("", "..", "a/b"):
        members = {"gate_base_path": str(site.state), "gate_token": "terok-g-1", "project_id": project}
        done = site.hook("createRuntime", CID, site.sidecar("c1", **members), site.container())
        assert done.returncode != 0 and "git gate" in done.stderr, done.stderr
        assert "terok-g-1" not in done.stderr
