"""Archived tasks: what was recorded about a task, without its secrets, and its logs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from terok_native import _lib
from terok_native.kept import kept


@kept
@dataclass
class ArchivedTask:
    """An entry of the archive."""

    archive_dir: Path
    #: Time of the archiving as it stands in the entry's name.
    archived_at: str
    task_id: str
    #: The task's own name, empty when it had none.
    name: str
    mode: str | None
    exit_code: int | None


def archive_task(project_id: str, task_id: str, task_dir: Path) -> Path | None:
    """Copy what is known about a task, and the logs in its directory, to an entry of their own.

    Returns:
        The new entry; ``None`` when nothing is known about the task.

    Raises:
        OSError: The entry could not be written as a whole; nothing of it is left, and nothing may be deleted.
    """
    from terok.lib.orchestration.tasks import meta

    entry = _lib.task_archive(meta.tasks_meta_dir(project_id), task_id, task_dir, meta.tasks_archive_dir(project_id))
    return None if entry is None else Path(entry)


def list_archived_tasks(project_id: str) -> list[ArchivedTask]:
    """Return the entries of a project's archive, the newest first; what cannot be read is left out."""
    from terok.lib.orchestration.tasks import meta

    rows = _lib.task_archived(meta.tasks_archive_dir(project_id))
    return [ArchivedTask(**{**row, "archive_dir": Path(row["archive_dir"])}) for row in rows]


def task_archive_list(project_id: str) -> None:
    """Print the entries of a project's archive, a line each."""
    entries = list_archived_tasks(project_id)
    for entry in entries:
        facts = [("mode", entry.mode), ("exit", entry.exit_code)]
        extra = "; ".join(f"{key}={value}" for key, value in facts if value is not None)
        print(f"- {entry.archived_at} #{entry.task_id}: {entry.name}" + (f" [{extra}]" if extra else ""))
    if not entries:
        print("No archived tasks found")


def task_archive_logs(project_id: str, archive_id: str) -> Path | None:
    """Return the log of the newest entry whose name begins with *archive_id* and that has one."""
    from terok.lib.orchestration.tasks import meta

    found = _lib.task_archived_log(meta.tasks_archive_dir(project_id), archive_id)
    return None if found is None else Path(found)
