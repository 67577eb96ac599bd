"""The adopted command line, from the wizard to the panic: real images, containers, supervisor, and a scripted model."""

from __future__ import annotations

import re

import pytest
from front_site import SCRIPT, Front


@pytest.fixture(scope="module")
def cli_task(front: Front, project: str) -> str:
    """A CLI task whose container runs."""
    front.terok("task", "run", project, "--name", "by-hand", "--no-attach")
    task, status = front.task(project, "by-hand")
    assert status == "running"
    return task


def test_the_wizard_leaves_a_project_that_is_listed_with_its_image_and_mirror(front: Front, project: str) -> None:
    assert f"- {project} [gatekeeping] upstream={front.upstream}" in front.terok("project", "list")
    assert f"localhost/{project}:l2-cli" in front.terok("image", "list", project)
    mirror = front.terok("project", "gate-path", project).strip()
    assert mirror.startswith("file:///") and front.site.git(front.site.root, "ls-remote", mirror, "main")
    assert "created: False" in front.terok("project", "gate-sync", project)


def test_a_cli_task_is_logged_into_renamed_stopped_and_restarted(front: Front, project: str, cli_task: str) -> None:
    said = front.terok("task", "status", project, cli_task)
    assert re.search(r"Status: +\S* *running", said) and f"{project}-cli-{cli_task}" in said
    terminal = front.on_terminal("terok", "login", project, cli_task, typed="cat note.txt; echo in-$TASK_ID; exit")
    assert "old line" in terminal and f"in-{cli_task}" in terminal
    assert "__CLI_READY__" in front.terok("task", "logs", project, cli_task)
    front.terok("task", "rename", project, cli_task, "Renamed Once")
    front.terok("task", "stop", project, cli_task[:3], "--timeout", "1")
    assert front.task(project, "renamed-once") == (cli_task, "stopped")
    assert front.site.state_of(f"{project}-cli-{cli_task}") == "exited"
    front.terok("task", "restart", project, cli_task)
    assert front.task(project, "renamed-once") == (cli_task, "running")
    assert f"{project}/{cli_task}" in front.terok("sickbay", status=1, shown=False)


def test_a_headless_task_works_is_followed_up_deleted_and_archived(front: Front, project: str) -> None:
    with front.site.model(SCRIPT) as model:
        said = front.terok("task", "run", project, "--mode", "headless", "--name", "note", "--prompt", "renew the note")
        assert "note.txt | 2 +-" in said
        task, status = front.task(project, "note")
        assert status == "completed"
        log = front.terok("task", "logs", project, task)
        assert "[tool] Edit" in log and "The note is new now." in log
        front.terok("task", "followup", project, task, "-p", "is anything left?")
        assert "Nothing is left to do." in front.terok("task", "logs", project, task)
    asked = model.steps("/v1/messages")
    assert len(asked) == 4
    used = front.terok("task", "audit-credentials", project, task)
    assert len(re.findall(r"claude +POST +200 ok", used)) >= len(asked)
    assert "Revoked" in front.terok("task", "revoke-credentials", project, task)
    front.terok("task", "delete", project, task)
    assert task not in front.terok("task", "list", project)
    archived = front.terok("task", "archive", "list", project)
    assert re.search(rf"#{task}: note \[mode=run; exit=0\]", archived)
    when = archived.split()[1]
    assert "The note is new now." in front.terok("task", "archive", "logs", project, when, shown=False)


def test_mistakes_end_with_one_line_and_status_1(front: Front, project: str) -> None:
    for words, why in (
        (("task", "run", "nowhere"), "project `nowhere` not found"),
        (("task", "status", project, "zzzzz"), "zzzzz"),
        (("project", "derive", project, "../up"), "../up"),
        (("task", "followup", project, "k4444", "-p", "x"), "k4444"),
    ):
        said = front.terok(*words, status=1, shown=False)
        assert why in said and "Traceback" not in said


def test_settings_storage_and_the_vault_are_shown(front: Front, project: str) -> None:
    assert "upstream_url" in front.terok("config", "schema", "project", shown=False)
    assert str(front.site.home) in front.terok("config", "paths", shown=False)
    assert front.terok("config", "get-root", shown=False).strip() == str(front.site.state)
    assert f"localhost/{project}:l2-cli" in front.terok("image", "usage", "--project", project, shown=False)
    assert "claude" in front.terok("vault", "list")
    assert f"/{project}.git" in front.terok("gate", "path", project, shown=False)
    assert "solo (bundled)" in front.terok("project", "presets", "list", project)


def test_a_derived_project_shares_the_mirror_and_is_deleted_alone(front: Front, project: str) -> None:
    front.terok("project", "derive", project, "second", input="n\nn\n")
    assert front.terok("project", "gate-path", "second") == front.terok("project", "gate-path", project, shown=False)
    front.command("terokctl", "task", "new", "second", "--name", "kept-aside")
    assert front.task("second", "kept-aside")[1] == "created"
    assert "rchive" in front.terok("project", "delete", "second", "--force", shown=False)
    listed = front.terok("project", "list", shown=False)
    assert "second" not in listed and f"- {project} " in listed


# Last: it ends what the others use.
def test_a_panic_stops_everything_and_bars_the_way_until_it_is_cleared(
    front: Front, project: str, cli_task: str
) -> None:
    said = front.command("sh", "-c", "terok panic --stop 2>&1; true")
    assert re.search(r"Containers killed: [1-9]", said) and "Vault: locked" in said
    assert front.task(project, "renamed-once")[1] == "stopped"
    assert "panic --clear" in front.terok("task", "run", project, "--no-attach", status=1)
    front.terok("panic", "--clear", shown=False)
    front.terok("task", "delete", project, cli_task)
