"""The executor's part of ``config.yml`` as pydantic models."""

from __future__ import annotations

import typing
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from terok_native.kept import kept
from terok_sandbox.config_schema import SandboxConfigView


class RawImageSection(BaseModel):
    """What images are built from; used in ``config.yml`` and in ``project.yml``."""

    model_config = ConfigDict(extra="forbid")

    base_image: str = Field(default="fedora:44", description="Image that everything is built on.")
    family: typing.Literal["deb", "rpm"] | None = Field(
        default=None, description="Package family of the base image; unset means: tell from its name."
    )
    trust_host_ca: typing.Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether images trust the certificates that this host trusts beyond the usual ones; always also "
        "takes bundles named in the environment as a whole.",
    )
    agents: str | None = Field(default=None, description="Agents to install: all, or a list of names.")
    user_snippet_inline: str | None = Field(default=None, description="Dockerfile lines of your own.")
    user_snippet_file: str | None = Field(default=None, description="File with Dockerfile lines of your own.")


@kept
class ExecutorConfigView(SandboxConfigView):
    """The sandbox's sections and ``image``."""

    image: RawImageSection = Field(default_factory=RawImageSection)

    @staticmethod
    def image_agents() -> str | None:
        """See :func:`terok_executor.config.image_agents`."""
        from terok_executor import config

        return config.image_agents()

    @staticmethod
    def image_base_image() -> str | None:
        """See :func:`terok_executor.config.image_base_image`."""
        from terok_executor import config

        return config.image_base_image()

    @staticmethod
    def set_image_agents(selection: str) -> Path:
        """See :func:`terok_executor.config.set_image_agents`."""
        from terok_executor import config

        return config.set_image_agents(selection)
