"""How a new container is launched: what the executor is told, what is recorded, who is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
from runner_site import refused
from terok.lib.orchestration import tasks
from terok.lib.orchestration.task_runners import config, container
from terok.lib.orchestration.task_runners.cli import task_run_cli
from terok.lib.orchestration.task_runners.headless import HeadlessRunRequest, task_followup_headless, task_run_headless
from terok.lib.orchestration.task_runners.restart import task_restart
from terok.lib.orchestration.task_runners.toad import task_run_toad


def test_a_launch_says_everything_to_the_executor(pretended):
    project = pretended.project(run={"memory": "2g", "cpus": "2", "nested_containers": True})
    task = pretended.task(project)
    task_run_cli(project, task, preset="solo", unrestricted=True)
    (launch,) = pretended.launches
    name = f"{project}-cli-{task}"
    assert (launch["name"], launch["hostname"], launch["image"]) == (name, name, f"{project}:l2-cli")
    assert (launch["memory"], launch["cpus"], launch["unrestricted"], launch["sealed"]) == ("2g", "2", True, False)
    dossier = tasks.dossier_path(tasks.tasks_meta_dir(project), task)
    assert launch["annotations"] == {"dossier.meta_path": str(dossier)}
    assert (launch["project_id"], launch["task_id"], launch["dossier_path"]) == (project, task, dossier)
    words = launch["extra_args"]
    assert f"ai.terok.project={project}" in words and f"ai.terok.task={task}" in words and "--pull=never" in words
    assert words[-4:] == ["--security-opt", "label=nested", "--device", "/dev/fuse"]
    assert launch["env"]["TEROK_UNRESTRICTED"] == "1" and launch["env"]["PROJECT_ID"] == project
    volumes = {volume.container_path: volume for volume in launch["volumes"]}
    assert volumes["/home/dev/.terok"].host_path == pretended.dir(project, task) / "agent-config"
    assert volumes["/workspace"].host_path == pretended.dir(project, task) / "workspace-dangerous"
    meta = pretended.meta(project, task)
    assert (meta["mode"], meta["unrestricted"], meta["preset"]) == ("cli", True, "solo") and meta["ready_at"]


# improves: 31-5.1-not-erased
def test_the_hooks_of_a_launch_stay_recorded(pretended):
    project = pretended.project(run={"hooks": {"post_ready": "true"}})
    task = pretended.task(project)
    task_run_cli(project, task)
    assert pretended.meta(project, task)["hooks_fired"] == ["pre_start", "post_start", "post_ready"]


# improves: 31-5.1-reset-at-start
def test_a_new_run_forgets_the_hooks_of_the_one_before(pretended):
    project = pretended.project()
    task = pretended.task(project)
    task_run_cli(project, task)
    tasks.task_stop(project, task)
    assert "post_stop" in pretended.meta(project, task)["hooks_fired"]
    task_restart(project, task)
    assert pretended.meta(project, task)["hooks_fired"] == ["post_start"]
    tasks.task_stop(project, task)
    assert pretended.meta(project, task)["hooks_fired"] == ["post_start", "post_stop"]


def test_what_others_change_during_a_launch_stays_changed(pretended, monkeypatch):
    project = pretended.project(run={"hooks": {"post_start": "true"}})
    task = pretended.task(project)
    monkeypatch.setattr(
        "terok.lib.orchestration.hooks._execute", lambda *hook: tasks.task_rename(project, task, "other-name")
    )
    task_run_cli(project, task)
    meta = pretended.meta(project, task)
    assert meta["name"] == "other-name" and meta["mode"] == "cli" and "post_start" in meta["hooks_fired"]


def test_a_failed_launch_leaves_a_task_that_never_ran(pretended, monkeypatch):
    def fail(self, **launch):
        raise FileNotFoundError("podman")

    monkeypatch.setattr("runner_site.PretendRunner.launch_prepared", fail)
    project = pretended.project()
    task = pretended.task(project)
    assert "podman is not installed" in refused(task_run_cli, project, task)
    assert pretended.meta(project, task)["mode"] is None
    assert refused(task_run_headless, HeadlessRunRequest(project, "work", follow=False))
    (other,) = [row for row in tasks.get_tasks(project) if row.task_id != task]
    assert other.mode is None and other.provider is None


# improves: 31-open-deleted-meanwhile
@pytest.mark.parametrize("begun", [True, False])
def test_a_task_that_is_deleted_during_its_launch_keeps_no_container(pretended, monkeypatch, begun):
    project = pretended.project()
    task = pretended.task(project)

    def deleted(self, **launch):
        # A deletion marks the task before it looks for containers.
        if begun:
            tasks.mark_task_deleting(project, task)
        else:
            tasks.task_delete(project, task)
        return launch["name"]

    monkeypatch.setattr("runner_site.PretendRunner.launch_prepared", deleted)
    assert "was deleted" in refused(task_run_cli, project, task)


def test_a_panic_that_begins_during_a_launch_takes_it_back(pretended, monkeypatch):
    def panics(self, **launch):
        (pretended.root / "state/core/panic.lock").write_text("now\n")
        return launch["name"]

    monkeypatch.setattr("runner_site.PretendRunner.launch_prepared", panics)
    undone = []
    monkeypatch.setattr("terok_sandbox.launch.abandon", lambda name, cfg: undone.append(name))
    project = pretended.project()
    task = pretended.task(project)
    assert "terok panic --clear" in refused(task_run_cli, project, task)
    assert undone == [f"{project}-cli-{task}"] and pretended.meta(project, task)["mode"] is None


def test_who_is_interrupted_while_the_workspace_is_prepared_has_a_task_that_runs(pretended, monkeypatch):
    def interrupted(self, check, limit):
        raise KeyboardInterrupt

    project = pretended.project()
    task = pretended.task(project)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("terok_sandbox.runtime.null.NullContainer.stream_initial_logs", interrupted)
        task_run_cli(project, task, preset="solo")
    meta = pretended.meta(project, task)
    assert (meta["mode"], meta["unrestricted"], meta["preset"]) == ("cli", True, "solo") and "ready_at" not in meta
    assert tasks.get_login_command(project, task)
    tasks.task_stop(project, task)
    task_restart(project, task)
    assert pretended.meta(project, task)["ready_at"]


_HOLD = """
import sys
from terok.lib.core.projects import load_project
from terok.lib.orchestration.task_runners import container
with container.launching(load_project(sys.argv[1]), sys.argv[2], sys.argv[3]):
    print("held", flush=True)
    sys.stdin.read()
"""


# improves: 31-open-double-launch
def test_a_task_that_is_being_launched_is_not_launched_again(pretended):
    project = pretended.project()
    task = pretended.task(project)
    words = [sys.executable, "-c", _HOLD, project, task, f"{project}-cli-{task}"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        assert str(first.pid) in refused(task_run_cli, project, task)
        first.communicate()
    assert not pretended.launches and pretended.meta(project, task)["mode"] is None
    task_run_cli(project, task)
    assert len(pretended.launches) == 1


# improves: 31-12-lock-checked
# improves: 30-3.1-launch-refused
@pytest.mark.parametrize("trouble", ["panic", "settings"])
def test_nothing_starts_in_a_panic_or_with_settings_that_are_not_in_order(pretended, trouble):
    project = pretended.project()
    task = pretended.task(project, mode="run")
    if trouble == "panic":
        lock = pretended.root / "state/core/panic.lock"
        lock.write_text("2026-01-01T00:00:00+00:00\n")
        cause = str(lock)
    else:
        pretended.settings.write_text("vault: {bypass_no_secret_protection: true}\nshield: {drop_on_task_run: flase}\n")
        cause = "drop_on_task_run"
    for start in (task_run_cli, task_run_toad, task_restart):
        assert cause in refused(start, project, task)
    assert cause in refused(task_followup_headless, project, task, "more")
    assert cause in refused(task_run_headless, HeadlessRunRequest(project, "work"))
    assert not pretended.launches and len(tasks.get_tasks(project)) == 1


def test_texts_that_mean_no():
    assert [config._str_to_bool(text) for text in ("", " ", "False", "0", "no", "OFF", "x", "1")] == [False] * 6 + [
        True
    ] * 2
    assert config._str_to_bool(True) and not config._str_to_bool(False) and not config._str_to_bool(0)


@pytest.mark.parametrize(("cpus", "whole"), [("0.5", "1"), ("3.2", "4"), ("64", "16")])
def test_microvms_get_whole_processors(pretended, monkeypatch, cpus, whole):
    from terok.lib.core.projects import load_project

    monkeypatch.setenv("TEROK_RUNTIME", "krun")
    monkeypatch.setattr("terok.lib.core.config.is_experimental", lambda: True)
    project = load_project(pretended.project(run={"cpus": cpus}))
    assert container._annotations(project, pretended.root)["krun.cpus"] == whole


def test_microvms_have_three_conditions(pretended, monkeypatch):
    project = pretended.project(run={"runtime": "krun"})
    nested = pretended.project("q", run={"runtime": "krun", "nested_containers": True})
    task, other = pretended.task(project), pretended.task(nested)
    texts = [refused(task_run_cli, project, task)]
    monkeypatch.setattr("terok.lib.core.config.is_experimental", lambda: True)
    texts += [refused(task_run_cli, nested, other), refused(task_run_cli, project, task)]
    assert "experimental" in texts[0] and "nested_containers" in texts[1] and "tcp" in texts[2]
