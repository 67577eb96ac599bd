"""Tasks with a web front end: where it is published, its port and its token, and what a failed start gives back."""

from __future__ import annotations

import os
import socket
import stat

import pytest
from runner_site import free_ports, refused
from terok.lib.orchestration import ports, tasks
from terok.lib.orchestration.task_runners import toad
from terok.lib.orchestration.task_runners.restart import task_restart
from terok.lib.orchestration.task_runners.toad import task_run_toad
from terok_sandbox import port_registry


@pytest.fixture
def narrow(monkeypatch):
    """The only ports there are."""
    ports = free_ports(4)
    monkeypatch.setattr(port_registry._default, "port_range", ports)
    return ports


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
    assert f"'http://x;touch /tmp/pwned:{narrow[0]}'" in launch["command"][2]


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
    assert ports.assign_web_port(project, "another") == narrow[0]


def _refuse(self, **launch):
    raise SystemExit("podman refused")


def test_a_record_that_cannot_be_taken_back_hides_neither_the_reason_nor_the_port(pretended, narrow, monkeypatch):
    from terok_native import _lib

    def refuse(self, **launch):
        monkeypatch.setattr(_lib, "task_update", full)
        raise SystemExit("podman refused")

    def full(*change):
        raise OSError("no space left on device")

    monkeypatch.setattr("runner_site.PretendRunner.launch_prepared", refuse)
    project = pretended.project()
    assert refused(task_run_toad, project, pretended.task(project)) == "podman refused"
    assert "no space left" in pretended.log()
    assert ports.assign_web_port(project, "another") == narrow[0]


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
        port_registry._default.port_range = narrow
        task_run_toad(project, task)
        assert f":{port}/?token=" in capsys.readouterr().out
        # A stopped container publishes nothing, so that it is somebody else who listens there.
        pretended.runtime.set_container_state(f"{project}-toad-{task}", "exited")
        assert "no longer available" in refused(task_restart, project, task)


@pytest.mark.parametrize("missing", ["web_port", "web_token"])
def test_a_web_task_without_its_port_or_token_does_not_come_back(pretended, narrow, missing):
    project = pretended.project()
    task = pretended.task(project, mode="toad", web_port=narrow[1], web_token="t0k")
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
