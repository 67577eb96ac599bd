"""Claude Code to the end of a headless run: the edit, the commit's author, the exit status, and no key anywhere."""

from __future__ import annotations

import json
from pathlib import Path

from e2e_site import Site
from evidence import ProcessWatch, search_for_key

COMMIT = {
    "steps": [
        {"tool": "read", "path": "/workspace/note.txt"},
        {"tool": "edit", "path": "/workspace/note.txt", "old": "old line", "new": "new line"},
        {"tool": "shell", "command": "cd /workspace && git add -A && git commit -q -m 'By the agent'"},
        {"say": "Committed."},
    ],
    "side": "Edit a note",
}


def test_python_caller_gets_edit_commit_and_no_key(site: Site, capfd) -> None:
    repo = site.repository()
    with site.model(COMMIT) as model, ProcessWatch(site.key) as watch:
        runner = site.runner()
        name = runner.run_headless("claude", str(repo), prompt="Change the note.", follow=True, timeout=300)
        found = search_for_key(name, site.image, site.key, [model.log, site.state, site.temp, repo], watch, whole=False)
    output = capfd.readouterr().out

    assert runner.last_exit_code == 0, output
    assert (repo / "note.txt").read_text() == "new line\n"
    assert site.git(repo, "log", "-1", "--format=%an <%ae> %cn %s") == (
        "Claude <noreply@anthropic.com> Claude By the agent"
    )
    assert found == [] and watch.samples > 10
    answered = model.steps("/v1/messages")
    assert len(answered) >= 4 and {r["key"] for r in answered} == {"accepted"}
    assert '"type":"result"' in output and "the agent finished (exit code 0)" in output


def test_command_line_ends_with_the_agents_status(site: Site) -> None:
    repo, name = site.repository(), site.name()
    with site.model(COMMIT):
        done = site.cli("run", "claude", str(repo), "-p", "Change the note.", "--name", name, "--base", site.base)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"Container: {name}"
    assert (repo / "note.txt").read_text() == "new line\n"
    assert f"{name}  exited" in site.cli("list").stdout

    log = site.cli("logs", name)
    assert "→ Edit" in log.stdout and "● Committed." in log.stdout
    stopped = site.cli("stop", name)
    assert stopped.returncode == 0 and name in stopped.stdout
    assert name not in json.dumps({key: sorted(value) for key, value in site.traces().items()})


def test_failing_agent_gives_its_status(site: Site) -> None:
    refusal = {"steps": [{"status": 400}]}
    with site.model(refusal):
        done = site.cli("run", "claude", str(site.repository()), "-p", "Do it.", "--base", site.base)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the agent failed (exit code 1)" in done.stdout


def test_human_identity_when_asked(site: Site, monkeypatch, folder: Path) -> None:
    config = folder / "gitconfig"
    config.write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    repo = site.repository()
    with site.model(COMMIT):
        done = site.cli("run", "claude", str(repo), "-p", "x", "--git-identity-from-host", "--base", site.base)
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.git(repo, "log", "-1", "--format=%an|%cn <%ce>") == "Claude|Ada <ada@example.org>"
