"""What comes back through the gate, and what a container's environment says about it; with a real bare repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from terok_executor.container import gating
from terok_executor.container.gating import Mirror, served_repository
from terok_executor.integrations import sandbox as catalogue

URL = "https://token:x@host.example/team/app.git"
IDENTITY = ["-c", "user.name=A", "-c", "user.email=a@localhost"]


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *IDENTITY, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A clone whose pushes go to `mirror.git`, where the upstream's branch `main` is known."""
    mirror, work = tmp_path / "mirror.git", tmp_path / "work"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(mirror)], check=True)
    subprocess.run(["git", "clone", "-q", str(mirror), str(work)], check=True, capture_output=True)
    git(work, "checkout", "-q", "-b", "main")
    git(work, "commit", "-q", "--allow-empty", "-m", "start")
    git(work, "push", "-q", "origin", "main", "main:refs/terok/upstream/heads/main")
    return work


def test_only_what_was_pushed_since_is_reported(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = work.with_name("mirror.git")
    git(work, "push", "-q", "origin", "main:refs/heads/older")
    git(work, "commit", "-q", "--allow-empty", "-m", "older work")
    git(work, "push", "-q", "origin", "main:refs/heads/older")
    seen = Mirror.seen(path)
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    assert seen.report() == f"nothing was pushed to the gate (`{path}`)"
    assert dict(seen.pushed()) == {}
    monkeypatch.delenv("GIT_DIR")
    for _ in range(2):
        git(work, "commit", "-q", "--allow-empty", "-m", "fix")
    git(work, "push", "-q", "origin", "main:refs/heads/fix/it")
    git(work, "push", "-q", "origin", "main:refs/terok/upstream/heads/news", "main~1:refs/heads/news")
    report = seen.report()
    assert "branch `fix/it`, 3 commit(s)" not in report and "branch `fix/it`" in report
    assert f"git fetch {path} refs/heads/fix/it" in report and "older" not in report and "`main`" not in report
    assert f"git -C {path} log" in seen.announce()


def test_the_commands_of_the_report_work(work: Path) -> None:
    path = work.with_name("mirror.git")
    seen = Mirror.seen(path)
    git(work, "commit", "-q", "--allow-empty", "-m", "the fix")
    git(work, "push", "-q", "origin", "main:refs/heads/fix")
    first, look, take = seen.report().splitlines()
    assert "branch `fix`, 1 commit(s)" in first
    shown = subprocess.run(look.split(":", 1)[1].split(), capture_output=True, text=True, check=True).stdout
    assert "the fix" in shown and "start" not in shown
    fetched = subprocess.run(take.split(":", 1)[1].split(), cwd=work, capture_output=True, text=True, check=True)
    assert "fix" in fetched.stderr


# holds: printed-commands-paste
def test_the_report_is_clean_and_pastes_when_a_container_chose_the_name(work: Path, tmp_path: Path) -> None:
    path = work.with_name("mirror.git")
    seen = Mirror.seen(path)
    witness = tmp_path / "ran"
    git(work, "commit", "-q", "--allow-empty", "-m", "the fix")
    commit = git(work, "rev-parse", "HEAD")
    names = [f"x;touch${{IFS}}{witness};#".encode(), "tür\u202e'".encode(), b"Stra\xdfe", b"-D"]
    for name in names:
        subprocess.run(["git", "-C", work, "push", "-q", path, b"HEAD:refs/heads/" + name], check=True)
    report = seen.report()
    assert report.replace("\n", "").isprintable()
    taken = [line.split(":", 1)[1] for line in report.splitlines() if "take it:" in line]
    assert len(taken) == len(names)
    for command in taken:
        subprocess.run(["bash", "-c", command], cwd=work, check=True, capture_output=True)
        assert git(work, "rev-parse", "FETCH_HEAD") == commit
    assert not witness.exists()
    assert {os.fsencode(name) for name, _ in seen.pushed()} == set(names)


@pytest.mark.parametrize(
    ("env", "repository"),
    [
        ({"CODE_REPO": "http://t@localhost:9418/app-1.git", "TEROK_GATE_TOKEN": "t"}, "app-1"),
        ({"CODE_REPO": "https://up/x", "CLONE_FROM": "http://t@localhost:9418/p", "TEROK_GATE_TOKEN": "t"}, "p"),
        ({"GATE_REMOTE_URL": "http://t@host.containers.internal:1/a.b.git", "TEROK_GATE_TOKEN": "t"}, "a.b"),
        ({"CODE_REPO": "http://other@localhost:9418/app.git", "TEROK_GATE_TOKEN": "t"}, ""),
        ({"CODE_REPO": "http://t@localhost:9418/a/b.git", "TEROK_GATE_TOKEN": "t"}, ""),
        ({"CODE_REPO": "http://t@localhost:9418/..git", "TEROK_GATE_TOKEN": "t"}, ""),
        ({"CODE_REPO": "http://t@localhost:9418/app.git"}, ""),
        ({"TEROK_GATE_TOKEN": "t"}, ""),
    ],
)
def test_the_one_repository_of_a_token(env: dict[str, str], repository: str) -> None:
    assert served_repository(env) == repository


class Failing:
    """A mirror whose synchronisation goes wrong in a chosen way."""

    how: object = None
    closed = 0

    def __init__(self, **arguments: object) -> None:
        self.arguments = arguments

    def sync(self) -> dict[str, object]:
        if isinstance(self.how, BaseException):
            raise self.how
        return {"success": False, "errors": self.how}

    def close(self) -> None:
        Failing.closed += 1


class NoKey(RuntimeError):
    """As the sandbox's error of that purpose."""


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (["remote hung up", "no network"], ("remote hung up; no network", "--no-gate")),
        ([], ("not known",)),
        (RuntimeError("signer did not bind"), ("signer did not bind",)),
        (NoKey("x"), ("ssh add app-", "use_personal", "--no-gate")),
        (SystemExit("git not found"), ("git not found",)),
    ],
)
def test_a_failed_sync_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: object, words) -> None:
    monkeypatch.setattr(Failing, "how", how)
    closed = Failing.closed
    for name, value in (("GitGate", Failing), ("GateAuthNotConfigured", NoKey)):
        monkeypatch.setattr(catalogue, name, value, raising=False)
    monkeypatch.setattr(catalogue, "gate_use_personal_ssh_default", lambda: False, raising=False)
    cfg = SimpleNamespace(gate_base_path=tmp_path / "gate", clone_cache_base_path=tmp_path / "cache")
    with pytest.raises(SystemExit) as end:
        gating.sync(cfg, URL)  # type: ignore[arg-type]
    assert all(word in str(end.value) for word in words) and "token" not in str(end.value)
    assert Failing.closed == closed + 1


def test_the_catalogue_finds_every_name_of_its_own():
    for name in (*catalogue._EXTRA, "PHANTOM_CREDENTIALS_MARKER", "CODEX_SHARED_OAUTH_MARKER"):
        assert getattr(catalogue, name)
