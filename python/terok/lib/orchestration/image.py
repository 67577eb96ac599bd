"""A project's images: Dockerfiles, builds, and whether what is built is what would be built now.

Texts, hashes, files and the record of a build are native. The steps of a build are seams: builder, runtime, project and
directory are looked up when they are needed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_native import _lib

from terok.lib.core.config import build_dir
from terok.lib.core.images import project_cli_image, project_dev_image
from terok.lib.core.projects import load_project
from terok.lib.integrations import executor, sandbox

if TYPE_CHECKING:
    from terok_executor import ImageSet

    from terok.lib.core.project_model import ProjectConfig

CONTEXT_LABEL = "terok.build_context_hash"
"""Label of a project's images: hash over the recipes of all their layers."""
_RECIPE_LABEL = "ai.terok.recipe"
_MANIFEST = "build_manifest.json"
_MANIFEST_SCHEMA = 1


@dataclass(frozen=True)
class ProjectImage:
    """The images of one project."""

    project: ProjectConfig

    @classmethod
    def load(cls, project_id: str) -> ProjectImage:
        """The images of a project by its id; ``SystemExit`` as :func:`~terok.lib.core.projects.load_project`."""
        return cls(load_project(project_id))

    @cached_property
    def family(self) -> str:
        """``deb`` or ``rpm``; ``BuildError`` when it is neither set nor known for the base image."""
        return executor.ImageBuilder.detect_family(self.project.base_image, self.project.family)

    @cached_property
    def rendered(self) -> dict[str, str]:
        """Dockerfiles as they would be written now, by file name."""
        return self.render_all_dockerfiles()

    def render_all_dockerfiles(self, *, family: str | None = None) -> dict[str, str]:
        """Texts of ``L0.Dockerfile``, ``L1.cli.Dockerfile`` (with the project's selection) and ``L2.Dockerfile``.

        Raises:
            BuildError: the base image or its package family is not valid.
            ValueError: the selection names entries that do not exist.
            SystemExit: the project's own instructions, address or branch cannot be used.
        """
        return self._render(self._selection(), family)

    @property
    def l0_content_hash(self) -> str:
        """Hash of what the shared layer is made from."""
        return self._hashes["l0"]

    @property
    def l1_content_hash(self) -> str:
        """Hash of what the agent layer is made from."""
        return self._hashes["l1"]

    @property
    def l2_content_hash(self) -> str:
        """Hash of what the project's own layer is made from."""
        return self._hashes["l2"]

    @cached_property
    def context_hash(self) -> str:
        """Hash over all three layers; a built image carries it in the label :data:`CONTEXT_LABEL`."""
        return self._hashes["combined"]

    @property
    def stage_dir(self) -> Path:
        """Where the project's Dockerfiles are."""
        return build_dir() / self.project.id

    @property
    def manifest_path(self) -> Path:
        """Where the record of the last build is."""
        return self.stage_dir / _MANIFEST

    def read_manifest(self) -> dict[str, Any] | None:
        """The record of the last build; see :func:`read_build_manifest`."""
        return _lib.images_manifest_read(self.manifest_path)

    def generate_dockerfiles(self, *, family: str | None = None) -> None:
        """Write Dockerfiles and build files into :attr:`stage_dir` and say so on standard output.

        Raises:
            SystemExit: with the reason, when they cannot be rendered or written.
        """
        with _as_user_errors():
            self._stage(self._render(self._selection(), family))

    def build(
        self, *, include_dev: bool = False, refresh_agents: bool = False, full_rebuild: bool = False,
        agents: str | None = None,
    ) -> None:  # fmt: skip
        """Build what the project's tasks run; see :func:`build_images`."""
        with _as_user_errors():
            selection = self.project.agents if agents is None else agents
            # A mistake in the project's own part is told before minutes go into the layers below it.
            rendered = self._render(selection, None)
            _say(f"==> layers below project `{self.project.id}`: {self.project.base_image}, agents: {selection}")
            images = executor.ImageBuilder(self.project.base_image, family=self.project.family).build_base(
                agents=executor.AgentRoster.parse_selection(selection),
                rebuild=refresh_agents,
                full_rebuild=full_rebuild,
            )
            self._stage(rendered)
            built = self._built(images, rendered)
            self._build_own(project_cli_image(self.project.id), images.l1, built, full_rebuild)
            if include_dev:
                self._build_own(project_dev_image(self.project.id), images.l0, built, full_rebuild)
            self._write_manifest(_manifest(self.project, images, built, agents))

    # -- steps -------------------------------------------------------------------------------------

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return _hashes(self.project.base_image, self.rendered)

    def _selection(self) -> str:
        """The configured selection, or that of the last build as long as the configured one has not changed since."""
        kept = (self.read_manifest() or {}).get("selection")
        if isinstance(kept, dict) and kept.get("configured") == self.project.agents:
            return str(kept.get("built") or self.project.agents)
        return self.project.agents

    def _render(self, selection: str, family: str | None) -> dict[str, str]:
        from terok_executor.container.build import roster_catalog

        project = self.project
        values = {
            "id": project.id,
            "base_image": project.base_image or "",
            "family": family or project.family,
            "agents": selection,
            "security_class": project.security_class,
            "upstream_url": project.upstream_url,
            "default_branch": project.default_branch,
            "root": str(project.root),
            "snippet_file": None if project.snippet_file is None else str(project.snippet_file),
            "snippet_inline": project.snippet_inline,
        }
        return _lib.images_project_render(values, roster_catalog())

    def _stage(self, rendered: dict[str, str]) -> None:
        for warning in _lib.images_project_write(self.project.id, self.stage_dir, rendered):
            print(f"warning: {warning}", file=sys.stderr, flush=True)
        _say(f"Dockerfiles of project `{self.project.id}` are in {self.stage_dir}")

    def _built(self, images: ImageSet, rendered: dict[str, str]) -> dict[str, str]:
        """Hashes of what the layers really were made from; nothing is known of one that does not say."""
        runtime = sandbox.PodmanRuntime()
        l0, l1 = (runtime.image(tag).labels().get(_RECIPE_LABEL, "") for tag in (images.l0, images.l1))
        l2 = _hashes(self.project.base_image, rendered)["l2"]
        return {"l0": l0, "l1": l1, "l2": l2, "combined": _lib.images_combined_hash(l0, l1, l2)}

    def _build_own(self, tag: str, base: str, built: dict[str, str], no_cache: bool) -> None:
        _say(f"==> {tag} on {base}")
        executor.build_project_image(
            dockerfile=self.stage_dir / "L2.Dockerfile",
            context_dir=self.stage_dir,
            target_tag=tag,
            build_args={"BASE_IMAGE": base},
            labels={CONTEXT_LABEL: built["combined"]},
            no_cache=no_cache,
        )

    def _write_manifest(self, manifest: dict[str, Any]) -> None:
        _write_build_manifest(self.project.id, manifest)


# -- the same by project id ------------------------------------------------------------------------


def generate_dockerfiles(project_id: str, *, family: str | None = None) -> None:
    """Write a project's Dockerfiles and build files below the build directory; says where on standard output.

    Args:
        family: ``deb`` or ``rpm``, in place of what the project or its base image says.

    Raises:
        SystemExit: with the reason and what to do about it.
    """
    ProjectImage.load(project_id).generate_dockerfiles(family=family)


def build_images(
    project_id: str, include_dev: bool = False, refresh_agents: bool = False, full_rebuild: bool = False,
    agents: str | None = None,
) -> None:  # fmt: skip
    """Build the images of a project; what happens is shown on standard output while it happens.

    Args:
        include_dev: Build ``<project>:l2-dev`` as well, which has no agents.
        refresh_agents: Install the agents again.
        full_rebuild: Do everything again and fetch the base image again.
        agents: A selection for this build, in place of the project's.

    Raises:
        SystemExit: with the reason and what to do about it.
    """
    effort: dict[str, bool] = {"refresh_agents": refresh_agents, "full_rebuild": full_rebuild}
    ProjectImage.load(project_id).build(include_dev=include_dev, agents=agents, **effort)


def render_all_dockerfiles(project: ProjectConfig, *, family: str | None = None) -> dict[str, str]:
    """Dockerfiles of a project by file name; see :meth:`ProjectImage.render_all_dockerfiles`."""
    return ProjectImage(project).render_all_dockerfiles(family=family)


def l0_content_hash(base_image: str, rendered: dict[str, str]) -> str:
    """Hash of what the shared layer is made from: the base image and its Dockerfile."""
    return _hashes(base_image, rendered)["l0"]


def l1_content_hash(rendered: dict[str, str]) -> str:
    """Hash of what the agent layer is made from: its Dockerfile and every file that is copied into it."""
    return _hashes("", rendered)["l1"]


def l2_content_hash(rendered: dict[str, str]) -> str:
    """Hash of what the project's own layer is made from."""
    return _hashes("", rendered)["l2"]


def build_context_hash_from_rendered(project: ProjectConfig, rendered: dict[str, str]) -> str:
    """Hash over all layers of a project whose Dockerfiles are at hand."""
    return _hashes(project.base_image, rendered)["combined"]


def build_context_hash(project_id: str) -> str:
    """Hash over all layers of a project as they would be built now."""
    return ProjectImage.load(project_id).context_hash


def read_build_manifest(project_id: str) -> dict[str, Any] | None:
    """The record of a project's last build, or ``None`` when there is none that can be read.

    Keys: ``schema``, ``base_image``, ``l0``, ``l1``, ``l2_cli`` (each with ``tag`` and ``content_hash``),
    ``combined_hash``; after a build with a selection of its own also ``selection``.
    """
    return _lib.images_manifest_read(_manifest_path(project_id))


def image_exists(image: str) -> bool:
    """True when the image is in the local store."""
    return sandbox.PodmanRuntime().image(image).exists()


def stale_layers(project: ProjectConfig, rendered: dict[str, str]) -> list[str]:
    """The layers, of ``l0``, ``l1`` and ``l2``, that the last build made from something else than these texts."""
    return _lib.images_stale_layers(_hashes(project.base_image, rendered), read_build_manifest(project.id))


def _manifest_path(project_id: str) -> Path:
    return build_dir() / project_id / _MANIFEST


def _write_build_manifest(project_id: str, manifest: dict[str, Any]) -> None:
    _lib.images_manifest_write(_manifest_path(project_id), manifest)


def _manifest(
    project: ProjectConfig, images: ImageSet, built: dict[str, str], agents: str | None
) -> dict[str, Any]:  # fmt: skip
    manifest: dict[str, Any] = {
        "schema": _MANIFEST_SCHEMA,
        "base_image": project.base_image,
        "l0": {"tag": images.l0, "content_hash": built["l0"]},
        "l1": {"tag": images.l1, "content_hash": built["l1"]},
        "l2_cli": {"tag": project_cli_image(project.id), "content_hash": built["l2"]},
        "combined_hash": built["combined"],
    }
    if agents is not None:
        manifest["selection"] = {"built": agents, "configured": project.agents}
    return manifest


def _hashes(base_image: str, rendered: dict[str, str]) -> dict[str, str]:
    from terok_executor.container.build import roster_catalog

    return _lib.images_project_hashes(base_image or "", rendered, roster_catalog())


@contextmanager
def _as_user_errors() -> Iterator[None]:
    """What a build or a selection complains about is for the user to mend."""
    try:
        yield
    except (executor.BuildError, ValueError) as error:
        raise SystemExit(str(error)) from error


def _say(text: str) -> None:
    print(text, flush=True)
