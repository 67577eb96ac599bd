"""The adopted TUI, driven by Textual's pilot: real images, containers, supervisor, and a scripted model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from front_site import SCRIPT, Front
from pilot import Tui, running

PROJECT = "pilot"


def drive(steps: Callable[[Tui], Awaitable[Any]]) -> Any:
    """Run steps in a TUI of their own."""

    async def whole() -> Any:
        async with running() as tui:
            return await steps(tui)

    return asyncio.run(asyncio.wait_for(whole(), 900))


def test_the_wizard_creates_a_project_and_builds_its_image(front: Front, project: str) -> None:
    async def steps(tui: Tui) -> None:
        await tui.see("Projects", "Tasks")
        await tui.press("n")
        await tui.on("WizardFormScreen")
        await tui.choose("#wizard-field-security_class", "Gatekeeping")
        await tui.choose("#wizard-field-base", "Ubuntu")
        await tui.fill("#wizard-field-project_id", PROJECT)
        await tui.fill("#wizard-field-upstream_url", str(front.upstream))
        await tui.fill("#wizard-field-default_branch", "main")
        await tui.focus("#wizard-form-create")
        await tui.press("enter")
        await tui.on("ProjectReviewScreen")
        editor = await tui.focus("#wizard-review-yaml")
        editor.text = editor.text.replace("ubuntu:24.04", front.site.base)
        await tui.focus("#wizard-review-init")
        await tui.press("enter")
        await tui.see(f"Project '{PROJECT}' is ready.", limit=600)
        await tui.press("enter")
        await tui.main()
        await tui.see(PROJECT, "Images:      yes", "Git gate:    yes")

    drive(steps)
    assert front.site.podman("images", "-q", f"{PROJECT}:l2-cli")


def test_a_cli_task_starts_changes_its_status_and_is_renamed_stopped_and_restarted(front: Front) -> None:
    async def steps(tui: Tui) -> None:
        await choose_project(tui)
        await tui.press("c")
        await tui.on("TaskNameScreen")
        await tui.fill("#name-input", "first-one")
        await tui.press("enter")
        await tui.on("TaskLaunchScreen")
        await tui.see("Container ready")
        await tui.tasks()
        await tui.see("first-one", "🟢 running", f"terok login {PROJECT}")
        await tui.press("f")
        await tui.see("__CLI_READY__")
        await tui.tasks()
        await details(tui, "n")
        await tui.on("TaskNameScreen")
        await tui.fill("#name-input", "second-name")
        await tui.press("enter")
        await tui.tasks()
        await tui.see("second-name", "🟢 running")
        await details(tui, "t")
        assert "Stopped" in await tui.worker()
        await tui.tasks()
        await tui.see("🔴 stopped")
        await details(tui, "r")
        assert "runs again" in await tui.worker()
        await tui.tasks()
        await tui.see("🟢 running")

    drive(steps)
    task, status = front.task(PROJECT, "second-name")
    assert status == "running" and front.site.state_of(f"{PROJECT}-cli-{task}") == "running"


async def choose_project(tui: Tui) -> None:
    """The list of tasks of our project."""
    await tui.see("Projects", "Tasks", PROJECT)
    await tui.focus("#project-list")
    shown = f"Project:   {PROJECT}"
    while shown not in tui.picture():
        await tui.press("down")
        await tui.see("Project:   ")
        await tui.pilot.pause(0.2)
    await tui.tasks()


async def details(tui: Tui, key: str) -> None:
    """The actions of the chosen task, and one of them."""
    await tui.press("enter")
    await tui.on("TaskDetailsScreen")
    await tui.press(key)


def test_a_headless_run_a_follow_up_and_the_deletion_to_the_archive(front: Front) -> None:
    async def steps(tui: Tui) -> None:
        await choose_project(tui)
        await tui.press("A")
        await tui.on("TaskNameScreen")
        await tui.fill("#name-input", "on-its-own")
        await tui.press("enter")
        await tui.on("AgentSelectionScreen")
        await tui.press("enter")
        await tui.focus("#btn-ok")
        await tui.press("enter")
        await tui.on("AutopilotPromptScreen")
        await tui.fill("#prompt-area", "renew the note")
        await tui.focus("#btn-run")
        await tui.press("enter")
        await tui.tasks()
        await tui.see("on-its-own", "completed")
        await details(tui, "u")
        await tui.on("AutopilotPromptScreen")
        await tui.fill("#prompt-area", "is anything left")
        await tui.focus("#btn-run")
        await tui.press("enter")
        await tui.tasks()
        await tui.until("two conversations", lambda: len(model.steps("/v1/messages")) == 4)
        await tui.see("on-its-own", "completed")
        await tui.press("f")
        await tui.see("The note is new now.", "Nothing is left to do.")
        await tui.tasks()
        await tui.press("X")
        await tui.until("the task gone", lambda: "on-its-own" not in tui.picture())

    with front.site.model(SCRIPT) as model:
        drive(steps)
    assert re.search(r"#\w+: on-its-own \[mode=run; exit=0\]", front.terok("task", "archive", "list", PROJECT))


def test_a_panic_stops_every_container(front: Front) -> None:
    async def steps(tui: Tui) -> None:
        await choose_project(tui)
        await tui.focus("#project-list")
        await tui.press("P")
        await tui.see("PRESS AGAIN TO PANIC")
        await tui.press("P")
        await tui.on("ConfirmDestructiveScreen")
        await tui.confirm()
        await tui.until("the containers to be stopped", lambda: not front.site.podman("ps", "-q"))
        await tui.main()
        await tui.see("🔴")
        await tui.told("Killed ")

    drive(steps)
    front.terok("panic", "--clear", shown=False)
