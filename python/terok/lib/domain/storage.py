"""How much room images, shared directories and projects take, in bytes.

Layers that images share count once: for the layers below projects, else for the first project that has them. An
image's own size, as podman tells it, includes everything below it. Copies that podman makes for user mappings are not
in any of this, because it does not tell about them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from terok_executor.storage import SharedMountStorageInfo, TaskStorageInfo
from terok_native import _lib

from terok.lib.core.config import sandbox_live_dir, sandbox_live_mounts_dir
from terok.lib.core.projects import discover_projects, load_project
from terok.lib.core.task_state import CONTAINER_MODES
from terok.lib.domain.image_cleanup import ImageInfo, list_images

if TYPE_CHECKING:
    from pathlib import Path

    from terok.lib.core.project_model import ProjectConfig

ORPHAN_PROJECT_ID = "(orphans)"
"""Stands for all projects' images whose project does not exist."""

_SIZE = re.compile(r"([\d.]+)\s*([a-zA-Z]+)")
_LETTERS = "KMGT"
_UNITS = {"B": 1}
_UNITS |= {f"{letter}B": 1000**power for power, letter in enumerate(_LETTERS, 1)}
_UNITS |= {f"{letter}IB": 1024**power for power, letter in enumerate(_LETTERS, 1)}
_GLOBAL = ("terok-l0", "terok-l1-cli", "terok-l1-sidecar")


@dataclass(frozen=True)
class ProjectSummary:
    """One project in the overview."""

    project_id: str
    image_bytes: int
    """What its images need beyond the layers that were counted before."""
    workspace_bytes: int
    """The tasks' workspaces, without the agents' own configuration."""
    task_count: int
    credential_mounts_bytes: int = 0
    """Logins of its own; 0 when it shares those of all projects."""

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.image_bytes + self.workspace_bytes + self.credential_mounts_bytes


@dataclass(frozen=True)
class StorageOverview:
    """Everything, project by project."""

    global_images: list[ImageInfo]
    """The layers below projects."""
    shared_mounts: list[SharedMountStorageInfo]
    """The directories that all containers share."""
    projects: list[ProjectSummary]

    @property
    def global_images_bytes(self) -> int:
        """Room for the layers below projects."""
        return sum(map(_bytes, self.global_images))

    @property
    def shared_mounts_bytes(self) -> int:
        """Room for the directories that all containers share."""
        return sum(mount.bytes for mount in self.shared_mounts)

    @property
    def projects_bytes(self) -> int:
        """Room for all projects."""
        return sum(project.total_bytes for project in self.projects)

    @property
    def grand_total(self) -> int:
        """Everything together."""
        return self.global_images_bytes + self.shared_mounts_bytes + self.projects_bytes


@dataclass(frozen=True)
class ProjectDetail:
    """One project."""

    project_id: str
    images: list[ImageInfo]
    """Its own images."""
    tasks: list[TaskStorageInfo]
    overlays: dict[str, int]
    """Bytes that the containers of each task have written outside of the workspace, by task."""
    credential_mounts_bytes: int = 0
    """Logins of its own; 0 when it shares those of all projects."""

    @property
    def images_bytes(self) -> int:
        """Room for the project's images, without the layers below."""
        return sum(map(_bytes, self.images))

    @property
    def workspace_bytes(self) -> int:
        """Room for the tasks' workspaces."""
        return sum(task.workspace_bytes for task in self.tasks)

    @property
    def overlay_bytes(self) -> int:
        """Room for what containers have written."""
        return sum(self.overlays.values())

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.images_bytes + self.workspace_bytes + self.overlay_bytes + self.credential_mounts_bytes


def parse_image_size(text: str) -> int:
    """Bytes of the first number with a unit (``1.5 GiB``, ``300MB``); 0 when there is none that is known."""
    found = _SIZE.search(text)
    factor = _UNITS.get(found.group(2).upper()) if found else None
    if found is None or factor is None:
        return 0
    try:
        return int(float(found.group(1)) * factor)
    except ValueError:
        return 0


def format_bytes(n: int) -> str:
    """Bytes for people: powers of 1000, one decimal place from ``KB`` on."""
    if n < 1000:
        return f"{n} B"
    power = 1
    while power < len(_LETTERS) and n >= 1000 ** (power + 1):
        power += 1
    return f"{n / 1000**power:.1f} {_LETTERS[power - 1]}B"


def get_storage_overview() -> StorageOverview:
    """Images, shared directories and all projects, broken ones included.

    Projects' images without a project come last, as :data:`ORPHAN_PROJECT_ID`, when there are any. Containers are not
    measured; :func:`get_project_storage_detail` does that.
    """
    healthy, broken = discover_projects()
    images = _measured(list_images())
    summaries = [_summary(project.id, project.tasks_root, images, _mounts_bytes(project)) for project in healthy]
    default = sandbox_live_dir() / "tasks"
    summaries += [_summary(project.id, default / project.id, images) for project in broken]
    known = {summary.project_id for summary in summaries}
    orphans = sum(_bytes(image) for image in images if not _is_global_image(image) and image.project_key not in known)
    if orphans:
        summaries.append(ProjectSummary(ORPHAN_PROJECT_ID, orphans, 0, 0))
    mounts = SharedMountStorageInfo.measure_all(sandbox_live_mounts_dir())
    return StorageOverview([image for image in images if _is_global_image(image)], mounts, summaries)


def get_project_storage_detail(project_id: str) -> ProjectDetail:
    """One project in detail; ``SystemExit`` when it does not exist or cannot be read."""
    project = load_project(project_id)
    images = [image for image in _measured(list_images(project.id)) if not _is_global_image(image)]
    tasks = TaskStorageInfo.measure_all(project.tasks_root)
    return ProjectDetail(project.id, images, tasks, _overlays(project.id), _mounts_bytes(project))


def _summary(project_id: str, tasks_root: Path, images: list[ImageInfo], mounts: int = 0) -> ProjectSummary:
    tasks = TaskStorageInfo.measure_all(tasks_root)
    own = sum(_bytes(image) for image in images if not _is_global_image(image) and image.project_key == project_id)
    return ProjectSummary(project_id, own, sum(task.workspace_bytes for task in tasks), len(tasks), mounts)


def _mounts_bytes(project: ProjectConfig) -> int:
    """Bytes of the agents' logins that belong to one project alone."""
    folder = project.project_mounts_dir
    if project.credentials_scope != "project" or not folder.is_dir():
        return 0
    return sum(mount.bytes for mount in SharedMountStorageInfo.measure_all(folder))


def _overlays(project_id: str) -> dict[str, int]:
    """Bytes that containers have written, by task.

    Podman finds containers by the start of their name, which may be that of a longer project id as well. A task id has
    no dash, so what is left of a name tells the two apart.
    """
    from terok.lib.integrations import sandbox

    measure = getattr(sandbox.PodmanRuntime(), "container_rw_sizes", None)
    sizes: dict[str, int] = measure(project_id) if measure else {}
    overlays: dict[str, int] = {}
    for name, size in sizes.items():
        mode, _, task_id = name.removeprefix(f"{project_id}-").partition("-")
        if mode in CONTAINER_MODES and task_id and "-" not in task_id:
            overlays[task_id] = overlays.get(task_id, 0) + size
    return overlays


def _measured(images: Iterable[ImageInfo]) -> list[ImageInfo]:
    """The images, layers below projects first, each with the bytes that it adds to those before it."""
    ordered = sorted(images, key=lambda image: not _is_global_image(image))
    added: dict[str, int] = {}
    for image_id, size in _lib.images_added_bytes([image.image_id for image in ordered]):
        added[image_id] = max(size, added.get(image_id, 0))
    for image in ordered:
        # The second name of an image adds nothing.
        if image.image_id in added:
            vars(image)["_added"] = added[image.image_id]
            added[image.image_id] = 0
    return ordered


def _bytes(image: ImageInfo) -> int:
    known: int | None = vars(image).get("_added")
    return parse_image_size(image.size) if known is None else known


def _is_global_image(image: ImageInfo) -> bool:
    return image.project_key.startswith(_GLOBAL)
