"""The emergency stop finds what runs, whatever is known about it, and one failure does not keep the rest."""

from __future__ import annotations

import pytest
from domain_house import House
from terok.lib.domain import panic

TASK = "g1abc"


def states(house: House, **found: str) -> None:
    house.containers(**found)
    for verb in ("pause", "stop"):
        house.podman.answer(verb)


# improves: 31-12-broken-found
def test_containers_of_broken_projects_and_forgotten_tasks_are_found(house: House) -> None:
    house.project("broken", "project: [\n")
    names = [f"broken-cli-{TASK}", f"gone-run-{TASK}", f"with-dashes-toad-{TASK}"]
    others = {"somebodys-database": "running", f"old-cli-{TASK}": "exited"}
    states(house, **dict.fromkeys(names, "running"), **others)
    result = panic.execute_panic(stop_containers=True)
    assert result.total_running == 3 and sorted(result.containers_stopped) == sorted(names)


# improves: 31-12-blocked-otherwise
def test_what_no_firewall_guards_is_frozen(house: House) -> None:
    house.settings.write_text("shield: {bypass_firewall_no_protection: true}\n")
    states(house, **{f"demo-cli-{TASK}": "running"})
    result = panic.execute_panic()
    assert result.shield_bypassed and result.containers_paused == [f"demo-cli-{TASK}"] and not result.has_errors
    assert ["pause", f"demo-cli-{TASK}"] in house.podman.calls
    assert "BYPASSED" in panic.format_panic_report(result)


# improves: 31-12-lock-first
def test_the_lock_is_there_before_anything_is_asked(house: House) -> None:
    lock = panic.panic_lock_path()
    house.podman.plays(f'[ -e "{lock}" ] && echo locked >> "{house.root}/seen"; exit 0')
    panic.execute_panic()
    assert (house.root / "seen").read_text().startswith("locked") and panic.is_panicked()
    panic.clear_panic_lock()
    panic.clear_panic_lock()
    assert not panic.is_panicked()


def test_a_container_that_cannot_be_frozen_is_told_and_does_not_keep_the_others(house: House) -> None:
    house.containers(**{f"a-cli-{TASK}": "running", f"b-cli-{TASK}": "running"})
    house.podman.answer("pause", f"a-cli-{TASK}", stderr="no freezer here", code=125)
    house.podman.answer("pause")
    result = panic.execute_panic()
    assert result.containers_paused == [f"b-cli-{TASK}"] and result.has_errors
    assert [name for name, _ in result.shield_errors] == [f"a-cli-{TASK}"]
    assert "no freezer here" in panic.format_panic_report(result)


def test_the_session_passphrase_is_gone(house: House) -> None:
    from terok.lib.core import config

    file = config.make_sandbox_config().vault_passphrase_file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("secret")
    states(house)
    assert panic.execute_panic().vault_stopped and not file.exists()


def test_a_silent_podman_is_an_error_of_the_report(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(house.root / "home"))
    result = panic.execute_panic()
    assert result.total_running == 0 and result.vault_stopped and panic.is_panicked()
    assert result.has_errors and "podman" in panic.format_panic_report(result)
    stopped, errors = panic.panic_stop_containers()
    assert stopped == [] and [name for name, _ in errors] == ["podman"]
