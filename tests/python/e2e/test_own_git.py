"""A run on a directory with real podman: the user's own `.git` is out of reach, and commits come back."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from e2e_site import Site

IDENTITY = "git config --global user.name Agent; git config --global user.email agent@example.org"


@pytest.fixture
def user_config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A global configuration of the user, whose drivers the content of a repository can name."""
    ran = folder / "ran"
    config = folder / "gitconfig"
    config.write_text(f'[user]\n\tname = Ada\n\temail = ada@example.org\n[filter "mine"]\n\tclean = touch {ran}\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    return ran


def launch(site: Site, repo: Path, **options: object) -> str:
    """A container on *repo* that waits for commands."""
    return site.runner().run_interactive("claude", str(repo), **options)


def work(site: Site, name: str, file: str = "new.txt") -> str:
    """Commit one file in the container; the commit."""
    text = f"{IDENTITY}; cd /workspace && echo new > {file} && git add -A && git commit -qm {file} && git rev-parse HEAD"
    return site.inside(name, text)


# holds: own-git-directory-stays-outside
def test_attacks_on_the_users_git_directory(site: Site, user_config: Path, folder: Path) -> None:
    repo, ran = site.repository(), folder / "ran"
    site.git(repo, "config", "remote.origin.url", "https://me:ghp_secret@example.org/x.git")
    before = {path: path.read_bytes() for path in (repo / ".git").rglob("*") if path.is_file()}
    name = launch(site, repo)
    # Nothing of it can be read.
    assert site.inside(name, "cd /workspace && git remote get-url origin") == "https://example.org/x.git"
    assert "ghp_secret" not in site.inside(name, "grep -rs ghp_secret /workspace/.git /run/terok-objects", check=False)
    # Nothing of it can be written, renamed or replaced.
    evil = f"touch {ran}"
    site.inside(
        name,
        f"cd /workspace && git config core.fsmonitor '{evil}' && git config filter.evil.clean '{evil}' &&"
        f" git config diff.evil.textconv '{evil}' && printf '#!/bin/sh\\n{evil}\\n' > .git/hooks/post-merge;"
        " echo '* filter=evil diff=evil' > .gitattributes",
        check=False,
    )
    for attack in ("mv /workspace/.git /workspace/.x", "rmdir /workspace/.git", "touch /run/terok-objects/0/x"):
        assert site.inside(name, f"{attack} 2>/dev/null && echo worked", check=False) == ""
    assert {path: path.read_bytes() for path in before} == before
    assert {path for path in (repo / ".git").rglob("*") if path.is_file()} == set(before)
    work(site, name)
    stopped = site.cli("stop", name)
    assert stopped.returncode == 0 and "was fast-forwarded" in stopped.stdout, stopped.stdout + stopped.stderr
    (repo / "note.txt").write_text("changed\n")
    for words in (("status",), ("diff",), ("log", "-p"), ("add", "-A")):
        site.git(repo, *words)
    assert not ran.exists()


def test_commits_come_back_at_the_end_of_a_followed_run(site: Site) -> None:
    repo = site.repository()
    script = {
        "steps": [
            {"tool": "shell", "command": "cd /workspace && echo x > x && git add -A && git commit -qm x"},
            {"say": "Done."},
        ]
    }
    with site.model(script):
        done = site.cli("run", "claude", str(repo), "-p", "x", "--base", site.base, "--branch-only")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "came back: branch `terok/" in done.stdout and "not moved: only a branch" in done.stdout
    assert site.git(repo, "log", "-1", "--format=%s") == "start"
    (branch,) = site.git(repo, "branch", "--list", "terok/*", "--format=%(refname)").splitlines()
    assert site.git(repo, "log", "-1", "--format=%s", branch) == "x"


def test_linked_worktrees_are_covered_too(site: Site, folder: Path) -> None:
    repo, tree = site.repository(), folder / "tree"
    site.git(repo, "worktree", "add", "-q", "-b", "side", str(tree))
    name = launch(site, tree)
    attack = "cd /workspace && { mv .git .x || rm -f .git || echo 'gitdir: evil' > .git; } 2>/dev/null && echo worked"
    assert site.inside(name, attack, check=False) == ""
    commit = work(site, name)
    assert site.cli("stop", name).returncode == 0
    assert site.git(tree, "rev-parse", "side") == commit and site.git(tree, "status", "--porcelain") == ""
    assert (tree / ".git").read_text() == f"gitdir: {repo}/.git/worktrees/tree\n"


def test_directory_without_repository(site: Site, folder: Path) -> None:
    plain = folder / "plain"
    plain.mkdir()
    name = launch(site, plain)
    site.inside(name, "cd /workspace && git init -q && git config core.fsmonitor 'touch /tmp/ran; :'")
    work(site, name)
    assert "no git repository" in site.cli("stop", name).stdout
    assert sorted(path.name for path in plain.iterdir()) == ["new.txt"]


# holds: commits-come-back-however-a-run-ends
@pytest.mark.parametrize("way", ["exit", "removed by podman", "launcher killed"])
def test_the_next_command_completes_a_run(site: Site, way: str) -> None:
    repo = site.repository()
    if way == "launcher killed":
        driver = Path(__file__).with_name("killed_launch_driver.py")
        before = set(site.traces()["containers"])
        done = site.run(sys.executable, str(driver), "journal closed", site.base, str(repo))
        assert done.returncode == -signal.SIGKILL, done.stderr
        (name,) = set(site.traces()["containers"]) - before
    else:
        name = launch(site, repo)
    commit = work(site, name)
    assert "terok/" not in site.cli("list").stderr, "a running container is left alone"
    site.podman("kill", name) if way != "removed by podman" else site.podman("rm", "-f", "-t", "0", name)
    listed = site.cli("list")
    assert "was fast-forwarded" in listed.stderr, listed.stdout + listed.stderr
    assert site.git(repo, "rev-parse", "main") == commit
    assert "terok/" not in site.cli("list").stderr, "nothing is brought twice"
    site.cli("stop", name)
    assert site.git(repo, "status", "--porcelain") == ""


def test_a_clone_keeps_the_directory_out(site: Site) -> None:
    repo = site.repository()
    (repo / "uncommitted").write_text("x")
    before = site.git(repo, "for-each-ref")
    name = launch(site, repo, clone=True)
    assert site.inside(name, "ls /workspace") == "note.txt"
    work(site, name)
    site.inside(name, "cd /workspace && git push -q origin HEAD:refs/heads/by-agent")
    assert site.git(repo, "for-each-ref") == before and not (repo / "new.txt").exists()
    with pytest.raises(SystemExit, match="--no-gate"):
        launch(site, repo, clone=True, gate=False)


def test_what_an_agent_plants_is_named_at_the_end(site: Site) -> None:
    repo = site.repository()
    name = launch(site, repo)
    site.inside(name, "cd /workspace && git init -q deep && mkdir sub && echo 'gitdir: ../evil' > sub/.git")
    said = site.cli("stop", name).stdout
    assert said.count("Warning: git on this host") == 1, said
    assert "deep/.git: a nested repository" in said and "sub/.git: a file that leads git" in said


def test_failed_launch_leaves_no_private_git_directory(site: Site, folder: Path) -> None:
    plain = folder / "plain"
    plain.mkdir()
    podman = folder / "podman"
    podman.write_text('#!/bin/sh\n[ "$1" = run ] && exit 125\nexec /usr/bin/podman "$@"\n')
    podman.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = site.cli("run", "claude", str(plain), "--interactive", "--base", site.base, env=environment)
    assert done.returncode != 0
    assert list(plain.iterdir()) == []
