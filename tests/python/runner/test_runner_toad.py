"""The web front end's runner in real containers; the front end itself is pretended by a script of the same name."""

from __future__ import annotations

import re
import urllib.request

import pytest
from e2e_site import Site
from runner_site import Projects
from terok.lib.orchestration import tasks
from terok.lib.orchestration.task_runners import task_restart, task_run_toad


def _fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def test_the_life_of_a_web_task(site: Site, projects: Projects, capsys):
    project = projects.new()
    task = tasks.task_new(project)
    task_run_toad(project, task)
    url = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", capsys.readouterr().out)[0].removesuffix("\x1b[0m")
    meta = projects.meta(project, task)
    assert url == f"http://127.0.0.1:{meta['web_port']}/?token={meta['web_token']}"
    assert f"token of {len(meta['web_token'])} characters" in _fetch(url)
    assert meta["ready_at"] and meta["hooks_fired"] == ["pre_start", "post_start", "post_ready"]
    # The token is neither in podman's records nor in the dossier.
    assert meta["web_token"] not in site.podman("inspect", f"{project}-toad-{task}")
    assert meta["web_token"] not in tasks.dossier_path(tasks.tasks_meta_dir(project), task).read_text()

    tasks.task_stop(project, task)
    task_restart(project, task)
    assert url in capsys.readouterr().out
    task_run_toad(project, task)
    assert url in capsys.readouterr().out
    assert tasks.task_delete(project, task).warnings == []


# improves: 31-8.2-bounded
@pytest.mark.parametrize("mode", ["silent", "broken"])
def test_a_front_end_that_does_not_come_up_is_removed_and_its_output_kept(
    site: Site, projects: Projects, monkeypatch, capsys, mode
):
    from terok.lib.orchestration.task_runners import toad

    monkeypatch.setattr(toad, "_READY_TIMEOUT_S", 5.0)
    project = projects.new()
    task = tasks.task_new(project)
    directory = projects.task_dir(project, task) / "agent-config"
    directory.mkdir(mode=0o700)
    (directory / "toad-mode").write_text(mode)
    with site.leaves_nothing(), pytest.raises(SystemExit) as caught:
        task_run_toad(project, task)
    assert caught.value.code == 1 and "container.log" in capsys.readouterr().out
    assert "fake toad" in (projects.task_dir(project, task) / "logs/container.log").read_text()
    assert tasks.get_task_meta(project, task).status == "created"
    assert projects.meta(project, task)["web_port"] is None
