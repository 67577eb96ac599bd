"""The end of a task.

Invariants: nothing goes before the record is archived; what is on disk goes only after the containers; a task whose
container survived stays listed, marked as being deleted, and deleting it again finishes the work.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_util.tty import clean_text

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok.lib.core.project_model import ProjectConfig

_UNSHARE_LIMIT_S = 300
#: How much of the end of an error output is shown.
_COMPLAINT_BYTES = 16384


def delete(
    project: ProjectConfig, task_id: str, warnings: list[str], *, known: Collection[str] | None = None
) -> None:  # fmt: skip
    """Archive the task, remove its containers, then everything else of it; *warnings* takes what could not be done.

    *known* are the names of all containers there are, where the caller has asked podman already.
    """
    from terok.lib.core.task_state import CONTAINER_MODES, container_name
    from terok.lib.orchestration import ports
    from terok.lib.orchestration.task_runners import record
    from terok.lib.orchestration.tasks import meta as metadata

    meta_dir = metadata.tasks_meta_dir(project.id)
    handle = metadata.dossier_path(meta_dir, task_id)
    meta = _meta_of(meta_dir, task_id, warnings)
    mode = meta.get("mode")
    if metadata.task_exists(project.id, task_id):
        metadata.mark_task_deleting(project.id, task_id)
        if not _archived(project, task_id, meta, warnings):
            with contextlib.suppress(OSError, ValueError):
                record.forget(project.id, task_id, "deleting")
            return
    names = [container_name(project.id, kind, task_id) for kind in CONTAINER_MODES]
    cleaned: set[str] = set()
    survivors = remove_containers(project, names, cleaned, known=known)
    if survivors:
        warnings += [f"container {name} could not be removed: {why}" for name, why in survivors.items()]
        warnings.append(
            f"task {task_id} stays listed, and its supervisor may still hold a valid gate token; stop the container "
            "with podman, or use `terok panic`, and delete the task again"
        )
        if meta.get("web_port"):
            warnings.append(f"web port {meta['web_port']} stays claimed")
        return
    if mode and not cleaned:
        _revoke_tokens(project, task_id)
    if mode:
        cname = container_name(project.id, mode, task_id)
        record.fire("post_stop", project, task_id, mode=mode, cname=cname, handle=handle, web_port=meta.get("web_port"))
    _remove_files(project, task_id, meta_dir, warnings)
    ports.release_web_port(project.id, task_id)


def _meta_of(meta_dir: Path, task_id: str, warnings: list[str]) -> dict[str, Any]:
    """What is recorded of the task; a damaged record does not keep it from being deleted."""
    from terok.lib.orchestration.tasks import meta as metadata

    try:
        return metadata.read_task_meta(meta_dir, task_id) or {}
    except Exception as error:
        warnings.append(f"the record of task {task_id} cannot be read: {error}")
        return {}


def _archived(project: ProjectConfig, task_id: str, meta: dict[str, Any], warnings: list[str]) -> bool:
    """Keep the record and the last output; false when that fails, and nothing may be removed then."""
    from terok.lib.orchestration.task_runners import record
    from terok.lib.orchestration.tasks import archive, lifecycle

    kept = meta.get("archived_as")
    if isinstance(kept, str) and Path(kept).is_dir():
        return True  # by a deletion that could not go on
    if meta.get("mode"):
        lifecycle.capture_task_logs(project, task_id, meta["mode"])
    try:
        entry = archive.archive_task(project.id, task_id, Path(project.tasks_root) / task_id)
    except Exception as error:
        warnings.append(
            f"task {task_id} was not deleted: its record could not be archived ({error}); make room and delete it again"
        )
        return False
    # Without the note a deletion that is repeated archives the task once more; a damaged record cannot take one.
    with contextlib.suppress(OSError, ValueError):
        record.note(project.id, task_id, archived_as=str(entry))
    return True


def remove_containers(
    project: ProjectConfig, names: list[str], cleaned: set[str] | None = None, *, known: Collection[str] | None = None
) -> dict[str, str]:
    """Kill and remove containers and what their launches left; why those that are still there could not be removed.

    *cleaned* takes the names of which something was known; their tokens are revoked. *known*: as for :func:`delete`.
    """
    from terok_sandbox import launch

    from terok.lib.core import config, runtime
    from terok.lib.util.logging_utils import log_warning

    engine = runtime.resolve_runtime(project)
    try:
        there = names if known is None else [name for name in names if name in known]
        rows = engine.force_remove([engine.container(name) for name in there])
    except Exception as error:
        return {name: str(error) for name in names}
    survivors = {row.name: row.error or "podman gave no reason" for row in rows if not row.removed}
    cfg = config.make_sandbox_config()
    for name in names:
        if name in survivors:
            continue
        try:
            if launch.cleanup(name, cfg=cfg) and cleaned is not None:
                cleaned.add(name)
        except Exception as error:
            log_warning(f"what container {name} left could not be removed: {error}")
    return survivors


def _revoke_tokens(project: ProjectConfig, task_id: str) -> None:
    """End the phantom tokens of a task that others launched; a vault that does not open is logged."""
    from terok.lib.core import config
    from terok.lib.util.logging_utils import log_warning

    try:
        cfg = config.make_sandbox_config()
        if not Path(cfg.db_path).exists():
            return
        db = cfg.open_credential_db()
        try:
            db.revoke_tokens(project.id, task_id)
        finally:
            db.close()
    except Exception as error:
        log_warning(f"the tokens of task {task_id} could not be revoked: {error}")


def _remove_files(project: ProjectConfig, task_id: str, meta_dir: Path, warnings: list[str]) -> None:
    """The task's directory first: while something of it is there, the record says whose it is."""
    from terok_native import _lib

    if not remove_tree(Path(project.tasks_root) / task_id, warnings):
        warnings.append(f"task {task_id} stays listed; when nothing is in the way any more, delete it again")
        return
    try:
        _lib.task_forget(meta_dir, task_id)
    except Exception as error:
        warnings.append(f"the record of task {task_id} could not be removed: {error}")


def remove_tree(workspace: Path, warnings: list[str]) -> bool:
    """Remove a directory of ours, also files of users that exist only in the container's user namespace.

    Returns:
        Whether nothing is left; else *warnings* says why.
    """
    from terok_native import _lib

    try:
        _lib.task_remove_tree(workspace.parent, workspace.name)
        return True
    except OSError as error:
        said = str(error)
    command = ["podman", "unshare", "rm", "-rf", "--one-file-system", "--", str(workspace)]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_UNSHARE_LIMIT_S
        )
        said = clean_text(done.stderr[-_COMPLAINT_BYTES:]).strip() or said
    if not os.path.lexists(workspace):
        return True
    warnings.append(f"directory {workspace} could not be removed: {said}")
    return False
