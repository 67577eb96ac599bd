"""A recorded firewall: no container starts with less than it was left with, and nothing is recorded that is not so."""

from __future__ import annotations

import pytest
from terok.lib.orchestration.task_runners import shield
from terok.lib.orchestration.task_runners.cli import task_run_cli
from terok.lib.orchestration.task_runners.restart import task_restart


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
