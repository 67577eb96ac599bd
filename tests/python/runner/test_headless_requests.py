"""Requests for headless runs and follow-ups: what is refused, where settings come from, where prompts go."""

from __future__ import annotations

import pytest
from runner_site import refused
from terok.lib.orchestration import tasks
from terok.lib.orchestration.task_runners import headless
from terok.lib.orchestration.task_runners.headless import HeadlessRunRequest, task_followup_headless, task_run_headless


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
