"""What runners refuse, record and write, without containers."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys

import pytest
from terok.lib.orchestration import ports, tasks
from terok.lib.orchestration.task_runners import config, container, headless, shield, toad
from terok.lib.orchestration.task_runners.cli import task_run_cli
from terok.lib.orchestration.task_runners.headless import HeadlessRunRequest, task_followup_headless, task_run_headless
from terok.lib.orchestration.task_runners.restart import task_restart
from terok.lib.orchestration.task_runners.toad import task_run_toad
from terok_sandbox import port_registry


def refused(call, *arguments, **more) -> str:
    with pytest.raises(SystemExit) as caught:
        call(*arguments, **more)
    return str(caught.value)


# -- cli -----------------------------------------------------------------------------------------------------------------


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


# -- restart, stop, login ------------------------------------------------------------------------------------------------


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


# -- toad ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def narrow(monkeypatch):
    """Only few ports, where no other test looks."""
    monkeypatch.setattr(port_registry._default, "port_range", range(45120, 45124))


@pytest.mark.parametrize(
    ("host", "bound", "shown"),
    [("", "127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1", "localhost"), ("::1", "[::1]", "[::1]"),
     ("192.0.2.1", "0.0.0.0", "192.0.2.1")],
)  # fmt: skip
def test_the_web_port_is_bound_where_the_public_host_says(pretended, narrow, monkeypatch, capsys, host, bound, shown):
    monkeypatch.setenv("TEROK_PUBLIC_HOST", host)
    project = pretended.project()
    task = pretended.task(project)
    task_run_toad(project, task)
    (launch,) = pretended.launches
    meta = pretended.meta(project, task)
    port, token = meta["web_port"], meta["web_token"]
    assert f"{bound}:{port}:8080" in launch["extra_args"]
    assert launch["command"][2] == f"terok-toad-entry --public-url 'http://{shown}:{port}' /workspace".replace(
        "'", "'" if "[" in shown else ""
    )
    assert f"http://{shown}:{port}/?token={token}" in capsys.readouterr().out
    assert (launch["env"]["TOAD_PUBLIC_PORT"], launch["env"]["TOAD_INTERNAL_PORT"]) == ("8080", "8081")
    assert token not in str(launch)


# improves: 31-8.2-quoted
def test_a_public_host_is_no_shell_text(pretended, narrow, monkeypatch):
    monkeypatch.setenv("TEROK_PUBLIC_HOST", "x;touch /tmp/pwned")
    project = pretended.project()
    task_run_toad(project, pretended.task(project))
    (launch,) = pretended.launches
    assert "'http://x;touch /tmp/pwned:45120'" in launch["command"][2]


# improves: 31-8.2-rolled-back
@pytest.mark.parametrize("trouble", ["not ready", "ended", "refused"])
def test_a_web_front_end_that_does_not_come_up_takes_everything_back(pretended, narrow, monkeypatch, trouble):
    project = pretended.project()
    task = pretended.task(project)
    name = f"{project}-toad-{task}"
    if trouble == "not ready":
        pretended.runtime.set_ready_result(name, False)
    elif trouble == "ended":
        pretended.started_as = "exited"
    else:
        monkeypatch.setattr("runner_site.PretendRunner.launch_prepared", _refuse)
    assert refused(task_run_toad, project, task)
    meta = pretended.meta(project, task)
    assert meta["mode"] is None and meta["web_port"] is None and "web_token" not in meta and "ready_at" not in meta
    assert pretended.runtime.container(name).state is None
    assert ports.assign_web_port(project, "another") == 45120


def _refuse(self, **launch):
    raise SystemExit("podman refused")


def test_the_wait_for_the_web_front_end_ends(pretended, narrow, monkeypatch):
    limits = []

    def wait(self, check, limit):
        limits.append(limit)
        return False

    monkeypatch.setattr("terok_sandbox.runtime.null.NullContainer.stream_initial_logs", wait)
    project = pretended.project()
    assert refused(task_run_toad, project, pretended.task(project)) == "1"
    assert limits == [toad._READY_TIMEOUT_S]


# improves: 31-3.4-port-kept
def test_a_stopped_web_task_keeps_its_port(pretended, narrow):
    project = pretended.project()
    task = pretended.task(project)
    task_run_toad(project, task)
    port = pretended.meta(project, task)["web_port"]
    tasks.task_stop(project, task)
    assert ports.assign_web_port(project, "another") != port
    task_restart(project, task)
    assert pretended.meta(project, task)["web_port"] == port
    tasks.task_delete(project, task)
    assert ports.assign_web_port(project, "third", port) == port


# improves: 31-5.2-own-claim
def test_a_running_web_task_is_found_again_by_another_process(pretended, narrow, monkeypatch, capsys):
    project = pretended.project()
    task = pretended.task(project)
    task_run_toad(project, task)
    port = pretended.meta(project, task)["web_port"]
    with socket.create_server(("127.0.0.1", port)):
        port_registry._default.reset()
        port_registry._default.registry_dir = pretended.root / "ports"
        port_registry._default.port_range = range(45120, 45124)
        task_run_toad(project, task)
        assert f":{port}/?token=" in capsys.readouterr().out
        # A stopped container publishes nothing, so that it is somebody else who listens there.
        pretended.runtime.set_container_state(f"{project}-toad-{task}", "exited")
        assert "no longer available" in refused(task_restart, project, task)


@pytest.mark.parametrize("missing", ["web_port", "web_token"])
def test_a_web_task_without_its_port_or_token_does_not_come_back(pretended, narrow, missing):
    project = pretended.project()
    task = pretended.task(project, mode="toad", web_port=45121, web_token="t0k")
    tasks.meta.update_task_meta(project, task, {}, remove=[missing])
    pretended.runtime.set_container_state(f"{project}-toad-{task}", "running")
    assert refused(task_run_toad, project, task)
    assert refused(task_restart, project, task)
    assert pretended.runtime.container(f"{project}-toad-{task}").state == "running"


@pytest.mark.parametrize("plant", ["symlink", "hard link"])
def test_the_token_is_never_written_through_a_planted_link(pretended, plant):
    directory = pretended.root / "task/agent-config"
    directory.mkdir(parents=True)
    precious = pretended.root / "precious"
    precious.write_text("mine")
    (os.symlink if plant == "symlink" else os.link)(precious, directory / "toad.token")
    token = toad._ensure_toad_token(directory)
    file = directory / "toad.token"
    assert precious.read_text() == "mine" and file.read_text() == token and not file.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


# -- shield --------------------------------------------------------------------------------------------------------------


def _with_intent(pretended, state: str, mode: str = "cli", **sections: object) -> tuple[str, str, str]:
    project = pretended.project(**sections)
    task = pretended.task(project, mode=mode)
    name = f"{project}-{mode}-{task}"
    pretended.runtime.set_container_state(name, "exited")
    (pretended.dir(project, task) / "shield_desired_state").write_text(state)
    return project, task, name


# improves: 31-7-fails-closed
@pytest.mark.parametrize(("state", "error"), [("up\n", SystemExit), ("garbage\n", ValueError)])
def test_a_task_that_was_left_with_its_firewall_up_does_not_start(pretended, state, error):
    project, task, name = _with_intent(pretended, state)
    for start in (task_run_cli, task_restart):
        with pytest.raises(error):
            start(project, task)
        assert pretended.runtime.container(name).state == "exited"
    # One that became so while the container started is stopped again.
    pretended.runtime.set_container_state(name, "running")
    from terok.lib.core.projects import load_project

    with pytest.raises(error):
        shield._apply_shield_policy(load_project(project), name, pretended.dir(project, task), is_restart=True)
    assert pretended.runtime.container(name).state == "exited"


@pytest.mark.parametrize("state", ["down\n", "disengaged\n"])
def test_a_task_without_its_firewall_starts_and_the_record_stays(pretended, state, capsys):
    project, task, name = _with_intent(pretended, state)
    task_restart(project, task)
    assert pretended.runtime.container(name).state == "running"
    assert (pretended.dir(project, task) / "shield_desired_state").read_text() == state


def test_no_firewall_is_recorded_that_there_is_not(pretended, capsys):
    project = pretended.project(shield={"drop_on_task_run": False})
    task = pretended.task(project)
    task_run_cli(project, task)
    assert not (pretended.dir(project, task) / "shield_desired_state").exists()
    assert "which this version does not have" in capsys.readouterr().err


def test_with_the_bypass_nothing_is_asked(pretended):
    pretended.settings.write_text(
        "vault: {bypass_no_secret_protection: true}\nshield: {bypass_firewall_no_protection: true}\n"
    )
    project, task, name = _with_intent(pretended, "up")
    task_restart(project, task)
    assert pretended.runtime.container(name).state == "running"


# -- headless ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [{"config_path": "/nowhere.yml"}, {"provider": "nobody"}, {"preset": "none-of-this-name"}]
)
def test_a_wrong_request_makes_no_task(pretended, wrong):
    project = pretended.project()
    assert refused(task_run_headless, HeadlessRunRequest(project, "work", **wrong))
    assert tasks.get_tasks(project) == []


def test_a_run_takes_settings_from_its_own_file_and_instructions_from_the_call(pretended, tmp_path):
    project = pretended.project()
    (tmp_path / "own.yml").write_text("model: {claude: opus}\nunrestricted: 'no'\n")
    request = HeadlessRunRequest(
        project, "work", config_path=str(tmp_path / "own.yml"), instructions="", name="My Run", follow=False, timeout=60
    )
    task = task_run_headless(request)
    (launch,) = pretended.launches
    assert "--model opus" in launch["command"][2] and "60" in launch["command"][2]
    assert launch["unrestricted"] is False and "TEROK_UNRESTRICTED" not in launch["env"]
    meta = pretended.meta(project, task)
    assert (meta["mode"], meta["provider"], meta["name"], meta["unrestricted"]) == ("run", "claude", "my-run", False)
    assert (pretended.dir(project, task) / "agent-config/prompt.txt").read_text() == "work"


def test_follow_ups_are_refused_where_they_make_no_sense(pretended):
    project = pretended.project()
    cli, gone, busy = pretended.task(project, mode="cli"), *(pretended.task(project, mode="run") for _ in range(2))
    pretended.runtime.set_container_state(f"{project}-run-{busy}", "running")
    assert "only headless tasks" in refused(task_followup_headless, project, cli, "more")
    assert "is gone" in refused(task_followup_headless, project, gone, "more")
    assert "is running" in refused(task_followup_headless, project, busy, "more")
    assert refused(task_followup_headless, project, "m0aaa", "more") == "Unknown task m0aaa"


def test_prompts_before_go_to_the_history(pretended):
    directory = pretended.root / "task/agent-config"
    directory.mkdir(parents=True)
    (directory / "prompt.txt").write_text("first")
    for prompt in ("second", "third"):
        headless._inject_followup_prompt(is_sealed=False, cname="x", agent_config_dir=directory, prompt=prompt)
    assert (directory / "prompt.txt").read_text() == "third"
    assert (directory / "prompt-history.txt").read_text() == "first\n\n---\n\nsecond\n\n---\n\n"


# improves: 31-8.4-no-links
@pytest.mark.parametrize("name", ["prompt.txt", "prompt-history.txt"])
def test_prompts_are_neither_read_nor_written_through_links(pretended, name):
    directory = pretended.root / "task/agent-config"
    directory.mkdir(parents=True)
    (directory / "prompt.txt").write_text("first")
    (directory / name).unlink(missing_ok=True)
    precious = pretended.root / "precious"
    precious.write_text("secret of the host")
    (directory / name).symlink_to(precious)
    headless._inject_followup_prompt(is_sealed=False, cname="x", agent_config_dir=directory, prompt="second")
    assert precious.read_text() == "secret of the host"
    assert "secret" not in "".join(file.read_text() for file in directory.iterdir() if not file.is_symlink())
    assert (directory / "prompt.txt").read_text() == "second" and not (directory / "prompt.txt").is_symlink()


# -- small rules ---------------------------------------------------------------------------------------------------------


def test_texts_that_mean_no():
    assert [config._str_to_bool(text) for text in ("", " ", "False", "0", "no", "OFF", "x", "1")] == [False] * 6 + [True] * 2
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
