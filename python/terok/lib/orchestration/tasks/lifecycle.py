"""Tasks from their creation to their end: new, login, stop, delete, and what is known on the way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_native.kept import kept
from terok_util.shell import command_line

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok.lib.core.project_model import ProjectConfig

_LOG_LIMIT_S = 60.0
_ALIVE = ("running", "paused")


@kept
@dataclass
class TaskDeleteResult:
    """What became of a deletion; without warnings nothing is left of the task but its archive."""

    task_id: str
    warnings: list[str]


# -- new and rename ----------------------------------------------------------------------------------------------------


def task_new(project_id: str, *, name: str | None = None) -> str:
    """Create a task and return its identifier; prints one line with identifier, name and directory.

    Args:
        name: Made plain before it is used; without one a name is made up.

    Raises:
        SystemExit: unknown project, a name of which nothing usable is left, or a directory that cannot be written.
    """
    from terok.lib.core import projects

    return _task_new(projects.load_project(project_id), name=name)


def _task_new(project: ProjectConfig, *, name: str | None = None) -> str:
    from terok_native import _lib

    from terok.lib.orchestration.tasks import meta as metadata
    from terok.lib.orchestration.tasks import naming

    chosen = naming.generate_name_for(project) if name is None else _usable_name(name)
    place = metadata.tasks_meta_dir(project.id)
    try:
        task_id, directory = _lib.task_create(place, Path(project.tasks_root), project.id, chosen)
    except OSError as error:  # front ends are ready for mistakes of the user alone
        raise SystemExit(str(error)) from error
    print(f"Created task {task_id} ({chosen}) in {directory}")
    return task_id


def task_rename(project_id: str, task_id: str, new_name: str) -> None:
    """Give a task another name and print it; its container keeps the old one.

    Raises:
        SystemExit: unknown project or task, or a name of which nothing usable is left.
    """
    from terok.lib.core import projects

    _task_rename(projects.load_project(project_id), task_id, new_name)


def _task_rename(project: ProjectConfig, task_id: str, new_name: str) -> None:
    from terok_native import _lib

    from terok.lib.orchestration.tasks import meta as metadata

    name = _usable_name(new_name)
    try:
        known = _lib.task_rename(metadata.tasks_meta_dir(project.id), project.id, task_id, name)
    except OSError as error:  # as for a new one
        raise SystemExit(str(error)) from error
    if not known:
        raise SystemExit(f"Unknown task {task_id}")
    print(f"Task {task_id} is called {name} now")


def _usable_name(raw: str) -> str:
    from terok.lib.orchestration.tasks import naming

    name = naming.sanitize_task_name(raw)
    objection = "nothing usable is left of it" if name is None else naming.validate_task_name(name)
    if name is None or objection:
        raise SystemExit(f"cannot use {raw!r} as the name of a task: {objection}")
    return name


# -- login -------------------------------------------------------------------------------------------------------------


def get_login_command(project_id: str, task_id: str) -> list[str]:
    """Return the command line of an interactive session in the task's container.

    Raises:
        SystemExit: unknown task, one that never ran, or a container that does not run.
    """
    from terok.lib.core import projects

    return _get_login_command(projects.load_project(project_id), task_id)


def task_login(project_id: str, task_id: str) -> None:
    """Replace this process by an interactive session in the task's container.

    Raises:
        SystemExit: as :func:`get_login_command`, or the program is not installed.
    """
    from terok.lib.core import projects

    command = _get_login_command(projects.load_project(project_id), task_id)
    try:
        os.execvp(command[0], command)  # noqa: S606 - the terminal goes to the session as it is
    except FileNotFoundError as error:
        raise SystemExit(f"cannot log in: `{command[0]}` is not installed") from error


def _get_login_command(project: ProjectConfig, task_id: str) -> list[str]:
    from terok.lib.orchestration.task_runners import container

    cname, _ = _validate_login(project, task_id)
    return container.container_of(project, cname).login_command()


def _validate_login(project: ProjectConfig, task_id: str) -> tuple[str, str]:
    """The container's name and the task's mode, when one can log in."""
    from terok.lib.core.task_state import container_name
    from terok.lib.orchestration.task_runners import container
    from terok.lib.orchestration.tasks import meta as metadata

    meta, _ = metadata.load_task_meta(project.id, task_id)
    mode = meta.get("mode")
    if not mode:
        raise SystemExit(
            f"cannot log in to task {task_id}: it has never run\n"
            f"hint: start one with `{command_line('terok', 'task', 'run', project.id)}`, or this one with "
            f"`{command_line('terokctl', 'task', 'attach', project.id, task_id, '--mode', 'cli')}`"
        )
    cname = container_name(project.id, mode, task_id)
    state = container.state_or_refuse(container.container_of(project, cname))
    if state != "running":
        raise SystemExit(
            f"cannot log in to task {task_id}: its container `{cname}` "
            f"{'does not exist' if state is None else f'does not run (state: {state})'}\n"
            f"hint: bring it back with `{command_line('terok', 'task', 'restart', project.id, task_id)}`"
        )
    return cname, mode


# -- stop --------------------------------------------------------------------------------------------------------------


def task_stop(project_id: str, task_id: str, *, timeout: int | None = None) -> None:
    """Stop the task's container; it is killed after *timeout* seconds, by default the project's.

    The task keeps its web port, so that it comes back at the same address.

    Raises:
        SystemExit: unknown task, one that never ran, nothing that could be stopped, or podman refused.
    """
    from terok.lib.core import projects

    _task_stop(projects.load_project(project_id), task_id, timeout=timeout)


def _task_stop(project: ProjectConfig, task_id: str, *, timeout: int | None = None) -> None:
    from terok.lib.core.task_state import container_name
    from terok.lib.orchestration.task_runners import container, record
    from terok.lib.orchestration.tasks import meta as metadata

    meta, handle = metadata.load_task_meta(project.id, task_id)
    mode = meta.get("mode")
    if not mode:
        raise SystemExit(f"cannot stop task {task_id}: it has never run")
    cname = container_name(project.id, mode, task_id)
    box = container.container_of(project, cname)
    state = container.state_or_refuse(box)
    if state not in _ALIVE:
        what = "does not exist" if state is None else f"does not run (state: {state})"
        raise SystemExit(f"cannot stop task {task_id}: its container `{cname}` {what}")
    if state == "paused":
        container.thaw(box)
    try:
        box.stop(timeout=project.shutdown_timeout if timeout is None else timeout)
    except (FileNotFoundError, RuntimeError) as error:
        raise SystemExit(f"cannot stop task {task_id}: {error}") from error
    record.fire("post_stop", project, task_id, mode=mode, cname=cname, handle=handle, web_port=meta.get("web_port"))
    print(f"Stopped {cname}.\nBring it back with: {command_line('terok', 'task', 'restart', project.id, task_id)}")


# -- delete ------------------------------------------------------------------------------------------------------------


def task_delete(project_id: str, task_id: str) -> TaskDeleteResult:
    """Keep a record of the task, remove its containers, then everything else of it.

    A record that cannot be kept stops the deletion; so does a container that cannot be removed, whose task stays
    listed as being deleted. An unknown task is no error.

    Raises:
        SystemExit: unknown project, or an id that is none.
    """
    from terok.lib.core import projects
    from terok.lib.orchestration.tasks import removal

    result = TaskDeleteResult(task_id, [])
    removal.delete(projects.load_project(project_id), task_id, result.warnings)
    return result


# -- status, waiting, logs ---------------------------------------------------------------------------------------------


def task_status(project_id: str, task_id: str) -> None:
    """Print what is known about the task, one line for each thing that is known.

    Raises:
        SystemExit: unknown task.
    """
    from terok.lib.orchestration.tasks import query
    from terok.lib.util import ansi

    task = query.get_task_meta(project_id, task_id)
    color = ansi.supports_color()
    for label, value in _status_lines(project_id, task, color):
        if value not in (None, ""):
            print(f"{label + ':':<18}{value}")


def _status_lines(project_id: str, task: Any, color: bool) -> list[tuple[str, Any]]:
    from terok.lib.core.task_display import STATUS_DISPLAY
    from terok.lib.core.task_state import container_name
    from terok.lib.util import ansi
    from terok.lib.util.emoji import render_emoji

    shown: Any = STATUS_DISPLAY.get(task.status, STATUS_DISPLAY["created"])
    paint = getattr(ansi, shown.color)
    state = task.container_state or (_missing_or_unknown(project_id, task, color) if task.mode else None)
    rights = {True: "unrestricted", False: "restricted"}.get(task.unrestricted)
    return [
        ("Task", task.task_id),
        ("Name", task.name),
        ("Status", f"{render_emoji(shown)} {paint(shown.label, color)}"),
        ("Mode", task.mode or "not set"),
        ("Container", container_name(project_id, task.mode, task.task_id) if task.mode else None),
        ("Container state", state),
        ("Permissions", rights),
        ("Exit code", task.exit_code),
        ("Web port", task.web_port),
        ("Work status", task.work_status),
        ("Work message", task.work_message),
    ]


def _missing_or_unknown(project_id: str, task: Any, color: bool) -> str:
    """Why there is no state: no container, or no answer."""
    from terok.lib.core import projects
    from terok.lib.core.task_state import container_name
    from terok.lib.orchestration.task_runners import container
    from terok.lib.util import ansi

    name = container_name(project_id, task.mode, task.task_id)
    try:
        state = container.state_or_refuse(container.container_of(projects.load_project(project_id), name))
    except SystemExit as error:
        return ansi.yellow(f"unknown ({str(error).splitlines()[0]})", color)
    return state or ansi.red("not found", color)


def wait_for_container_exit(
    container_name: str, project_id: str, task_id: str, timeout: int = 7200
) -> tuple[int | None, str | None]:
    """Wait until the container ends and record its exit code; return it, or ``None`` and why it is not known."""
    from terok.lib.core import projects
    from terok.lib.orchestration.task_runners import container
    from terok.lib.orchestration.tasks import meta as metadata

    try:
        code = container.container_of(projects.load_project(project_id), container_name).wait(timeout)
        metadata.update_task_exit_code(project_id, task_id, code)
    except TimeoutError:
        return None, "Watcher timed out"
    except (Exception, SystemExit) as error:
        return None, str(error) or type(error).__name__
    return code, None


def capture_task_logs(project: ProjectConfig | str, task_id: str, mode: str) -> Path | None:
    """Keep the container's output in the task's directory; ``None`` when that is not possible within a minute."""
    from terok.lib.core import projects
    from terok.lib.core.task_state import container_name
    from terok.lib.orchestration.task_runners import container
    from terok.lib.util.logging_utils import log_warning

    try:
        if isinstance(project, str):
            project = projects.load_project(project)
        target = Path(project.tasks_root) / task_id / "logs" / "container.log"
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        runner = container._agent_runner(project)
        name = container_name(project.id, mode, task_id)
        return target if runner.capture_logs(name, target, timestamps=True, timeout=_LOG_LIMIT_S) else None
    except (Exception, SystemExit) as error:
        log_warning(f"the output of task {task_id} could not be kept: {error}")
        return None
