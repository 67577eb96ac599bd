"""Tasks that ran before: restart, stop, login, status, deletion; and a podman that does not answer."""

from __future__ import annotations

import os

import pytest
from runner_site import refused
from terok.lib.orchestration import tasks
from terok.lib.orchestration.task_runners.restart import task_restart


# improves: 31-8.5-unpaused
def test_a_paused_container_is_restarted_and_stopped(pretended):
    project = pretended.project()
    task = pretended.task(project, mode="cli")
    name = f"{project}-cli-{task}"
    pretended.runtime.set_container_state(name, "paused")
    task_restart(project, task)
    assert pretended.runtime.container(name).state == "running"
    assert pretended.meta(project, task)["hooks_fired"] == ["post_start"]
    pretended.runtime.set_container_state(name, "paused")
    tasks.task_stop(project, task)
    assert pretended.runtime.container(name).state == "exited"


def test_who_never_ran_cannot_be_stopped_restarted_or_entered(pretended):
    project = pretended.project()
    task = pretended.task(project)
    assert "never run" in refused(tasks.task_stop, project, task)
    assert "never run" in refused(task_restart, project, task)
    text = refused(tasks.get_login_command, project, task)
    assert "terok task run" in text and "terokctl task attach" in text and "--mode cli" in text
    tasks.meta.update_task_meta(project, task, {"mode": "cli"})
    assert "does not exist" in refused(tasks.task_stop, project, task)
    assert "terok task restart" in refused(tasks.get_login_command, project, task)
    assert "is gone" in refused(task_restart, project, task)
    pretended.runtime.set_container_state(f"{project}-cli-{task}", "exited")
    assert "exited" in refused(tasks.task_stop, project, task)
    assert refused(tasks.task_stop, project, "m0aaa") == "Unknown task m0aaa"


# improves: 31-15-unreachable-is-not-missing
# improves: 31-3.5-unknown-state
def test_a_podman_that_does_not_answer_is_not_a_missing_container(pretended, monkeypatch, capsys):
    from terok_sandbox.runtime import PodmanRuntime

    (pretended.root / "bin/podman").write_text("#!/bin/sh\necho cannot connect >&2; exit 125\n")
    (pretended.root / "bin/podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{pretended.root}/bin:{os.environ['PATH']}")
    monkeypatch.setattr("terok.lib.core.runtime.resolve_runtime", lambda project=None: PodmanRuntime())
    project = pretended.project()
    task = pretended.task(project, mode="cli")
    for call in (task_restart, tasks.task_stop, tasks.get_login_command):
        text = refused(call, project, task)
        assert "cannot tell" in text and "cannot connect" in text
    tasks.task_status(project, task)
    assert "unknown (cannot tell" in capsys.readouterr().out


def test_the_status_names_what_is_known(pretended, capsys):
    project = pretended.project()
    task = pretended.task(project, mode="cli", exit_code=3, unrestricted=True)
    tasks.task_status(project, task)
    lines = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines()[1:])
    assert list(lines) == ["Task", "Name", "Status", "Mode", "Container", "Container state", "Permissions", "Exit code"]
    told = {key: value.strip() for key, value in lines.items()}
    assert (told["Task"], told["Exit code"], told["Permissions"]) == (task, "3", "unrestricted")
    assert told["Container"] == f"{project}-cli-{task}" and told["Container state"] == "not found"
    assert refused(tasks.task_status, project, "m0aaa") == "Unknown task m0aaa"


# improves: 31-3.3-damaged-record
def test_a_task_with_a_damaged_record_is_archived_and_deleted(pretended):
    project = pretended.project()
    task = pretended.task(project, mode="cli")
    tasks.meta_path(tasks.tasks_meta_dir(project), task).write_text("mode: [cli\n")
    (warning,) = tasks.task_delete(project, task).warnings
    assert "cannot be read" in warning
    assert tasks.get_tasks(project) == [] and not pretended.dir(project, task).exists()
    assert [entry.task_id for entry in tasks.list_archived_tasks(project)] == [task]


def _panics(monkeypatch, pretended, method: str) -> None:
    """From now on a panic begins while the runtime does this, too late to see the container."""
    from terok_sandbox.runtime.null import NullContainer

    real = getattr(NullContainer, method)

    def during(self, *arguments, **more):
        (pretended.root / "state/core/panic.lock").write_text("now\n")
        return real(self, *arguments, **more)

    monkeypatch.setattr(NullContainer, method, during)


def test_a_container_that_starts_while_a_panic_begins_is_stopped(pretended, monkeypatch):
    project = pretended.project()
    task = pretended.task(project, mode="cli")
    name = f"{project}-cli-{task}"
    pretended.runtime.set_container_state(name, "exited")
    _panics(monkeypatch, pretended, "start")
    assert "terok panic --clear" in refused(task_restart, project, task)
    assert pretended.runtime.container(name).state == "exited"


def test_a_directory_that_cannot_be_removed_keeps_its_task_listed(pretended, monkeypatch):
    from terok_native import _lib

    def busy(*place):
        raise OSError("device is busy")

    project = pretended.project()
    task = pretended.task(project, mode="cli")
    with monkeypatch.context() as patch:
        patch.setattr(_lib, "task_remove_tree", busy)
        patch.setenv("PATH", "/nowhere")
        text = "\n".join(tasks.task_delete(project, task).warnings)
    assert "device is busy" in text and "stays listed" in text
    assert [found.status for found in tasks.get_tasks(project)] == ["deleting"]
    assert tasks.task_delete(project, task).warnings == [] and tasks.get_tasks(project) == []
    assert len(tasks.list_archived_tasks(project)) == 1 and not pretended.dir(project, task).exists()


# -- git's answers -------------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(pretended, monkeypatch):
    """A task whose container does not run and can answer git; and what the container was told."""
    from terok_sandbox.runtime import ExecResult
    from terok_sandbox.runtime.null import NullContainer, NullRuntime

    project = pretended.project()
    task = pretended.task(project, mode="cli")
    pretended.runtime.set_container_state(f"{project}-cli-{task}", "exited")
    told = []
    for verb in ("start", "stop"):
        real = getattr(NullContainer, verb)
        monkeypatch.setattr(
            NullContainer, verb, lambda self, verb=verb, real=real, **more: told.append(verb) or real(self, **more)
        )
    monkeypatch.setattr(
        NullRuntime, "exec", lambda self, box, command, timeout: told.append(command) or ExecResult(0, "diff", "")
    )
    return project, task, told


def test_a_stopped_container_is_started_for_a_question_and_stopped_again(pretended, stopped):
    project, task, told = stopped
    assert tasks.get_workspace_git_diff(project, task) == "diff"
    assert told == ["start", ["git", "-C", "/workspace", "diff", "HEAD"], "stop"]
    pretended.runtime.set_container_state(f"{project}-cli-{task}", "running")
    assert tasks.get_workspace_git_diff(project, task, "PREV") == "diff"
    assert told[3:] == [["git", "-C", "/workspace", "diff", "HEAD~1", "HEAD"]]
    for state, mode in (("paused", "cli"), ("exited", "run")):
        tasks.update_task_meta(project, task, {"mode": mode})
        pretended.runtime.set_container_state(f"{project}-{mode}-{task}", state)
        assert tasks.get_workspace_git_diff(project, task) is None and len(told) == 4


@pytest.mark.parametrize("trouble", ["panic", "firewall"])
def test_what_keeps_a_task_from_its_start_keeps_its_container_from_answering(pretended, stopped, trouble):
    project, task, told = stopped
    if trouble == "panic":
        (pretended.root / "state/core/panic.lock").write_text("now\n")
    else:
        (pretended.dir(project, task) / "shield_desired_state").write_text("up\n")
    assert tasks.get_workspace_git_diff(project, task) is None and told == []
