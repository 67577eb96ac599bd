"""The metadata of tasks: two small files for each, ``<task>_dossier.json`` and ``<task>_meta.yml``.

Reading needs no lock. Every change is made under the lock of the task, to the keys it names, and replaces whole files:
changes of different keys never undo each other, whichever process makes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from terok_native import _lib

_Meta: TypeAlias = dict[str, Any]

#: Where a container finds its task's ``agent-config`` directory.
CONTAINER_TEROK_CONFIG = "/home/dev/.terok"


def tasks_meta_dir(project_id: str) -> Path:
    """Return the directory of the metadata of a project's tasks; it need not exist.

    Raises:
        SystemExit: The identifier is no plain name.
    """
    from terok.lib.core import paths

    _lib.task_check_name("project", project_id)
    return paths.core_state_dir() / "projects" / project_id / "tasks"


def tasks_archive_dir(project_id: str) -> Path:
    """Return the directory of a project's archived tasks; it need not exist.

    Raises:
        SystemExit: The identifier is no plain name.
    """
    from terok.lib.core import config

    _lib.task_check_name("project", project_id)
    return config.archive_dir() / project_id / "tasks"


def dossier_path(meta_dir: Path, task_id: str) -> Path:
    """Return where the dossier of a task lies: what the supervisor reads about it.

    Raises:
        SystemExit: The identifier is no plain name.
    """
    return Path(_lib.task_dossier_path(meta_dir, task_id))


def meta_path(meta_dir: Path, task_id: str) -> Path:
    """Return where everything else about a task lies.

    Raises:
        SystemExit: The identifier is no plain name.
    """
    return Path(_lib.task_meta_path(meta_dir, task_id))


def agent_config_dir(project_id: str, task_id: str) -> Path:
    """Return the directory that a task's container has at :data:`CONTAINER_TEROK_CONFIG`."""
    from terok.lib.core import projects

    _lib.task_check_name("task", task_id)
    return Path(projects.load_project(project_id).tasks_root) / task_id / "agent-config"


def read_task_meta(meta_dir: Path, task_id: str) -> _Meta | None:
    """Return both files of a task as one mapping, ``None`` when neither exists.

    Raises:
        ValueError: A file does not hold what it should; the text names file and line.
        OSError: A file cannot be read.
    """
    return _lib.task_read(meta_dir, task_id)


def write_task_meta(dossier_handle: Path, meta: Mapping[str, Any]) -> None:
    """Replace everything that is known about a task; whoever wants to change a key takes :func:`update_task_meta`.

    Args:
        dossier_handle: What :func:`dossier_path` returns. Its directory is created where needed.

    Raises:
        ValueError: The handle is another path, or a value cannot be written.
        OSError: A file cannot be written; it is as it was.
    """
    _lib.task_write(dossier_handle, dict(meta))


def update_task_meta(project_id: str, task_id: str, changes: Mapping[str, Any], *, remove: Sequence[str] = ()) -> bool:
    """Set and remove single keys of a task and leave all others as they are.

    Returns:
        ``False`` when there is no such task; nothing was written then.

    Raises:
        ValueError: A file of the task does not hold what it should, or a value cannot be written.
        OSError: A file cannot be written; it is as it was.
    """
    return _lib.task_update(tasks_meta_dir(project_id), task_id, dict(changes), list(remove))


def load_task_meta(project_id: str, task_id: str, expected_mode: str | None = None) -> tuple[_Meta, Path]:
    """Return what is known about a task, and the path of its dossier.

    Raises:
        SystemExit: There is no such task, or it runs in another mode than the expected one.
    """
    folder = tasks_meta_dir(project_id)
    found = read_task_meta(folder, task_id)
    if found is None:
        raise SystemExit(f"Unknown task {task_id}")
    mode = found.get("mode")
    if expected_mode is not None and mode and mode != expected_mode:
        raise SystemExit(f"task {task_id} runs in mode {mode!r}; this needs a task of mode {expected_mode!r}")
    return found, dossier_path(folder, task_id)


def iter_task_ids(meta_dir: Path) -> Iterator[str]:
    """Iterate over the names that files of tasks have, each once, in the order of the directory."""
    yield from _lib.task_ids(meta_dir)


def task_exists(project_id: str, task_id: str) -> bool:
    """Whether one of the two files of the task exists."""
    return _lib.task_exists(tasks_meta_dir(project_id), task_id)


def update_task_exit_code(project_id: str, task_id: str, exit_code: int | None) -> None:
    """Record how the task's program ended; ``None`` while it runs again. A task that is gone is left alone."""
    update_task_meta(project_id, task_id, {"exit_code": exit_code})


def mark_task_deleting(project_id: str, task_id: str) -> None:
    """Mark the task as being deleted, so that front ends show it and a deletion cut short can be repeated.

    Nothing is raised; a mark that cannot be written is in the log.
    """
    try:
        _lib.task_mark_deleting(tasks_meta_dir(project_id), task_id)
    except (SystemExit, Exception) as error:
        _warn(f"task {task_id} of {project_id} could not be marked as being deleted: {error}")


def record_hook(handle: Path, hook_name: str) -> bool:
    """Add the hook to ``hooks_fired`` of the task, once.

    Args:
        handle: Either of the task's two files, or the one file of an older layout.

    Returns:
        ``False`` when there is no file to record it in.
    """
    return _lib.task_record_hook(handle, hook_name)


def _warn(text: str) -> None:
    from terok.lib.util.logging_utils import log_warning

    log_warning(text)
