"""The state of a task, worked out from what its container does and what is recorded about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from terok_native import _lib
from terok_native.kept import kept

#: Every mode that ever named a container; ``web`` only in older tasks.
CONTAINER_MODES = ("cli", "web", "run", "toad")


@kept
@dataclass
class TaskState:
    """What the status of a task depends on."""

    #: Podman's word in lower case, ``None`` without a container or when nobody could say.
    container_state: str | None = None
    #: How the program ended, ``None`` while that is not known.
    exit_code: int | None = None
    deleting: bool = False
    #: The task once reported that it is ready.
    initialized: bool = False
    #: Set by a front end from the moment it starts the task.
    starting: bool = False


def effective_status(task: TaskState) -> str:
    """Return the one word that says how the task is: a key of ``STATUS_DISPLAY``."""
    if task.deleting:
        return "deleting"
    if task.container_state == "running":
        return "running" if task.initialized else "init"
    if task.container_state is not None:
        return _ended(task.exit_code, otherwise="stopped")
    if task.starting:
        return "starting"
    return _ended(task.exit_code, otherwise="not found") if task.initialized else "created"


def _ended(exit_code: int | None, *, otherwise: str) -> str:
    if exit_code is None:
        return otherwise
    return "completed" if exit_code == 0 else "failed"


def container_name(project_id: str, mode: str, task_id: str) -> str:
    """Return the name of the container that runs the task in this mode."""
    return f"{project_id}-{mode}-{task_id}"


def has_gpu(project: object) -> bool:
    """Whether ``run.gpus`` in the project's file asks for the GPUs: ``all`` or true, written in any way.

    The file is read as it is, so that a project with mistakes elsewhere in it has an answer as well; whatever goes
    wrong means no.
    """
    root = getattr(project, "root", None)
    try:
        return root is not None and _lib.task_wants_gpu(Path(root) / "project.yml")
    except (OSError, TypeError, ValueError):
        return False
