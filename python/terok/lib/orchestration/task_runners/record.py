"""What runners write about a task, single keys under its lock and never a copy read earlier; and its hooks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok.lib.core.project_model import ProjectConfig


def note(project_id: str, task_id: str, **fields: Any) -> None:
    """Set these keys of the task's metadata and no others; a task that is gone by now is left alone."""
    from terok.lib.orchestration.tasks import meta

    meta.update_task_meta(project_id, task_id, fields)


def take_back(project_id: str, task_id: str, *keys: str, **fields: Any) -> None:
    """Undo what a failed launch recorded: remove these keys, set those. What hinders that is in the log and no more.

    The caller is about to say why the launch failed, which is what its user needs to know.
    """
    from terok.lib.orchestration.tasks import meta
    from terok.lib.util.logging_utils import log_warning

    try:
        meta.update_task_meta(project_id, task_id, fields, remove=keys)
    except (OSError, ValueError) as error:
        log_warning(f"what a launch of task {task_id} recorded could not be taken back: {error}")


def forget(project_id: str, task_id: str, *keys: str) -> None:
    """Remove these keys."""
    from terok.lib.orchestration.tasks import meta

    meta.update_task_meta(project_id, task_id, {}, remove=keys)


def begin(project_id: str, task_id: str) -> None:
    """A new run begins: the hooks of the one before no longer count."""
    note(project_id, task_id, hooks_fired=[])


def now() -> str:
    """This moment as ISO 8601 in UTC."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(time.time(), UTC).isoformat()


def fire(
    name: str, project: ProjectConfig, task_id: str, *, mode: str, cname: str, handle: Path, web_port: int | None = None
) -> None:
    """Run the project's hook of this moment; see :func:`terok.lib.orchestration.hooks.run_hook`."""
    from terok.lib.orchestration import hooks

    hooks.run_hook(
        name, getattr(project, f"hook_{name}"), project_id=project.id, task_id=task_id, mode=mode, cname=cname,
        web_port=web_port, task_dir=Path(project.tasks_root) / task_id, meta_path=handle,
    )  # fmt: skip
