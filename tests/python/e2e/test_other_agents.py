"""Codex, OpenCode with a provider of its own, and Vibe: each speaks its own API to the broker and finishes its edit."""

from __future__ import annotations

import pytest
from e2e_site import Site
from evidence import ProcessWatch, search_for_key

EDIT = {
    "steps": [
        {"tool": "edit", "path": "/workspace/note.txt", "old": "old line", "new": "new line"},
        {"tool": "shell", "command": "cd /workspace && git add -A && git commit -q -m 'By the agent'"},
        {"say": "Edited."},
    ],
    "side": "Edit a note",
}


@pytest.mark.parametrize(
    ("agent", "path", "author"),
    [
        ("codex", "/v1/responses", "Codex <noreply@openai.com>"),
        ("kisski", "/v1/chat/completions", "KISSKI <noreply@academiccloud.de>"),
    ],
)
def test_agent_works_to_the_end(site: Site, capfd, agent: str, path: str, author: str) -> None:
    repo = site.repository()
    with site.model(EDIT) as model, ProcessWatch(site.key) as watch:
        runner = site.runner()
        name = runner.run_headless(agent, str(repo), prompt="Change the note.", follow=True, timeout=300)
        found = search_for_key(name, site.image, site.key, [model.log, site.state, site.temp, repo], watch, whole=False)
    output = capfd.readouterr().out

    assert runner.last_exit_code == 0, output + str([(r["path"], r["status"], r["key"]) for r in model.requests()])
    assert (repo / "note.txt").read_text() == "new line\n", output
    assert site.git(repo, "log", "-1", "--format=%an <%ae>") == author
    assert found == []
    answered = model.steps(path)
    assert len(answered) >= 3 and {r["key"] for r in answered} == {"accepted"}


def test_versions_as_dev(site: Site) -> None:
    script = 'test "$(id -un)" = dev && for p in claude codex opencode vibe; do command "$p" --version || exit 1; done'
    said = site.podman("run", "--rm", "--network", "none", site.image, "bash", "-lc", script)
    assert "Claude Code" in said and "codex-cli" in said and "vibe" in said
    assert len(said.splitlines()) >= 4
