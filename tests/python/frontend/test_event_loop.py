"""The TUI's event loop stays free of us while there are 50 tasks and an image builds.

A coroutine of the loop notes when it runs; a thread notes, whenever that is more than 20 ms late, where the loop's
thread is. A stall counts when that place is reached through our packages, the front ends' own frames apart: Textual
draws, and this machine has other work, but neither is ours.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from e2e_site import until
from front_site import Front
from pilot import Tui, running

LIMIT = 0.020
BEAT = 0.01
SITE = sysconfig.get_path("purelib")
OURS = tuple(f"{SITE}/{name}/" for name in ("terok", "terok_executor", "terok_native", "terok_sandbox", "terok_util"))
TASKS = 50
ROUNDS = 3
WORK = "RUN echo at work; i=0; while [ $i -lt 100000000000 ]; do i=$((i+1)); done"


class Watch:
    """Looks at one loop's thread from another one."""

    def __init__(self) -> None:
        self._beaten = time.perf_counter()
        self._waited = _waited()
        self._thread = threading.get_ident()
        self._over = threading.Event()
        self.beats = 0
        #: How often each place of ours was found while the loop was late, and by how much at most.
        self.late: dict[str, float] = {}
        self.worst = 0.0

    async def beat(self) -> None:
        while True:
            now = time.perf_counter()
            self.worst = max(self.worst, now - self._beaten)
            self._beaten, self._waited, self.beats = now, _waited(), self.beats + 1
            await asyncio.sleep(BEAT)

    def look(self) -> None:
        while not self._over.wait(BEAT):
            beaten, waited = self._beaten, self._waited
            late = time.perf_counter() - beaten - BEAT
            if late <= LIMIT or not (place := self._ours()):
                continue
            late -= _waited() - waited
            # Not when the loop went on while this was found out.
            if late > LIMIT and beaten == self._beaten:
                self.late[place] = max(late, self.late.get(place, 0.0))

    def _ours(self) -> str:
        """The innermost frame of ours that the loop's thread is in; nothing when it is in none."""
        frame = sys._current_frames().get(self._thread)
        while frame is not None:
            if frame.f_code.co_filename.startswith(OURS):
                return f"{frame.f_code.co_filename.removeprefix(SITE)} {frame.f_code.co_name}"
            frame = frame.f_back
        return ""

    @contextmanager
    def watching(self) -> Iterator[None]:
        looking = threading.Thread(target=self.look)
        looking.start()
        beating = asyncio.get_running_loop().create_task(self.beat())
        try:
            yield
        finally:
            beating.cancel()
            self._over.set()
            looking.join()


def _waited() -> float:
    """Seconds that all threads of this process together were ready to run and did not."""
    total = 0
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            total += int((thread / "schedstat").read_text().split()[1])
    return total / 1e9


@contextmanager
def building(front: Front, project: str) -> Iterator[subprocess.Popen[bytes]]:
    """A build of the project's image that is at work for the whole time."""
    log = front.site.root / "build.log"
    with log.open("wb") as out:
        build = subprocess.Popen(["terok", "project", "build", project], stdout=out, stderr=out, start_new_session=True)
    try:
        until(lambda: "at work" in log.read_text() or build.poll() is not None, "the build at work", 300)
        yield build
    finally:
        os.killpg(build.pid, signal.SIGTERM)
        build.wait(60)
        # A step of a build that was ended goes on by itself.
        subprocess.run(["pkill", "-KILL", "-f", "echo at work; i=0"], check=False)
        until(lambda: not left_over(front), "no container of the build", 60)


def left_over(front: Front) -> bool:
    """Whether there were containers, which are removed, or podman could not tell, as when one goes while it looks."""
    listed = front.site.run("podman", "ps", "-aq", "--external")
    for left in listed.stdout.split():
        front.site.podman("rm", "-f", "-t", "0", left, check=False)
    return bool(listed.returncode or listed.stdout.split())


async def used(tui: Tui) -> None:
    """What a person does for some seconds: walk through projects and tasks, open and close, make a task."""
    await tui.tasks()
    for _ in range(2):
        await tui.press(*["down"] * 4)
        await tui.press("enter")
        await tui.on("TaskDetailsScreen")
        await tui.press("escape")
    await tui.press("t")
    await tui.pilot.pause(0.5)
    await tui.main()
    await tui.focus("#project-list")
    await tui.press("down", "up", "enter")
    await tui.on("ProjectDetailsScreen")
    await tui.pilot.pause(1)
    await tui.main()
    await asyncio.sleep(3)


@pytest.fixture
def many(front: Front, project: str) -> Iterator[str]:
    """A project like the other one, with tasks."""
    from terok.lib.api import delete_project, task_new

    folder = front.site.home / ".config/terok/projects"
    text = (folder / project / "project.yml").read_text()
    (folder / "many").mkdir()
    text = text.replace(f'id: "{project}"', 'id: "many"')
    (folder / "many/project.yml").write_text(
        text.replace("user_snippet_inline: |\n", f"user_snippet_inline: |\n    {WORK}\n")
    )
    for _ in range(TASKS):
        task_new("many")
    yield "many"
    delete_project("many")


def test_the_loop_is_never_late_because_of_us(front: Front, many: str) -> None:
    async def whole() -> Watch:
        # How long busy threads keep the interpreter is its own setting, and the front end's threads are not ours.
        sys.setswitchinterval(0.0005)
        async with running() as tui:
            await tui.see("Projects", "Tasks", f"Project:   {many}")
            watch = Watch()
            with watch.watching():
                await used(tui)
        return watch

    interval = sys.getswitchinterval()
    rounds: list[Watch] = []
    try:
        with building(front, many) as build:
            while not rounds or (len(rounds) < ROUNDS and always_late(rounds)):
                rounds.append(asyncio.run(asyncio.wait_for(whole(), 300)))
            assert build.poll() is None, "the build ended before the measurement did"
    finally:
        sys.setswitchinterval(interval)
    assert all(watch.beats > 100 for watch in rounds), "the loop hardly ran"
    assert not always_late(rounds), [watch.late for watch in rounds]


def always_late(rounds: list[Watch]) -> set[str]:
    """The places of ours that were late in every round."""
    return set.intersection(*(set(watch.late) for watch in rounds))


def test_a_stall_of_ours_would_be_noticed() -> None:
    space: dict[str, Any] = {}
    exec(compile("import time\ndef slow():\n    time.sleep(0.08)\n", f"{OURS[0]}made.py", "exec"), space)

    async def whole() -> Watch:
        watch = Watch()
        with watch.watching():
            await asyncio.sleep(0.05)
            space["slow"]()
            await asyncio.sleep(0.05)
        return watch

    assert [*asyncio.run(whole()).late] == ["/terok/made.py slow"]
