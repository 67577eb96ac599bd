"""A repository by URL through the git gate: a real git server, a real agent, a branch in the mirror, nothing upstream."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from e2e_site import DONE, Site, until
from host.ports import free_port
from test_broker_faults import ask
from test_host_faults import passphrase_file  # noqa: F401

WORK = {
    "steps": [
        {"tool": "edit", "path": "/workspace/note.txt", "old": "old line", "new": "new line"},
        {
            "tool": "shell",
            "command": "cd /workspace && git checkout -q -b fix/note && git commit -q -a -m 'The fix' "
            "&& git push origin HEAD 2>&1; git remote -v; cat .git/config",
        },
        {"say": "Pushed."},
    ],
    "side": "Fix",
}
TRY = "http://localhost:9418/{name}.git/info/refs?service=git-upload-pack"


@dataclass
class Upstream:
    """A repository on a real git server that would take pushes."""

    site: Site
    url: str
    path: Path

    def refs(self) -> str:
        return self.site.git(self.path, "for-each-ref")

    @property
    def mirror(self) -> Path:
        from terok_executor.container import gating
        from terok_executor.integrations import sandbox

        return gating.mirror_path(sandbox.SandboxConfig(), self.url)


@pytest.fixture
def served(site: Site) -> Iterator[Path]:
    """The folder that a git server on the loopback serves; its address is in the file `address`."""
    base = Path(tempfile.mkdtemp(prefix="served-", dir=site.repository().parent))
    port = free_port()
    command = ["git", "daemon", "--listen=127.0.0.1", f"--port={port}", f"--base-path={base}", "--export-all"]
    with subprocess.Popen([*command, "--enable=receive-pack", "--reuseaddr"], stderr=subprocess.DEVNULL) as server:
        (base / "address").write_text(f"git://127.0.0.1:{port}")
        yield base
        server.terminate()


@pytest.fixture
def upstream(site: Site, served: Path) -> Upstream:
    return serve(site, served, "app")


def serve(site: Site, served: Path, name: str) -> Upstream:
    """Another repository on the server."""
    path = served / f"{name}.git"
    site.git(served, "clone", "-q", "--bare", str(site.repository()), str(path))
    url = f"{(served / 'address').read_text()}/{name}.git"
    until(lambda: site.run("git", "ls-remote", url).returncode == 0, "the git server answers")
    return Upstream(site, url, path)


def run(site: Site, url: str, *words: str, check: bool = True) -> tuple[str, subprocess.CompletedProcess[str]]:
    name = site.name()
    done = site.cli(
        "run", "claude", url, "--base", site.base, "--family", "deb", "--no-preflight", "--name", name, *words
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return name, done


def inspected(site: Site, container: str) -> dict[str, Any]:
    return json.loads(site.podman("inspect", container))[0]


@pytest.fixture(params=["socket", "tcp"])
def transport(request: pytest.FixtureRequest, passphrase_file: Path) -> str:  # noqa: F811
    """Both ways to a container's services; the fixture of the passphrase restores the file."""
    passphrase_file.write_text(passphrase_file.read_text() + f"services:\n  mode: {request.param}\n")
    return request.param


# improves: 22-S6-token-out-of-sight
def test_an_agent_pushes_and_the_upstream_stays(site: Site, upstream: Upstream, transport: str) -> None:
    before = upstream.refs()
    with site.model(WORK) as model:
        name, done = run(site, upstream.url, "-p", "Fix the note, commit, push.", "--timeout", "300")
    assert "branch `fix/note`, 1 commit(s)" in done.stdout
    assert f"git fetch {upstream.mirror} refs/heads/fix/note" in done.stdout
    assert site.git(upstream.mirror, "show", "fix/note:note.txt") == "new line"
    assert "The fix" in site.git(upstream.mirror, "log", "-1", "--format=%s", "fix/note")
    assert upstream.refs() == before
    config = inspected(site, name)
    variables = dict(pair.split("=", 1) for pair in config["Config"]["Env"])
    token = variables["TEROK_GATE_TOKEN"]
    assert token.startswith("terok-g-") and token not in str(config["Config"]["CreateCommand"])
    assert token not in done.stdout + done.stderr and token not in str(model.steps("/v1/messages")[-1]["body"])
    assert ("TEROK_GATE_SOCKET" in variables) == (transport == "socket")
    assert ("TEROK_GATE_PORT" in variables) == (transport == "tcp")
    assert site.cli("stop", name).returncode == 0
    assert upstream.mirror.is_dir(), "what was pushed outlives the container"


def test_the_token_opens_one_repository(site: Site, served: Path, upstream: Upstream) -> None:
    other = serve(site, served, "secret")
    first, _ = run(site, upstream.url, "--interactive")
    second, _ = run(site, other.url, "--interactive")
    curl = "curl -s -o /dev/null -w '%{http_code}' "

    def status(container: str, mirror: Path, login: str = '-u "$TEROK_GATE_TOKEN:" ') -> str:
        return site.inside(container, f"{curl}{login}'{TRY.format(name=mirror.stem)}'")

    assert status(first, upstream.mirror) == status(second, other.mirror) == "200"
    assert status(first, other.mirror) == status(second, upstream.mirror) == "403"
    assert status(first, upstream.mirror, "") == "401"
    theirs = site.inside(second, "echo $TEROK_GATE_TOKEN")
    assert status(first, upstream.mirror, f"-u {theirs}: ") == "403"
    sockets = site.inside(first, "ls /run/terok")
    assert "gate-server.sock" in sockets and second not in sockets


def test_a_locked_vault_costs_the_gate_nothing(site: Site, upstream: Upstream, passphrase_file: Path) -> None:  # noqa: F811
    """The container's tokens are minted before the vault is locked, and work again after it is unlocked."""
    name, _ = run(site, upstream.url, "--interactive")
    good = passphrase_file.read_text()
    passphrase_file.write_text("\n".join(line for line in good.splitlines() if "passphrase:" not in line) + "\n")
    starts = site.podman("logs", name).count("init complete")
    site.podman("restart", "-t", "0", name)
    until(lambda: site.podman("logs", name).count("init complete") > starts, "the container is up again")
    push = "cd /workspace && git commit -q --allow-empty -m locked && git push -q origin HEAD:refs/heads/locked"
    site.inside(name, push)
    assert site.git(upstream.mirror, "log", "-1", "--format=%s", "locked") == "locked"
    assert ask(site, name) == ("Vault locked", 503)
    passphrase_file.write_text(good)
    with site.model(DONE):
        until(lambda: ask(site, name)[1] == 200, "the vault is open and the old token works")


def test_a_launch_with_a_locked_vault_has_its_gate(site: Site, upstream: Upstream, passphrase_file: Path) -> None:  # noqa: F811
    good = passphrase_file.read_text()
    passphrase_file.write_text("\n".join(line for line in good.splitlines() if "passphrase:" not in line) + "\n")
    name, done = run(site, upstream.url, "--interactive")
    assert "without credentials" in done.stderr
    assert "refs/heads/main" in site.inside(name, "cd /workspace && git ls-remote origin")
    assert ask(site, name, "terok-p-" + "0" * 32) == ("Vault locked", 503)


def test_two_containers_of_one_repository(site: Site, upstream: Upstream) -> None:
    """Each sees what the other pushed; what upstream does later reaches the next run, and no push is lost."""
    names = [run(site, upstream.url, "--interactive")[0] for _ in range(2)]
    for name in names:
        work = f"cd /workspace && git commit -q --allow-empty -m {name} && git push -q origin HEAD:refs/heads/{name}"
        site.inside(name, work)
    seen = site.inside(names[0], "cd /workspace && git ls-remote --heads origin")
    assert all(f"refs/heads/{name}" in seen for name in names)
    clone = upstream.path.with_name("clone")
    site.git(clone.parent, "clone", "-q", upstream.url, str(clone))
    site.git(clone, "-c", "user.name=H", "-c", "user.email=h@l", "commit", "-q", "--allow-empty", "-m", "news")
    site.git(clone, "push", "-q", "origin", "HEAD:main")
    third, _ = run(site, upstream.url, "--interactive")
    assert site.inside(third, "cd /workspace && git log -1 --format=%s") == "news"
    assert {site.git(upstream.mirror, "log", "-1", "--format=%s", name) for name in names} == set(names)


def test_a_failed_sync_is_named_and_leaves_nothing(site: Site, served: Path) -> None:
    url = f"{(served / 'address').read_text()}/missing.git"
    gate = Path(site.state) / "sandbox" / "gate"
    before = sorted(gate.iterdir()) if gate.exists() else []
    with site.leaves_nothing():
        done = run(site, url, "-p", "x", check=False)[1]
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "missing.git" in done.stderr and "hint: " in done.stderr and "--no-gate" in done.stderr, done.stderr
    repositories = [path for path in gate.iterdir() if path.is_dir()] if gate.exists() else []
    assert [path for path in repositories if path not in before] == []


def test_a_key_is_asked_for_by_name(site: Site) -> None:
    with site.leaves_nothing():
        done = run(site, "git@host.invalid:team/app.git", "-p", "x", check=False)[1]
    assert done.returncode == 1 and "ssh add app-" in done.stderr and "--no-gate" in done.stderr, done.stderr


def test_without_the_gate_there_is_none(site: Site, upstream: Upstream) -> None:
    """The container clones by itself (here in vain: its network does not reach the host's loopback)."""
    name, done = run(site, upstream.url, "-p", "x", "--no-gate", "--timeout", "30", check=False)
    assert done.returncode == 128 and not upstream.mirror.exists()
    variables = " ".join(inspected(site, name)["Config"]["Env"])
    assert "TEROK_GATE" not in variables and upstream.url in variables
