"""Deleting a project: everything of it goes into an archive first, and without an archive nothing is deleted.

Only what lies strictly below a directory of ours is removed, never through a link, and nothing that holds what another
project needs. What cannot be removed is told and does not keep the rest, but for tasks: while one of them is left,
because its container could not be removed or its record not be archived, the project stays, so that deleting it again
finishes the work. Real credentials, SSH keys and the mirror's content are never archived.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from terok_native.kept import kept

if TYPE_CHECKING:
    from terok.lib.core.project_model import ProjectConfig

__all__ = ["DeleteProjectResult", "delete"]

#: Below the project's root: real tokens of agents whose credentials are exposed.
_NOT_ARCHIVED = {"mounts"}


@kept
class DeleteProjectResult(TypedDict):
    """What went, what stayed and why, and where the archive is."""

    deleted: list[str]
    skipped: list[str]
    archive: str | None


DeleteProjectResult.__module__ = "terok.lib.domain.project"


def delete(project_id: str) -> DeleteProjectResult:
    """Archive and remove the project *project_id*, a broken one as far as its paths can be told.

    ``skipped`` says which tasks keep it from going, if any do.

    Raises:
        SystemExit: unknown, or it could not be archived; nothing was deleted then.
    """
    from terok.lib.core import config, paths
    from terok.lib.domain import broken

    project = _described(project_id)
    state = paths.core_state_dir() / "projects" / project_id
    task_archives, build = config.archive_dir() / project_id, config.build_dir() / project_id
    archive = _archive(project_id, project.root, state, task_archives, build)
    result = DeleteProjectResult(deleted=[], skipped=[], archive=str(archive))
    sharing, foreign = _sharing_gate(project), broken.places_of_others(project_id)
    if left := _delete_tasks(project, result):
        result["skipped"].append(f"project {project_id} stays as long as it has tasks ({', '.join(left)})")
        return result
    for place in (project.tasks_root, state, build, task_archives):
        _remove(Path(place), foreign, result)
    _forget_in_vault(project_id, result)
    _remove_images(project_id, result)
    if sharing:
        result["skipped"].append(f"{project.gate_path}: also the mirror of {', '.join(sharing)}")
    else:
        _remove(Path(project.gate_path), foreign, result)
    if project.staging_root is not None:
        _remove(Path(project.staging_root), foreign, result)
    _remove(Path(project.root), foreign, result)
    return result


def _described(project_id: str) -> ProjectConfig:
    """The project, or what can be said of a broken one: the places that a project of that id has by default."""
    from terok.lib.core import projects
    from terok.lib.domain import broken

    try:
        return projects.load_project(project_id)
    except SystemExit:
        return broken.default_project(project_id)


def _archive(project_id: str, root: Path, state: Path, task_archives: Path, build: Path) -> Path:
    """Write the archive and return its path; what it holds stays where it is."""
    from terok.lib.core import config

    folder = config.archive_dir()
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    target = folder / f"{stamp}_{project_id}.tar.gz"
    part = folder / f".{target.name}.part"
    parts = {"config": root, "state": state, "task-archives": task_archives, "build": build}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _write_archive(part, parts) == 0:
            raise OSError("there is nothing to archive")
        part.rename(target)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise SystemExit(
            f"cannot delete project `{project_id}`: its archive `{target}` could not be written: {error}\n"
            "hint: nothing was deleted; make room, or mend the cause, and try again"
        ) from error
    return target


def _write_archive(part: Path, parts: dict[str, Path]) -> int:
    """Write every regular file below the parts; returns their number. On the disk when this returns."""
    count = 0
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for prefix, base in parts.items():
                for path in _files(base):
                    archive.add(path, arcname=f"{prefix}/{path.relative_to(base)}", recursive=False)
                    count += 1
        file.flush()
        os.fsync(file.fileno())
    return count


def _files(base: Path) -> Iterator[Path]:
    def stop(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for folder, names, files in os.walk(base, onerror=stop):
        if Path(folder) == base:
            names[:] = [name for name in names if name not in _NOT_ARCHIVED]
        for name in sorted(files):
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _sharing_gate(project: ProjectConfig) -> list[str]:
    from terok.lib.domain import project as domain

    return [name for name, _ in domain.find_projects_sharing_gate(project.gate_path, exclude_project=project.id)]


def _delete_tasks(project: ProjectConfig, result: DeleteProjectResult) -> list[str]:
    """Delete every task; those that are left. Podman is asked once which containers there are, when none can be started
    any more."""
    from terok.lib.orchestration import tasks
    from terok.lib.orchestration.tasks import removal

    records = tasks.tasks_meta_dir(project.id)
    known_tasks = list(tasks.iter_task_ids(records))
    for task_id in known_tasks:
        tasks.mark_task_deleting(project.id, task_id)
    containers = _containers(project)
    for task_id in known_tasks:
        try:
            removal.delete(project, task_id, result["skipped"], known=containers)
        except (Exception, SystemExit) as error:
            result["skipped"].append(f"task {task_id}: {error}")
    return list(tasks.iter_task_ids(records))


def _containers(project: ProjectConfig) -> Collection[str] | None:
    """The names of all containers; ``None`` where that cannot be told, so that each task asks for its own."""
    from terok.lib.core import runtime

    try:
        engine: Any = runtime.resolve_runtime(project)
        names: Collection[str] = engine.all_states()
    except (AttributeError, OSError, RuntimeError, SystemExit):
        return None
    return names


def _managed_roots() -> list[Path]:
    from terok.lib.core import config, paths

    cfg = config.make_sandbox_config()
    roots = (
        config.projects_dir(), config.user_projects_dir(), paths.core_state_dir(), config.sandbox_live_dir(),
        cfg.state_dir, config.vault_dir(), config.build_dir(), config.archive_dir(), config.gate_repos_dir(),
    )  # fmt: skip
    return [Path(root).resolve() for root in roots]


def _is_ours(path: Path) -> bool:
    """Strictly below a directory of ours, and the name itself no link."""
    if path.is_symlink():
        return False
    found, roots = path.resolve(), _managed_roots()
    return any(root in found.parents for root in roots) and found not in roots


def _remove(path: Path, foreign: Collection[Path], result: DeleteProjectResult) -> None:
    """Remove a directory, unless it is not ours or something of *foreign* is or lies in it."""
    from terok.lib.orchestration.tasks import removal

    if not os.path.lexists(path):
        return
    if not _is_ours(path):
        result["skipped"].append(f"{path}: not below a directory that belongs to terok")
        return
    if needed := [str(place) for place in foreign if place.is_relative_to(path.resolve())]:
        result["skipped"].append(f"{path}: holds what others need: {', '.join(sorted(needed))}")
        return
    troubles: list[str] = []
    removal.remove_tree(path, troubles)
    if troubles:
        result["skipped"] += troubles
    else:
        result["deleted"].append(str(path))


def _forget_in_vault(project_id: str, result: DeleteProjectResult) -> None:
    """Take the project's keys, tokens and own credentials out of the vault; a locked vault is told and left alone."""
    from terok.lib.core import config
    from terok.lib.domain import vault

    cfg = config.make_sandbox_config()
    if not cfg.db_path.exists():
        return
    try:
        with vault.vault_db(cfg=cfg) as db:
            keys = db.unassign_all_ssh_keys(project_id)
            stored = db.list_credentials(project_id)
            for provider in stored:
                db.delete_credential(project_id, provider)
            for subject in {row["subject"] for row in db.list_tokens() if row["scope"] == project_id}:
                db.revoke_tokens(project_id, subject)
    except (OSError, RuntimeError, ValueError) as error:
        result["skipped"].append(f"SSH keys and credentials in the vault: {str(error).splitlines()[0]}")
        return
    result["deleted"] += [f"{keys} SSH key assignments"] if keys else []
    result["deleted"] += [f"credentials of {', '.join(stored)}"] if stored else []


def _remove_images(project_id: str, result: DeleteProjectResult) -> None:
    from terok.lib.core import images
    from terok.lib.integrations import sandbox

    for name in (images.project_cli_image(project_id), images.project_dev_image(project_id)):
        image = sandbox.PodmanRuntime().image(name)
        try:
            if image.exists():
                (result["deleted"] if image.remove() else result["skipped"]).append(f"image {name}")
        except (OSError, RuntimeError) as error:
            result["skipped"].append(f"image {name}: {error}")
