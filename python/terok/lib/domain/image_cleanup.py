"""The images of this family in the local store: listed, found without an owner, removed.

An image belongs to us by its name (layers below projects) or by what a build left in it (projects' images, images that
lost their name). An image of a project whose configuration is broken has an owner.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terok_sandbox.runtime.protocol import Image

_LAYERS = ("terok-l0", "terok-l1-cli", "terok-l1-sidecar")
_PROJECT_TAGS = ("l2-cli", "l2-dev")
_NONE = "<none>"
#: Labels that only our builds leave.
_MARKS = ("terok.build_context_hash", "ai.terok.recipe")
_BUILT_ON = ("terok-l0", "terok-l1")
_IDENTIFIER = re.compile(r"(?:sha256:)?[0-9a-f]{12,64}")
#: Every id that a broken configuration might mean.
_ANY_ID = re.compile(r"""^\s*id:\s*["']?([A-Za-z0-9_.-]+)""", re.MULTILINE)


@dataclass
class ImageInfo:
    """One name of an image, in podman's own words."""

    repository: str
    tag: str
    image_id: str
    size: str
    created: str

    @property
    def full_name(self) -> str:
        """``repository:tag``, or the start of the identifier for an image without a name."""
        if self.repository == _NONE and self.tag == _NONE:
            return f"{_NONE} ({_plain(self.image_id)[:12]})"
        return f"{self.repository}:{self.tag}"

    @property
    def project_key(self) -> str:
        """The repository without ``localhost/``; of a project's image that is the project."""
        return self.repository.removeprefix("localhost/")

    @classmethod
    def from_image(cls, image: Image) -> ImageInfo:
        """What a runtime tells about an image it listed."""
        # A listed image is referred to by its identifier; asking for that again would be one call each.
        known = image.ref if _IDENTIFIER.fullmatch(image.ref) else image.id or ""
        return cls(image.repository, image.tag, _plain(known), image.size, image.created)


@dataclass
class CleanupResult:
    """Display names of the images that went and of those that did not."""

    removed: list[str]
    failed: list[str]
    dry_run: bool


def list_images(project_id: str | None = None) -> list[ImageInfo]:
    """Our images; with a project, without those of other projects.

    Names of the layers below projects are enough. An image that only has a project's tag must be of a project that is
    known, or have been made by us.
    """
    known = _known_project_ids() or set()
    found = (ImageInfo.from_image(image) for image in _runtime_images())
    ours = [info for info in found if _is_layer(info) or (_is_project_image(info) and _is_owned(info, known))]
    return [info for info in ours if project_id is None or _is_layer(info) or info.project_key == project_id]


def find_orphaned_images() -> list[ImageInfo]:
    """Images of ours that nobody needs: those without a name, then those of projects that do not exist (any more).

    While the projects cannot be listed, no project's image is an orphan.
    """
    orphans = [ImageInfo.from_image(image) for image in _runtime_images(dangling_only=True)]
    known = _known_project_ids()
    if known is not None:
        listed = (ImageInfo.from_image(image) for image in _runtime_images())
        orphans += [info for info in listed if _is_project_image(info) and info.project_key not in known]
    unique: dict[str, ImageInfo] = {}
    for info in orphans:
        unique.setdefault(info.image_id, info)
    return [info for info in unique.values() if _is_terok_built_image(info.image_id)]


def remove_images(images: Iterable[ImageInfo], *, dry_run: bool = False) -> CleanupResult:
    """Remove images by their names, those without one by their identifier; one that stays does not stop the others.

    An image that has further names keeps these, and one that a container uses stays.
    """
    from terok.lib.integrations import sandbox

    result = CleanupResult([], [], dry_run)
    runtime = sandbox.PodmanRuntime()
    for info in images:
        reference = info.image_id if _NONE in (info.repository, info.tag) else info.full_name
        try:
            gone = dry_run or runtime.image(reference).remove()
        except Exception:
            gone = False
        (result.removed if gone else result.failed).append(info.full_name)
    return result


def cleanup_images(dry_run: bool = False) -> CleanupResult:
    """Remove every image that :func:`find_orphaned_images` finds."""
    return remove_images(find_orphaned_images(), dry_run=dry_run)


def _runtime_images(*, dangling_only: bool = False) -> list[Image]:
    from terok.lib.integrations import sandbox

    return sandbox.PodmanRuntime().images(dangling_only=dangling_only)


def _is_layer(info: ImageInfo) -> bool:
    return info.project_key.startswith(_LAYERS)


def _is_project_image(info: ImageInfo) -> bool:
    return info.tag in _PROJECT_TAGS


def _is_owned(info: ImageInfo, known: set[str]) -> bool:
    return info.project_key in known or _is_terok_built_image(info.image_id)


def _is_terok_built_image(image_id: str) -> bool:
    """Whether a build of ours left its mark, in a label or in the history."""
    from terok.lib.integrations import sandbox

    image = sandbox.PodmanRuntime().image(image_id)
    labels = image.labels()
    if any(labels.get(mark) for mark in _MARKS):
        return True
    return any(layer in line for line in image.history() for layer in _BUILT_ON)


def _known_project_ids() -> set[str] | None:
    """Names of all projects, broken ones included; ``None`` when they cannot be listed."""
    from terok.lib.core.projects import discover_projects

    try:
        healthy, broken = discover_projects()
    except (Exception, SystemExit):
        return None
    known = {project.id for project in healthy} | {project.id for project in broken}
    for project in broken:
        known |= _ids_in(project.config_path)
    return known


def _ids_in(config: Path) -> set[str]:
    try:
        return set(_ANY_ID.findall(config.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return set()


def _plain(image_id: str) -> str:
    return image_id.removeprefix("sha256:")
