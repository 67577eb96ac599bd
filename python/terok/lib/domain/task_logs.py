"""Showing the log of a task: live from podman, or what was kept of it.

Both streams of podman are read at once, so that a container that talks on one never waits for the other.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from terok_native.kept import kept
from terok_util.shell import command_line

if TYPE_CHECKING:
    from terok.lib.domain.log_format import AgentLogFormatter

__all__ = ["LogViewOptions", "task_logs"]

_GRACE_S = 2
_CHUNK = 65536
#: What podman put in front of an agent's record when the log was kept.
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) (?=\{)")


@kept
@dataclass(frozen=True)
class LogViewOptions:
    """How a log is shown: following it, as podman prints it, only the last lines, text as it arrives."""

    follow: bool = False
    raw: bool = False
    tail: int | None = None
    streaming: bool = True


def task_logs(project_id: str, task_id: str, options: LogViewOptions | None = None) -> None:
    """Print the task's log.

    Raises:
        SystemExit: unknown task, one that has never run, a negative number of lines, no log, or no podman.
    """
    from terok.lib.core.task_state import container_name
    from terok.lib.domain import log_format
    from terok.lib.orchestration import tasks

    chosen = options or LogViewOptions()
    if chosen.tail is not None and chosen.tail < 0:
        raise SystemExit(f"cannot show {chosen.tail} lines: the number must not be negative")
    meta, _ = tasks.load_task_meta(project_id, task_id)
    mode = meta.get("mode")
    if not mode:
        raise SystemExit(f"task {task_id} of project {project_id} has never run: there is no log")
    name = container_name(project_id, mode, task_id)
    formatter = log_format.auto_detect_formatter(mode, streaming=chosen.streaming, provider=meta.get("provider"))
    if not _container_exists(name):
        _show_kept(project_id, task_id, chosen, formatter)
    elif chosen.raw and not sys.stdout.isatty():
        _become(_argv(name, chosen))
    elif chosen.raw:
        _show_live(_argv(name, chosen), log_format.PlainTextFormatter())
    else:
        _show_live(_argv(name, chosen), formatter)


def _container_exists(name: str) -> bool:
    from terok.lib.integrations import sandbox

    try:
        return bool(sandbox.PodmanRuntime().container(name).exists())
    except FileNotFoundError:
        raise SystemExit(_NO_PODMAN) from None
    except RuntimeError as error:
        raise SystemExit(f"cannot show the log: {error}") from None


_NO_PODMAN = "cannot show the log: `podman` is not on PATH\nhint: install podman"


def _argv(name: str, options: LogViewOptions) -> list[str]:
    follow = ["-f"] if options.follow else []
    tail = ["--tail", str(options.tail)] if options.tail is not None else []
    return ["podman", "logs", *follow, *tail, name]


def _become(argv: list[str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - another program gets the log as it is
    except FileNotFoundError:
        raise SystemExit(_NO_PODMAN) from None


def _show_kept(project_id: str, task_id: str, options: LogViewOptions, formatter: AgentLogFormatter) -> None:
    from terok.lib.core import projects

    path = Path(projects.load_project(project_id).tasks_root) / task_id / "logs" / "container.log"
    try:
        file = path.open("rb")
    except OSError as error:
        raise SystemExit(
            f"cannot show a log of task {task_id}: its container is gone and `{path}` cannot be read: {error.strerror}"
        ) from None
    with file, _finished(formatter):
        lines = _lines(file.fileno())
        for line in deque(lines, options.tail) if options.tail is not None else lines:
            formatter.feed_line(_STAMP.sub("", line))


@contextlib.contextmanager
def _finished(formatter: AgentLogFormatter) -> Iterator[None]:
    """Lets the formatter finish however the body ends; Ctrl-C ends the view and nothing else."""
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        formatter.finish()


def _show_live(argv: list[str], formatter: AgentLogFormatter) -> None:
    try:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError:
        raise SystemExit(_NO_PODMAN) from None
    ended_by_itself = False
    with _finished(formatter):
        try:
            assert process.stdout is not None
            for line in _lines(process.stdout.fileno()):
                formatter.feed_line(line)
            process.wait()
            ended_by_itself = True
        finally:
            _end(process)
    if ended_by_itself and process.returncode:
        print(f"Warning: `{command_line(*argv)}` ended with status {process.returncode}", flush=True)


def _lines(source: int) -> Iterator[str]:
    """Yield each line as soon as it is there; bytes that are no UTF-8 become replacement characters."""
    from terok_native import _lib

    lines = _lib.LinesRef()
    while chunk := os.read(source, _CHUNK):
        yield from lines.feed(chunk)
    last = lines.finish()
    if last is not None:
        yield last


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
