"""The executor's part of ``config.yml`` as pydantic models."""

from __future__ import annotations

import typing
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from terok_sandbox.config_schema import SandboxConfigView


class RawImageSection(BaseModel):
    """What images are built from; used in ``config.yml`` and in ``project.yml``."""

    model_config = ConfigDict(extra="forbid")

    base_image: str = Field(default="fedora:44", description="Image that everything is built on.")
    family: typing.Literal["deb", "rpm"] | None = Field(
        default=None, description="Package family of the base image; unset means: tell from its name."
    )
    agents: str | None = Field(default=None, description="Agents to install: all, or a list of names.")
    user_snippet_inline: str | None = Field(default=None, description="Dockerfile lines of your own.")
    user_snippet_file: str | None = Field(default=None, description="File with Dockerfile lines of your own.")


class ExecutorConfigView(SandboxConfigView):
    """The sandbox's sections and ``image``."""

    image: RawImageSection = Field(default_factory=RawImageSection)

    @staticmethod
    def image_agents() -> str | None:
        """Return ``image.agents`` of the merged configuration as text, or ``None``; a list is joined by commas."""
        return _image_text("agents")

    @staticmethod
    def image_base_image() -> str | None:
        """Return ``image.base_image`` of the merged configuration, or ``None``; no default is applied."""
        return _image_text("base_image")

    @staticmethod
    def set_image_agents(selection: str) -> Path:
        """Write ``image.agents`` into the writable ``config.yml``, leaving the rest as it is; return that file.

        The selection is written as given. Raises ``ValueError`` when the file is not one mapping.
        """
        from terok_sandbox._yaml import yaml_update_section

        from terok_executor.config import writable_config_path

        path = writable_config_path()
        yaml_update_section(path, "image", {"agents": selection})
        return path


def _image_text(key: str) -> str | None:
    """One member of the merged section ``image``; a section that does not validate counts as absent."""
    from terok_native import _lib
    from terok_util import paths

    section = _lib.base_config_section("image", paths._is_root())
    if set(section) - set(RawImageSection.model_fields):
        return None
    return _as_text(section.get(key)) or None


def _as_text(value: typing.Any) -> str:
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return "" if value is None or isinstance(value, (bool, dict)) else str(value)
