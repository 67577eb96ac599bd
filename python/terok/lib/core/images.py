"""Names of a project's images, and which agents an image holds."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from terok_native import _lib
from terok_util.shell import command_line

if TYPE_CHECKING:
    from terok.lib.core.project_model import ProjectConfig

AGENTS_LABEL = "ai.terok.agents"
"""Image label with the installed roster entries, joined by commas."""

#: Stands in for a base image that is blank or has nothing a tag can hold; callers rely on it.
_BLANK_BASE = "ubuntu:24.04"


def _base_tag(base_image: str) -> str:
    return _lib.images_base_tag(base_image or "", _BLANK_BASE)


def base_dev_image(base_image: str) -> str:
    """``terok-l0:<base>``: the layer that all agents on this base share."""
    return f"terok-l0:{_base_tag(base_image)}"


def agent_cli_image(base_image: str) -> str:
    """``terok-l1-cli:<base>``: the host's default selection of agents on this base."""
    return f"terok-l1-cli:{_base_tag(base_image)}"


def project_cli_image(project_id: str) -> str:
    """``<project>:l2-cli``: what the project's tasks run."""
    return f"{project_id}:l2-cli"


def project_dev_image(project_id: str) -> str:
    """``<project>:l2-dev``: the project's own instructions without agents."""
    return f"{project_id}:l2-dev"


def installed_agents(image_tag: str) -> frozenset[str]:
    """The agents an image says it holds; empty when there is no such image or it says nothing.

    What an image says is remembered by its identifier, so that a rebuilt tag is asked anew.
    """
    from terok.lib.integrations import sandbox

    image_id = sandbox.PodmanRuntime().image(image_tag).id
    return _agents_of(image_id) if image_id else frozenset()


@lru_cache(maxsize=64)
def _agents_of(image_id: str) -> frozenset[str]:
    from terok.lib.integrations import sandbox

    names = sandbox.PodmanRuntime().image(image_id).labels().get(AGENTS_LABEL, "").split(",")
    return frozenset(name.strip() for name in names if name.strip())


installed_agents.cache_clear = _agents_of.cache_clear  # type: ignore[attr-defined] # callers know it as a cache


def installed_agents_for_project(project: ProjectConfig) -> frozenset[str]:
    """The agents of the image that the project's tasks run; of what it would be built on while there is none."""
    return installed_agents(_image_of(project))


def is_installed(name: str, image_tag: str) -> bool:
    """Whether the image holds the agent; one that does not say is taken to hold every agent."""
    agents = installed_agents(image_tag)
    return not agents or name in agents


def require_agent_installed(project: ProjectConfig, name: str, *, noun: str = "Agent") -> None:
    """Refuse an agent that the project's image does not hold.

    Raises:
        SystemExit: naming the agents it holds and the command that builds it with this one.
    """
    image = _image_of(project)
    agents = installed_agents(image)
    if not agents or name in agents:
        return
    wanted = ",".join(sorted({*agents, name}))
    raise SystemExit(
        f"{noun} `{name}` is not installed in image `{image}` of project `{project.id}`.\n"
        f"Installed: {', '.join(sorted(agents)) or '(none)'}\n"
        f"hint: {command_line('terok', 'project', 'build', '--agents', wanted, project.id)}"
    )


def _image_of(project: ProjectConfig) -> str:
    """The first that exists: the project's image, the agent layer of its last build, the host's default."""
    from terok.lib.core.config import build_dir
    from terok.lib.integrations import sandbox

    own, default = project_cli_image(project.id), agent_cli_image(project.base_image)
    layer = (_lib.images_manifest_read(build_dir() / project.id / "build_manifest.json") or {}).get("l1")
    tag = layer.get("tag") if isinstance(layer, dict) else None
    known = [own, tag] if isinstance(tag, str) and tag else [own]
    runtime = sandbox.PodmanRuntime()
    return next((image for image in known if runtime.image(image).exists()), default)
