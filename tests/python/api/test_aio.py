"""The awaitable twins: same results, same exceptions, and a loop that goes on."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import subprocess
import sys
import threading
import time

import pytest
from terok.lib import api
from terok.lib.api import aio

GONE = ("TEROK_CONFIG_FILE", "TEROK_STATE_DIR", "TEROK_SANDBOX_LIVE_DIR", "TEROK_SANDBOX_STATE_DIR")


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """A home with the project `demo`."""
    for name in GONE:
        monkeypatch.delenv(name, raising=False)
    places = {"HOME": "home", "XDG_CONFIG_HOME": "config", "XDG_RUNTIME_DIR": "run", "GIT_CONFIG_GLOBAL": "gitconfig"}
    places |= {"TEROK_ROOT": "state", "TEROK_CONFIG_DIR": "config/terok"}
    for name, below in places.items():
        monkeypatch.setenv(name, str(tmp_path / below))
    folder = tmp_path / "config/terok/projects/demo"
    folder.mkdir(parents=True)
    (folder / "project.yml").write_text("project: {security_class: online}\n")
    return "demo"


async def beats(until: asyncio.Future) -> list[float]:
    """Pauses between the turns of the loop while something else goes on."""
    pauses, last = [], time.perf_counter()
    while not until.done():
        await asyncio.sleep(0.005)
        now = time.perf_counter()
        pauses.append(now - last)
        last = now
    return pauses


def test_a_twin_returns_what_the_function_returns(demo, capsys):
    async def story():
        task = await aio.task_new(demo, name="one")
        await aio.task_rename(demo, task, new_name="two")
        return task, await aio.get_tasks(demo), await aio.of(api.get_project(demo)).list_tasks()

    task, listed, through_project = asyncio.run(story())
    assert listed == api.get_tasks(demo)
    assert [(found.task_id, found.name) for found in listed] == [(task, "two")]
    assert [found.id for found in through_project] == [task]
    assert capsys.readouterr().out.count("\n") == 2


def test_mistakes_stay_what_they_are(demo):
    async def mistaken(call):
        try:
            await call()
        except SystemExit as refused:
            return str(refused)
        return None

    with pytest.raises(SystemExit) as refused:
        api.load_project("nope")
    assert asyncio.run(mistaken(lambda: aio.load_project("nope"))) == str(refused.value)

    async def raising(error):
        def fail():
            raise error

        with pytest.raises(type(error)) as found:
            await aio.call(fail)
        assert found.value is error

    for error in (ValueError("x"), KeyError("y"), OSError(28, "full"), SystemExit(3)):
        asyncio.run(raising(error))


def test_a_mistake_in_a_crowd_does_not_end_the_loop(demo):
    async def crowd():
        found = await asyncio.gather(aio.load_project("nope"), aio.get_tasks(demo), return_exceptions=True)
        with pytest.raises(SystemExit):
            await asyncio.wait_for(aio.load_project("nope"), 30)
        done, _ = await asyncio.wait([aio.load_project("nope")], timeout=30)
        return found, [type(future.exception()) for future in done]

    (refused, listed), waited = asyncio.run(crowd())
    assert type(refused) is SystemExit and listed == [] and waited == [SystemExit]


def test_the_loop_goes_on_while_calls_block():
    async def story():
        slow = asyncio.gather(*(aio.call(time.sleep, 1) for _ in range(20)))
        began = time.perf_counter()
        pauses = await beats(slow)
        await slow
        return pauses, time.perf_counter() - began

    pauses, took = asyncio.run(story())
    assert len(pauses) > 10 and max(pauses) < 0.8
    assert took < 15, "twenty calls wait side by side"


def test_the_loop_goes_on_while_the_engine_works(demo):
    """The native half of a call holds no lock that the loop needs."""
    for number in range(60):
        api.task_new(demo, name=f"n{number}")

    async def story():
        work = asyncio.gather(*(aio.get_tasks(demo) for _ in range(40)), *(aio.list_projects() for _ in range(40)))
        return await beats(work), await work

    pauses, found = asyncio.run(story())
    assert sorted(pauses)[len(pauses) // 2] < 0.1
    assert all(len(tasks) == 60 for tasks in found[:40])


def test_who_is_cancelled_stops_waiting_and_the_call_is_finished():
    go, finished = threading.Event(), threading.Event()

    def work():
        go.wait(30)
        finished.set()

    async def story():
        waiting = asyncio.ensure_future(aio.call(work))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await aio.call(go.wait, 30)
        assert not finished.is_set()
        go.set()
        assert await aio.call(finished.wait, 30)

    asyncio.run(story())


def test_context_variables_come_along():
    who = contextvars.ContextVar("who", default="nobody")

    async def story():
        who.set("somebody")
        return await aio.call(who.get)

    assert asyncio.run(story()) == "somebody" and who.get() == "nobody"


def test_what_is_replaced_on_the_api_is_what_the_twin_calls(monkeypatch):
    class Stand:
        def __call__(self, *args, **keywords):
            return args, keywords

    twin = aio.task_stop
    monkeypatch.setattr(api, "task_stop", Stand())

    async def story():
        return await twin("demo", "k3v8h", timeout=1), await aio.task_stop("demo")

    assert asyncio.run(story()) == ((("demo", "k3v8h"), {"timeout": 1}), (("demo",), {}))


def test_objects_have_twins_of_methods_and_properties():
    class Thing:
        def __init__(self):
            self.thread = None

        @property
        def place(self):
            self.thread = threading.current_thread()
            return "here"

        def add(self, left, *, right):
            return left + right

    thing = Thing()

    async def story():
        return await aio.of(thing).add(1, right=2), await aio.of(thing).place()

    assert asyncio.run(story()) == (3, "here")
    assert thing.thread is not threading.main_thread() and thing.thread.name.startswith("terok-aio")
    with pytest.raises(AttributeError):
        _ = aio.of(thing)._private


def test_every_function_has_a_twin_and_nothing_else_has():
    functions = {name for name in api.__all__ if inspect.isroutine(getattr(api, name))}
    assert functions <= set(dir(aio))
    for name in functions:
        assert inspect.signature(getattr(aio, name)) == inspect.signature(getattr(api, name)), name
    for name in ("TaskMeta", "STATUS_DISPLAY", "shield", "no_such_name"):
        with pytest.raises(AttributeError, match=name):
            getattr(aio, name)


def test_without_a_loop_nothing_is_started():
    ran = []
    with pytest.raises(RuntimeError):
        aio.call(ran.append, 1)
    assert ran == []


FORK = """
import asyncio, os
from terok.lib.api import aio
async def one(): return await aio.call(os.getpid)
assert asyncio.run(one()) == os.getpid()
child = os.fork()
if child == 0:
    os._exit(0 if asyncio.run(one()) == os.getpid() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert asyncio.run(one()) == os.getpid()
"""


def test_a_forked_child_has_threads_of_its_own():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_importing_starts_no_thread():
    script = "import terok.lib.api.aio, threading; assert threading.active_count() == 1"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_the_end_of_an_iterator_does_not_hang():
    async def story():
        async with asyncio.timeout(20):
            with pytest.raises(RuntimeError, match="`next` ended with StopIteration"):
                await aio.call(next, iter(()))

    asyncio.run(story())
