"""Interactive tasks in real containers: start, log in, stop, come back, end; and containers that others touch."""

from __future__ import annotations

import json
import shutil
import signal
import sys

import pytest
from e2e_site import Site
from runner_site import Projects, logged, refused
from terok.lib.core.config import make_sandbox_config
from terok.lib.orchestration import tasks
from terok.lib.orchestration.task_runners import resolve_container_uuid, task_restart, task_run_cli


# improves: 31-15-runtime-directory
def test_the_life_of_an_interactive_task(site: Site, projects: Projects, capsys, tmp_path):
    seen = tmp_path / "hooks"
    command = f'echo "$TEROK_HOOK $TEROK_TASK_MODE" >> {seen}'
    names = ("pre_start", "post_start", "post_ready", "post_stop")
    project = projects.new(gate={}, run=projects.hooks(**dict.fromkeys(names, command)))
    projects.gate(project)
    task = tasks.task_new(project, name="First Steps")
    task_run_cli(project, task)
    name = f"{project}-cli-{task}"
    out = capsys.readouterr().out
    assert "__CLI_READY__" in out and f"terok login {project} {task}" in out and f"podman exec -it {name} bash" in out

    meta = projects.meta(project, task)
    assert (meta["mode"], meta["hooks_fired"]) == ("cli", list(names[:3])) and meta["ready_at"]
    assert tasks.get_task_meta(project, task).status == "running"
    assert tasks.get_login_command(project, task)[:4] == ["podman", "exec", "-it", name]
    # The workspace is a clone of the gate, although the project names no upstream.
    assert site.inside(name, "git -C /workspace log --oneline | wc -l") == "1"
    assert site.inside(name, "echo $PROJECT_ID $TASK_ID $TEROK_UNRESTRICTED") == f"{project} {task} 1"
    labels = json.loads(site.podman("inspect", "--format", "{{json .Config.Labels}}", name))
    assert (labels["ai.terok.project"], labels["ai.terok.task"]) == (project, task)
    assert resolve_container_uuid(name) == site.podman("inspect", "--format", "{{.Id}}", name)
    assert (token := site.inside(name, "echo $TEROK_GATE_TOKEN")).startswith("terok-g-") and token not in out
    # The agent's key is a phantom, good for this container alone.
    key = site.inside(name, "echo $ANTHROPIC_API_KEY")
    assert key.startswith("terok-p-") and site.key not in site.inside(name, "env")

    site.inside(name, "echo kept > /workspace/mine.txt")
    tasks.task_stop(project, task)
    assert tasks.get_task_meta(project, task).status == "stopped"
    shutil.rmtree(make_sandbox_config().runtime_dir / "run" / name)  # as a restart of the machine does
    task_run_cli(project, task)
    assert site.inside(name, "cat /workspace/mine.txt") == "kept"
    assert f"{name} was started again" in capsys.readouterr().out
    task_restart(project, task)
    assert tasks.get_task_meta(project, task).container_state == "running"
    task_run_cli(project, task)
    assert "running already" in capsys.readouterr().out
    fired = seen.read_text().split("\n")
    assert fired[:-1] == [f"{hook} cli" for hook in (*names, "post_start", "post_stop", "post_start")]

    result = tasks.task_delete(project, task)
    assert result.warnings == [] and tasks.get_tasks(project) == [] and not projects.task_dir(project, task).exists()
    left = site.traces()
    assert name not in left["containers"] | left["runtime directories"] and f"{name}.json" not in left["sidecars"]
    assert not any(token.startswith(f"{project}/{task}/") for token in left["tokens"])
    (archived,) = tasks.list_archived_tasks(project)
    assert (
        archived.name == "first-steps" and "__CLI_READY__" in (archived.archive_dir / "logs/container.log").read_text()
    )


def test_a_paused_container_goes_on(site: Site, projects: Projects):
    project = projects.new()
    task = tasks.task_new(project)
    task_run_cli(project, task)
    name = f"{project}-cli-{task}"
    if (done := site.run("podman", "pause", name)).returncode:
        pytest.skip(f"podman cannot pause here: {done.stderr.strip()}")
    task_run_cli(project, task)
    assert site.state_of(name) == "running"
    site.podman("pause", name)
    task_restart(project, task)
    assert site.state_of(name) == "running"
    site.podman("pause", name)
    tasks.task_stop(project, task)
    assert site.state_of(name) == "exited"


def test_a_container_that_others_removed(site: Site, projects: Projects):
    project = projects.new()
    task = tasks.task_new(project)
    task_run_cli(project, task)
    site.podman("rm", "-f", "-t", "0", f"{project}-cli-{task}")
    assert tasks.get_task_meta(project, task).status == "not found"
    assert "is gone" in refused(task_restart, project, task)
    assert "does not exist" in refused(tasks.task_stop, project, task)
    # Starting it makes a new one: the workspace is still there.
    task_run_cli(project, task)
    assert tasks.get_task_meta(project, task).status == "running"


def test_an_image_that_is_gone_is_named_and_leaves_nothing(site: Site, projects: Projects):
    project = projects.new(image=False)
    task = tasks.task_new(project)
    with site.leaves_nothing():
        text = refused(task_run_cli, project, task)
    assert f"{project}:l2-cli" in text and "image" in text
    assert tasks.get_task_meta(project, task).status == "created"


def test_a_container_that_ends_at_once_says_where_to_look(site: Site, projects: Projects, monkeypatch):
    from terok.lib.orchestration.task_runners import cli

    monkeypatch.setattr(cli, "_command", lambda: ["bash", "-lc", "echo cannot go on; exit 4"])
    project = projects.new()
    task = tasks.task_new(project)
    text = refused(task_run_cli, project, task)
    assert "does not run" in text and f"podman logs {project}-cli-{task}" in text
    assert tasks.get_task_meta(project, task).status == "stopped"


def test_a_container_that_is_never_ready_but_runs_is_a_success(site: Site, projects: Projects, monkeypatch):
    from terok.lib.orchestration.task_runners import cli

    monkeypatch.setattr(cli, "_command", lambda: ["bash", "-lc", "sleep 60"])
    monkeypatch.setattr(cli, "_READY_TIMEOUT_S", 0.5)
    project = projects.new()
    task = tasks.task_new(project)
    task_run_cli(project, task)
    assert tasks.get_task_meta(project, task).status == "running"


def test_hooks_that_fail_or_hang_hold_nothing_up(site: Site, projects: Projects, monkeypatch):
    from terok.lib.orchestration import hooks

    monkeypatch.setattr(hooks, "_STARTUP_HOOK_TIMEOUT", 2)
    project = projects.new(run=projects.hooks(pre_start="exit 9", post_start="sleep 30"))
    task = tasks.task_new(project)
    task_run_cli(project, task)
    assert tasks.get_task_meta(project, task).status == "running"
    log = logged(site)
    assert "hook pre_start failed with exit status 9" in log and "hook post_start did not end" in log


# improves: 31-3.3-foreign-owners
def test_files_of_the_containers_other_users_go_with_the_task(site: Site, projects: Projects):
    project = projects.new()
    task = tasks.task_new(project)
    workspace = projects.task_dir(project, task) / "workspace-dangerous"
    (workspace / "deep").mkdir()
    (workspace / "deep/file").write_text("x")
    site.podman("unshare", "chown", "-R", "123:123", str(workspace / "deep"))
    site.podman("unshare", "chmod", "700", str(workspace / "deep"))
    assert tasks.task_delete(project, task).warnings == []
    assert not projects.task_dir(project, task).exists()


# improves: 31-3.3-tombstone
def test_a_task_whose_container_survives_stays_listed_until_it_is_gone(site: Site, projects: Projects, tmp_path):
    import os

    project = projects.new()
    task = tasks.task_new(project)
    task_run_cli(project, task)
    real = site.run("which", "podman").stdout.strip()
    (tmp_path / "podman").write_text(
        f'#!/bin/sh\n[ "$1" = rm ] && {{ echo "device is busy" >&2; exit 2; }}\nexec {real} "$@"\n'
    )
    (tmp_path / "podman").chmod(0o755)
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{tmp_path}:{path}"
    try:
        result = tasks.task_delete(project, task)
    finally:
        os.environ["PATH"] = path
    text = "\n".join(result.warnings)
    assert "device is busy" in text and "gate token" in text
    assert tasks.get_task_meta(project, task).status == "deleting"
    assert "being deleted" in refused(task_restart, project, task)
    assert tasks.task_delete(project, task).warnings == [] and tasks.get_tasks(project) == []
    assert len(tasks.list_archived_tasks(project)) == 1


# improves: 31-3.3-archive-first
def test_what_cannot_be_archived_is_not_deleted(site: Site, projects: Projects):
    project = projects.new()
    task = tasks.task_new(project)
    archive = tasks.tasks_archive_dir(project)
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.write_text("in the way")
    result = tasks.task_delete(project, task)
    assert "could not be archived" in result.warnings[0]
    assert tasks.get_task_meta(project, task).status == "created" and projects.task_dir(project, task).is_dir()
    archive.unlink()
    assert tasks.task_delete(project, task).warnings == [] and tasks.get_tasks(project) == []


def test_an_unknown_task_can_be_deleted(site: Site, projects: Projects):
    assert tasks.task_delete(projects.new(image=False), "m0aaa").warnings == []


_KILLED = """
import os, signal, sys
from terok.lib.orchestration.task_runners import container, task_run_cli
launched = container._run_container
def killed(**launch):
    launched(**launch)
    os.kill(os.getpid(), signal.SIGKILL)
container._run_container = killed
task_run_cli(*sys.argv[1:])
"""


# improves: 31-open-killed-launch
def test_a_launch_whose_process_was_killed_is_taken_back_before_anybody_goes_on_with_it(site: Site, projects: Projects):
    project = projects.new()
    task, other = tasks.task_new(project), tasks.task_new(project)
    name = f"{project}-cli-{task}"
    assert site.run(sys.executable, "-c", _KILLED, project, task).returncode == -signal.SIGKILL
    first = resolve_container_uuid(name)
    assert tasks.get_task_meta(project, task).mode is None
    task_run_cli(project, task)
    second = resolve_container_uuid(name)
    task_run_cli(project, other)
    assert second != first and resolve_container_uuid(name) == second and site.state_of(name) == "running"


def test_a_container_reaches_its_services_over_tcp_as_well(site: Site, projects: Projects):
    from terok_native import _lib

    settings = site.home / ".config/terok/config.yml"
    before = settings.read_text()
    _lib.base_config_update(settings, "services", {"mode": "tcp"})
    try:
        project = projects.new()
        task = tasks.task_new(project)
        task_run_cli(project, task)
        name = f"{project}-cli-{task}"
        ask = "import urllib.request as u; print(u.urlopen('http://localhost:9419/-/health').status)"
        assert site.inside(name, f'python3 -c "{ask}"') == "200"
        port = site.inside(name, "echo $TEROK_TOKEN_BROKER_PORT")
        assert port.isdigit() and not site.inside(name, "ls /run/terok")
        task_restart(project, task)
        assert site.inside(name, f'python3 -c "{ask}"') == "200"
    finally:
        settings.write_text(before)
