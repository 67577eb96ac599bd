"""Agents that work by themselves, in real containers with a scripted agent: results, limits, follow-ups, a sealed task."""

from __future__ import annotations

import re

import pytest
from e2e_site import Site
from runner_site import Projects
from terok.lib.orchestration import tasks
from terok.lib.orchestration.task_runners import (
    HeadlessRunRequest,
    task_followup_headless,
    task_restart,
    task_run_headless,
)

WORK = "echo changed > note.txt; echo new > fresh.txt; git add fresh.txt; git -c user.name=a -c user.email=a@b commit -qam w"


def _changes(out: str) -> set[tuple[str, str]]:
    return {(name, how) for name, how in re.findall(r"(?m)^ (\S+) +\| (\d+ [+-]+)$", out)}


# improves: 31-8.3-summary
def test_a_run_says_what_it_changed_and_how_it_ended(site: Site, projects: Projects, capsys):
    project = projects.new()
    projects.gate(project)
    task = task_run_headless(HeadlessRunRequest(project, f"{WORK}; echo more > untracked.txt"))
    out = capsys.readouterr().out
    assert {("note.txt", "2 +-"), ("fresh.txt", "1 +")} == _changes(out) and "new file: untracked.txt" in out
    assert str(projects.task_dir(project, task) / "workspace-dangerous") in out
    found = tasks.get_task_meta(project, task)
    assert (found.status, found.exit_code, found.mode, found.provider) == ("completed", 0, "run", "claude")

    # The follow-up works in the same container, and its summary is about itself alone.
    task_followup_headless(project, task, "echo again >> note.txt; exit 5")
    out = capsys.readouterr().out
    assert {("note.txt", "1 +")} == _changes(out) and "exit code 5" in out
    assert tasks.get_task_meta(project, task).status == "failed"
    directory = projects.task_dir(project, task) / "agent-config"
    assert (directory / "prompt-history.txt").read_text().startswith(WORK)
    asked = (directory / "asked.txt").read_text()
    assert asked.count("---\n") == 2 and asked.endswith("exit 5\n---\n")
    with pytest.raises(SystemExit, match="is gone"):
        site.podman("rm", "-f", f"{project}-run-{task}")
        task_followup_headless(project, task, "more")


def test_a_run_without_following_goes_on_by_itself(site: Site, projects: Projects, capsys):
    project = projects.new()
    task = task_run_headless(HeadlessRunRequest(project, "sleep 60", follow=False, name="on-its-own"))
    name = f"{project}-run-{task}"
    out = capsys.readouterr().out
    assert f"podman logs -f {name}" in out and f"podman stop {name}" in out
    assert tasks.get_task_meta(project, task).status == "running"
    with pytest.raises(SystemExit, match="running"):
        task_followup_headless(project, task, "more")
    assert tasks.wait_for_container_exit(name, project, task, 1) == (None, "Watcher timed out")
    site.podman("rm", "-f", "-t", "0", name)
    code, why = tasks.wait_for_container_exit(name, project, task, 60)
    assert code is None and why


def test_the_time_limit_is_the_agents_own(site: Site, projects: Projects):
    project = projects.new()
    task = task_run_headless(HeadlessRunRequest(project, "exit 124", follow=False))
    assert tasks.wait_for_container_exit(f"{project}-run-{task}", project, task, 120) == (124, None)
    assert tasks.get_task_meta(project, task).exit_code == 124
    # The work is done by the time a restart could look.
    task_restart(project, task)
    assert projects.meta(project, task)["exit_code"] is None


def test_a_sealed_task_takes_follow_ups_and_tells_its_changes(site: Site, projects: Projects, capsys):
    project = projects.new(project={"security_class": "online", "isolation": "sealed"})
    task = task_run_headless(HeadlessRunRequest(project, "git init -q .; echo one > a.txt"))
    assert "new file: a.txt" in capsys.readouterr().out
    task_followup_headless(project, task, "echo two > b.txt")
    assert "new file: b.txt" in capsys.readouterr().out
    assert not (projects.task_dir(project, task) / "workspace-dangerous/a.txt").exists()


# improves: 31-8.3-summary-hostile
def test_a_summary_that_the_container_forged_is_only_text(site: Site, projects: Projects, capsys, tmp_path):
    (tmp_path / "host").write_text("of the host")
    project = projects.new()
    prompt = f"trap 'ln -sf {tmp_path}/host /home/dev/.terok/change-summary.txt' EXIT; kill -9 $PPID"
    task_run_headless(HeadlessRunRequest(project, prompt))
    out = capsys.readouterr().out
    assert "of the host" not in out and "left no summary" in out


def test_a_gatekeeping_project_needs_its_gate(site: Site, projects: Projects):
    project = projects.new(project={"security_class": "gatekeeping"}, git={"default_branch": "main"})
    with pytest.raises(SystemExit, match="terok project gate-sync"):
        task_run_headless(HeadlessRunRequest(project, "true"))
    gate = projects.gate(project)
    task = task_run_headless(HeadlessRunRequest(project, f"{WORK}; git push -q origin HEAD:refs/heads/by-agent"))
    assert tasks.get_task_meta(project, task).exit_code == 0
    assert site.git(gate, "log", "--format=%s", "-1", "by-agent") == "w"
