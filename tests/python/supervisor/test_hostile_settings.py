"""The operator's own git settings, at their worst, take no part in what the gate serves and the mirror keeps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from supervised_site import Site
from terok_sandbox import mint_gate_token

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("gate", "mirror")]

from gate_client import bridge, commit, git, mirror  # noqa: E402
from mirror_site import Project  # noqa: E402

CID = "e" * 64
HOOKS = (
    "pre-receive",
    "update",
    "post-receive",
    "post-update",
    "reference-transaction",
    "post-checkout",
    "pre-auto-gc",
)


class Home:
    """A home whose settings and environment run a program, and lead elsewhere, wherever git takes part."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.traces = folder / "traces"
        self.traces.mkdir(parents=True)
        self.program = folder / "program"
        self.program.write_text(f'#!/bin/sh\necho "$0 $*" >> {self.traces}/"$(basename "$0")"\nexit 1\n')
        self.program.chmod(0o755)
        hooks = folder / "hooks"
        hooks.mkdir()
        for name in HOOKS:
            (hooks / name).symlink_to(self.program)
        self.settings = {
            "core.hooksPath": hooks,
            "core.fsmonitor": self.program,
            "credential.helper": self.program,
            "core.sshCommand": self.program,
            "core.askPass": self.program,
            "core.pager": self.program,
            "uploadpack.packObjectsHook": self.program,
            "receive.denyCurrentBranch": "refuse",
            "receive.certNonceSeed": "x",
            "transfer.hideRefs": "refs/heads",
            "gc.auto": "1",
        }
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "xdg"))
        self.write()

    def write(self, **more: object) -> None:
        for path in (self.folder / ".gitconfig", self.folder / "xdg/git/config"):
            path.parent.mkdir(parents=True, exist_ok=True)
            for key, value in {**self.settings, **more}.items():
                subprocess.run(["git", "config", "--file", path, key, str(value)], check=True)

    def lead_astray(self, place: Path) -> None:
        """Make every address below `place` lead to nowhere."""
        self.write(**{f"url.{self.folder}/nowhere.insteadOf": str(place)})
        self.write(**{f"url.file://{self.folder}/nowhere.insteadOf": f"file://{place}"})

    def ran(self) -> list[str]:
        return sorted(path.name for path in self.traces.iterdir())

    def forget(self) -> None:
        for path in self.traces.iterdir():
            path.unlink()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    return Home(tmp_path / "home", monkeypatch)


def as_the_operator(*words: object, at: Path) -> subprocess.CompletedProcess[str]:
    argv = ["git", "-C", str(at), *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=180, env=os.environ, check=False)


# improves: 22-S7-own-git-settings
def test_the_gate(site: Site, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirrors = site.state / "gate"
    mirrors.mkdir()
    bare = mirror(mirrors, "proj")
    assert as_the_operator("push", "-q", bare, "main:control", at=mirrors / "proj-work").returncode != 0
    assert as_the_operator("clone", "-q", f"file://{bare}", tmp_path / "control", at=tmp_path).returncode != 0
    assert {"program", "pre-receive"} <= set(home.ran()), "the settings do harm where they count"
    home.forget()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home.folder / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "uploadpack.packObjectsHook")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(home.program))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    home.lead_astray(mirrors)

    token, copy = mint_gate_token(), tmp_path / "copy"
    members = {"gate_base_path": str(mirrors), "gate_token": token, "project_id": "proj"}
    done = site.hook("createRuntime", CID, site.sidecar("c1", **members), site.container())
    assert done.returncode == 0, done.stderr
    port = bridge(site.runtime / "run" / "c1" / "gate-server.sock")
    git("clone", "-q", f"http://{token}:@127.0.0.1:{port}/proj.git", copy)
    tip = commit(copy, "new", b"new\n")
    git("push", "-q", "origin", "HEAD:main", "HEAD:feature", at=copy)
    assert git("rev-parse", "main", at=bare).stdout.strip() == tip
    assert "refs/heads/feature" in git("ls-remote", "origin", at=copy).stdout
    assert home.ran() == []


# improves: 22-S7-own-git-settings
def test_the_mirror(home: Home, tmp_path: Path) -> None:
    """Only what is asked of the upstream is the operator's own business; what is kept here is not."""
    (tmp_path / "p").mkdir()
    project = Project(tmp_path / "p")
    first = project.commit("one")
    # An upstream on this machine is served by the operator's own git, under these two.
    for key in ("uploadpack.packObjectsHook", "transfer.hideRefs"):
        del home.settings[key]
    for path in (home.folder / ".gitconfig", home.folder / "xdg/git/config"):
        path.unlink()
    home.write()
    for place in (project.mirror.parent, tmp_path / "p/cache"):
        home.lead_astray(place)
    gate = project.gate(clone_cache_base=tmp_path / "p/cache")
    home.forget()
    assert gate.sync()["success"]
    agent = project.commit("agent", branch="agent", to=project.mirror)
    second = project.commit("two")
    result = gate.sync()
    assert result["success"] and result["cache_refreshed"], result
    assert (project.tip("refs/heads/main"), project.tip("refs/heads/agent")) == (second, agent)
    assert (tmp_path / "p/cache/proj/file").read_text() == "two"
    assert gate.last_commit()["commit_hash"] == second
    assert gate.compare_vs_upstream().is_stale is False
    assert first != second and home.ran() == []
