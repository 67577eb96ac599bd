"""Logs of tasks: live from podman whatever stream it uses, or what was kept; nothing a container says steers a terminal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from domain_house import House
from terok.lib.api import LogViewOptions, load_project, task_logs

FOUND = json.dumps([{"Id": "1", "Name": "n", "State": {"Status": "running"}}])


def task_of(house: House, mode: str = "cli", *, there: bool = True, **more: object) -> str:
    house.project()
    task = house.task(mode=mode, **more)
    if there:
        house.podman.answer("container", "inspect", stdout=FOUND)
    else:
        house.podman.answer("container", "inspect", stderr="Error: no such container", code=125)
    return task


def kept(task: str, text: str) -> None:
    path = Path(load_project("demo").tasks_root) / task / "logs/container.log"
    path.parent.mkdir(parents=True)
    path.write_text(text)


# improves: 31-13.1-both-streams
def test_a_container_that_talks_on_the_other_stream_is_shown_and_never_waits(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    task = task_of(house)
    house.podman.plays(
        f"case $1 in container) echo '{FOUND}';;\n"
        'logs) i=0; while [ $i -lt 4000 ]; do echo "error line of some length $i" >&2; i=$((i+1)); done; echo out;;\nesac'
    )
    capfd.readouterr()
    began = time.monotonic()
    task_logs("demo", task)
    shown = capfd.readouterr().out.splitlines()
    assert len(shown) == 4001 and "out" in shown and time.monotonic() - began < 20


# improves: 31-13.1-every-line
def test_a_short_log_of_an_agent_is_formatted_line_by_line(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    task = task_of(house, mode="run", provider="claude")
    says = [
        json.dumps({"type": "assistant", "message": {"content": [{"type": "text", "text": word}]}}) for word in "ab"
    ]
    house.podman.answer("logs", stdout="\n".join(says) + "\n")
    capsys.readouterr()
    task_logs("demo", task, LogViewOptions(streaming=False))
    assert capsys.readouterr().out.split() == ["a", "b"]


def test_options_reach_podman(house: House) -> None:
    task = task_of(house)
    house.podman.answer("logs")
    task_logs("demo", task, LogViewOptions(follow=True, tail=3))
    assert house.podman.calls[-1] == ["logs", "-f", "--tail", "3", f"demo-cli-{task}"]


def test_without_its_container_the_kept_log_is_shown(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    task = task_of(house, there=False)
    kept(task, "one\ntwo\nthree\n")
    capsys.readouterr()
    task_logs("demo", task, LogViewOptions(tail=2, raw=True, follow=True))
    assert capsys.readouterr().out == "two\nthree\n"
    task_logs("demo", task, LogViewOptions(tail=0))
    assert capsys.readouterr().out == ""


def test_the_kept_log_of_an_agent_is_told_as_the_live_one(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """It is kept with podman's times in front of each line."""
    task = task_of(house, mode="run", there=False, provider="claude")
    said = json.dumps({"type": "assistant", "message": {"content": [{"type": "text", "text": "done"}]}})
    kept(task, f"2026-11-22T15:04:05.123456789+01:00 {said}\n2026-11-22T15:04:06Z plain\n")
    capsys.readouterr()
    task_logs("demo", task, LogViewOptions(streaming=False))
    assert capsys.readouterr().out == "done\n2026-11-22T15:04:06Z plain\n"


def test_what_cannot_be_shown_is_named(house: House) -> None:
    task = task_of(house, there=False)
    fresh = house.task()
    for wanted, options, words in (
        (task, LogViewOptions(tail=-1), "negative"), (task, None, "container is gone"), (fresh, None, "never run"),
        ("zzzzz", None, "zzzzz"),
    ):  # fmt: skip
        with pytest.raises(SystemExit, match=words):
            task_logs("demo", wanted, options)


def test_ctrl_c_ends_the_view_cleanly(house: House) -> None:
    task = task_of(house)
    # podman ends an interrupted `logs` with a status of its own.
    logs = "logs) trap 'kill $!; exit 2' TERM INT; echo first; sleep 60 & wait;;"
    house.podman.plays(f"case $1 in container) echo '{FOUND}';; {logs} esac")
    code = f"from terok.lib.api import task_logs; task_logs('demo', {task!r}); print('went on')"
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True) as viewer:
        assert viewer.stdout is not None and viewer.stdout.readline() == "first\n"
        viewer.send_signal(signal.SIGINT)
        assert viewer.stdout.read() == "went on\n" and viewer.wait(10) == 0
