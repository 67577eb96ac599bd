"""Questions about tasks: one, all of a project, the state of their containers, what changed in a workspace."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from terok_native import _lib
from terok_native.kept import kept

from terok.lib.core.task_state import TaskState, effective_status


@kept
@dataclass(kw_only=True)
class TaskMeta(TaskState):
    """A task as front ends show it: what is recorded, and what they learn about its container."""

    task_id: str
    project_id: str = ""
    #: ``cli``, ``run``, ``toad``, or ``None`` while it never ran.
    mode: str | None
    #: Absolute path of the task's directory.
    workspace: str
    #: Port on this host of a task that serves a web page, and the token of that page.
    web_port: int | None
    web_token: str | None = None
    #: Only in tasks of older versions.
    backend: str | None = None
    preset: str | None = None
    name: str = ""
    #: The agent of a headless task.
    provider: str | None = None
    unrestricted: bool | None = None
    #: What the agent says it is doing, safe to show.
    work_status: str | None = None
    work_message: str | None = None
    #: Only front ends fill it in.
    shield_state: str | None = None
    #: ISO 8601 in UTC.
    created_at: str | None = None

    @property
    def status(self) -> str:
        """The one word that says how the task is, worked out anew at every look."""
        return effective_status(self)

    @classmethod
    def load(cls, project_id: str, task_id: str) -> TaskMeta:
        """Return the task as it is now; see :func:`get_task_meta`."""
        return get_task_meta(project_id, task_id)


#: Texts about damaged files that this process has written to the log already; front ends ask every two seconds.
_told: set[str] = set()


def get_task_meta(project_id: str, task_id: str) -> TaskMeta:
    """Return a task with the state of its container.

    Raises:
        SystemExit: There is no such task.
        ValueError: Nothing of its files can be read.
    """
    from terok.lib.orchestration.tasks import meta

    row = _lib.task_one(meta.tasks_meta_dir(project_id), project_id, task_id, _tasks_root(project_id))
    if row is None:
        raise SystemExit(f"Unknown task {task_id}")
    task = TaskMeta(**row)
    if task.mode:
        task.container_state = get_task_container_state(project_id, task_id, task.mode)
    return task


def get_tasks(project_id: str, reverse: bool = False) -> list[TaskMeta]:
    """Return the tasks of a project by identifier, without asking podman about them.

    A task of which a file is missing or damaged is listed with what the rest says; what cannot be read is in the log.
    """
    from terok.lib.orchestration.tasks import meta

    rows, trouble = _lib.task_list(meta.tasks_meta_dir(project_id), project_id, _tasks_root(project_id))
    for text in trouble:
        _tell_once(text)
    tasks = [TaskMeta(**row) for row in rows]
    if reverse:
        tasks.reverse()
    return tasks


def get_task_container_state(project_id: str, task_id: str, mode: str | None) -> str | None:
    """Return podman's word for the state of the task's container; ``None`` without one or without an answer."""
    from terok.lib.core import task_state
    from terok.lib.integrations import sandbox

    if not mode:
        return None
    try:
        state = sandbox.PodmanRuntime().container(task_state.container_name(project_id, mode, task_id)).state
    except (OSError, RuntimeError):
        return None
    return state.lower() if state else None


def get_all_task_states(project_id: str, tasks: list[TaskMeta]) -> dict[str, str | None]:
    """Return the state of each task's container, all with one call of podman."""
    from terok.lib.core import task_state
    from terok.lib.integrations import sandbox

    states: dict[str, str] = {}
    if any(task.mode for task in tasks):
        try:
            states = sandbox.PodmanRuntime().container_states(project_id)
        except (OSError, RuntimeError) as error:
            _log(f"podman could not be asked about the containers of {project_id}: {error}")
    return {
        task.task_id: states.get(task_state.container_name(project_id, task.mode, task.task_id)) if task.mode else None
        for task in tasks
    }


def get_workspace_git_diff(project_id: str, task_id: str, against: str = "HEAD") -> str | None:
    """Return what changed in the task's workspace: since the last commit, or with ``PREV`` in the last commit.

    Returns:
        ``None`` when the container cannot be asked.
    """
    from terok.lib.orchestration import container_exec
    from terok.lib.orchestration.tasks import meta

    commits = ("HEAD~1", "HEAD") if against == "PREV" else ("HEAD",)
    try:
        found, _handle = meta.load_task_meta(project_id, task_id)
        mode = found.get("mode")
        return container_exec.container_git_diff(project_id, task_id, mode, *commits) if mode else None
    except (SystemExit, Exception) as error:
        _log(f"no diff of task {task_id} of {project_id}: {error}")
        return None


def lookup_container_by_pt(project_id: str, task_id: str) -> str | None:
    """Return the name of the task's container; ``None`` when there is no such task or it never ran."""
    from terok.lib.core import task_state
    from terok.lib.orchestration.tasks import meta

    try:
        found = meta.read_task_meta(meta.tasks_meta_dir(project_id), task_id)
    except (SystemExit, TypeError, ValueError):
        return None
    mode = found.get("mode") if found else None
    return task_state.container_name(project_id, mode, task_id) if mode else None


def task_list(project_id: str, *, status: str | None = None, mode: str | None = None, agent: str | None = None) -> None:
    """Print the tasks of a project, a line each.

    Args:
        status: Only tasks of this status, with the live state of their containers.
        mode: Only tasks of this mode.
        agent: Only tasks that were started with this preset.
    """
    tasks = [task for task in get_tasks(project_id) if mode in (None, task.mode) and agent in (None, task.preset)]
    states = get_all_task_states(project_id, tasks)
    for task in tasks:
        task.container_state = states.get(task.task_id)
    shown = [task for task in tasks if status in (None, task.status)]
    for task in shown:
        print(_line(task))
    if not shown:
        print("No tasks found")


def _line(task: TaskMeta) -> str:
    facts: list[tuple[str, object]] = [("mode", task.mode), ("port", task.web_port), ("work", task.work_status)]
    extra = "; ".join(f"{key}={value}" for key, value in facts if value)
    return f"- {task.task_id}: {task.name} {task.status}" + (f" [{extra}]" if extra else "")


def _tasks_root(project_id: str) -> Path | None:
    """Where the directories of the project's tasks lie; ``None`` for a project that cannot be loaded."""
    from terok.lib.core import projects

    try:
        return projects.tasks_root(project_id)
    except (SystemExit, Exception):
        return None


def _tell_once(text: str) -> None:
    from terok.lib.util.logging_utils import log_warning

    if text not in _told:
        _told.add(text)
        log_warning(text)


def _log(text: str) -> None:
    from terok.lib.util.logging_utils import _log_debug

    _log_debug(text)
