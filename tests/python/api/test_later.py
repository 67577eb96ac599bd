"""Names whose part comes later: each call says in one line that it is not available; the list is printed, and shrinks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from terok.lib import api

TASK = Path("/nowhere")
LATER: dict[str, Callable[[], Any]] = {
    "AuthSession.capture": lambda: api.AuthSession(None, None, "c", [], TASK, TASK, "b").capture(),
    "prepare_oauth_session": lambda: api.prepare_oauth_session(None, None, mounts_dir=TASK, image="i"),
    "EventSubscriber.start": lambda: asyncio.run(api.EventSubscriber(None).start()),
    "MultiSocketSubscriber.start": lambda: asyncio.run(api.MultiSocketSubscriber(None).start()),
    "HubService.install": lambda: api.HubService.install(),
    "NotifierService.install": lambda: api.NotifierService.install(),
    "ShieldHooks.install": lambda: api.ShieldHooks.install(),
    "ShieldManager.up": lambda: api.ShieldManager(TASK).up("c", "id"),
    "ShieldManager.down": lambda: api.ShieldManager(TASK).down("c", allow_all=True),
    "ShieldManager.quarantine": lambda: api.ShieldManager(TASK).quarantine("c"),
    "ShieldManager.interactive_session": lambda: api.ShieldManager(TASK).interactive_session("c"),
    "ShieldManager.watch_session": lambda: api.ShieldManager(TASK).watch_session("c"),
    "selinux_install_script": lambda: api.selinux_install_script(),
}


@pytest.mark.parametrize("name", sorted(LATER))
def test_a_later_part_says_so_in_one_line(name: str) -> None:
    with pytest.raises(RuntimeError, match=r"is not available in this version yet$") as caught:
        LATER[name]()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "command", [c for c in (*api.SHIELD_COMMANDS, *api.CLEARANCE_COMMANDS) if c.handler], ids=lambda c: c.name
)
def test_a_later_command_ends_with_one_line(command: Any) -> None:
    given = {"shield": None} if command in api.SHIELD_COMMANDS else {}
    with pytest.raises(SystemExit, match=r"is not available in this version yet$"):
        command.handler(**given)


def test_what_reads_the_firewall_is_told_the_truth() -> None:
    manager = api.ShieldManager(TASK)
    assert manager.state("c").name == "DISABLED" and manager.status()["mode"] == "disabled"
    found = api.check_environment()
    assert found.health == "bypass" and not found.ok and "not filtered" in found.issues[0]
    assert manager.pre_start("c") == []


def test_the_list_of_what_is_later(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [f"shield {c.name}" for c in api.SHIELD_COMMANDS] + [
        f"clearance {c.name}" for c in api.CLEARANCE_COMMANDS
    ]
    with capsys.disabled():
        print(f"\nnot available in this version yet: {', '.join([*sorted(LATER), *commands])}")
    assert len(LATER) == 13 and len(commands) == 21
