"""One process that does what it is told through `terok.lib.api` and says how long it took.

It runs on the interpreter of either implementation, so it uses nothing but the standard library and names that both
have. Orders come on standard input, a JSON list on each line; answers go out on the standard output, which the library
does not get: what it prints is thrown away.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROJECT = """\
# project {name}
project:
  id: {name}
  security_class: online
git:
  upstream_url: https://git.example/{name}.git
  default_branch: main
image:
  base_image: ubuntu:24.04
"""
HEADS, DIGITS = "ghjkmnpqrstvwxyz", "0123456789abcdefghjkmnpqrstvwxyz"


def timed(call: Callable[[], object]) -> tuple[float, float, object]:
    """Milliseconds of a call, those of them in which it had a processor, and what it returned."""
    began, at_work = time.perf_counter(), time.process_time()
    found = call()
    return (time.perf_counter() - began) * 1e3, (time.process_time() - at_work) * 1e3, found


class Orders:
    """The verbs; each answers with a number, or with milliseconds, those on a processor and a count."""

    def __init__(self) -> None:
        import terok.lib.api

        self.api = terok.lib.api

    def projects(self, most: int) -> int:
        """Write so many projects."""
        folder = self.api.get_config().user_projects_dir
        for number in range(most):
            name = f"p{number}"
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / "project.yml").write_text(PROJECT.format(name=name))
        return most

    def list_projects(self) -> tuple[float, float, int]:
        """List them."""
        *took, found = timed(self.api.list_projects)
        return *took, len(found)

    def task_new(self, project: str) -> float:
        """Create a task."""
        return timed(lambda: self.api.task_new(project))[0]

    def get_tasks(self, project: str) -> tuple[float, float, int]:
        """List the tasks of a project."""
        *took, found = timed(lambda: self.api.get_tasks(project))
        return *took, len(found)

    def fill(self, project: str, most: int) -> int:
        """Copy the files of a task that the implementation wrote until there are so many."""
        from terok.lib.orchestration.tasks import tasks_meta_dir

        folder, known = tasks_meta_dir(project), self.api.get_tasks(project)
        model, taken = known[0], {task.task_id for task in known}
        texts = {path.name.removeprefix(model.task_id): path.read_text() for path in folder.glob(f"{model.task_id}_*")}
        fresh = (one for one in map(identifier, range(16 * 10 * 32**3)) if one not in taken)
        for _ in range(most - len(taken)):
            name = next(fresh)
            for ending, text in texts.items():
                (folder / f"{name}{ending}").write_text(text.replace(model.task_id, name))
            shutil.copytree(model.workspace, Path(model.workspace).with_name(name))
        return most

    def memory(self) -> int:
        """KiB of memory that is this process's own."""
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

    def started(self, project: str) -> int:
        """Note of every task that it runs in a container."""
        from terok.lib.orchestration.tasks import load_task_meta, write_task_meta

        tasks = self.api.get_tasks(project)
        for task in tasks:
            meta, handle = load_task_meta(project, task.task_id)
            write_task_meta(handle, {**meta, "mode": "cli"})
        return len(tasks)

    def names(self, project: str) -> list[str]:
        """The containers of the tasks."""
        return [self.api.container_name(project, "cli", task.task_id) for task in self.api.get_tasks(project)]

    def states(self, project: str) -> tuple[float, float, int]:
        """Ask for the states of the tasks' containers; how many have one."""
        tasks = self.api.get_tasks(project)
        *took, found = timed(lambda: self.api.get_all_task_states(project, tasks))
        return *took, sum(state is not None for state in found.values())

    def loop(self, project: str, rounds: int) -> list[float]:
        """Milliseconds of the longest pause of an event loop, and of its longest pause at rest.

        The loop wakes up every millisecond while calls of every kind that a front end makes run through their twins.
        """
        import asyncio

        from terok.lib.api import aio

        async def longest(work: asyncio.Future[object]) -> float:
            pauses, last = [0.0], time.perf_counter()
            while not work.done():
                await asyncio.sleep(0.001)
                now = time.perf_counter()
                pauses.append(now - last - 0.001)
                last = now
            await work
            return max(pauses) * 1e3

        async def story() -> list[float]:
            tasks = await aio.get_tasks(project)
            name = tasks[0].task_id
            found = [0.0, 0.0]
            for number in range(rounds):
                calls = (
                    aio.get_tasks(project),
                    aio.list_projects(),
                    aio.get_all_task_states(project, tasks),
                    aio.get_task_meta(project, name),
                    aio.task_rename(project, name, f"turn {number}"),
                )
                found[0] = max(found[0], await longest(asyncio.gather(*calls)))
                found[1] = max(found[1], await longest(asyncio.ensure_future(asyncio.sleep(0.02))))
            return found

        return asyncio.run(story())


def identifier(number: int) -> str:
    """A well-formed identifier of a task for each number."""
    text = ""
    for alphabet in (DIGITS, DIGITS, DIGITS, "0123456789", HEADS):
        number, place = divmod(number, len(alphabet))
        text = alphabet[place] + text
    return text


def main() -> None:
    """Obey until the orders end."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    orders = Orders()
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        answers.write(json.dumps(getattr(orders, verb)(*arguments)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
