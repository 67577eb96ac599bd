"""A repository given by URL: the container clones it itself, on the branch that was asked for."""

from __future__ import annotations

import pytest
from e2e_site import Site

SHOW = {
    "steps": [
        {"tool": "shell", "command": "cd /workspace && cat note.txt && git branch --show-current && git remote -v"},
        {"say": "Shown."},
    ],
    "side": "Show",
}


@pytest.fixture
def origin(site: Site):
    """A bare repository with the branches `main` and `work`, in a folder that can be shared."""
    repo = site.repository()
    site.git(repo, "checkout", "-q", "-b", "work")
    (repo / "note.txt").write_text("from the branch\n")
    site.git(repo, "-c", "user.name=H", "-c", "user.email=h@localhost", "commit", "-q", "-a", "-m", "work")
    site.git(repo, "checkout", "-q", "main")
    shared = repo.with_name(repo.name + "-shared")
    site.git(repo.parent, "clone", "-q", "--bare", str(repo), str(shared / "origin.git"))
    return shared


@pytest.mark.parametrize(("branch", "text"), [(None, "old line"), ("work", "from the branch")])
def test_clone_in_the_container(site: Site, capfd, origin, branch: str | None, text: str) -> None:
    url = "file:///shared/origin.git"
    with site.model(SHOW) as model:
        runner = site.runner()
        name = runner.run_headless(
            "claude", url, prompt="Show it.", branch=branch, gate=False, shared_dir=origin, follow=True, timeout=300
        )
    output = capfd.readouterr().out
    assert runner.last_exit_code == 0, output
    results = str(model.steps("/v1/messages")[-1]["body"])
    assert text in results and url in results and (branch or "main") in results
    assert site.cli("stop", name).returncode == 0
    assert not list(site.temp.iterdir()), "the clone goes with its container"


def test_repository_that_cannot_be_cloned(site: Site, origin, capfd) -> None:
    with site.model(SHOW):
        runner = site.runner()
        runner.run_headless(
            "claude", "file:///shared/other.git", prompt="x", gate=False, shared_dir=origin, follow=True, timeout=300
        )
    said = capfd.readouterr()
    assert runner.last_exit_code == 128, said.out
    assert "/shared/other.git" in said.out and ">> init complete" not in said.out
