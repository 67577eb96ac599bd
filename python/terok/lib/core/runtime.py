"""Which container runtime a project uses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from terok.lib.core import config

if TYPE_CHECKING:
    from terok_sandbox.runtime import ContainerRuntime

    from terok.lib.core.project_model import ProjectConfig

RuntimeName = Literal["crun", "krun", "null"]


def runtime_name(project: ProjectConfig | None = None) -> str:
    """Return the runtime's name: ``TEROK_RUNTIME``, the project's, ``run.runtime`` of ``config.yml``, ``crun``.

    An unknown name is refused; so is ``TEROK_RUNTIME`` when it is set to nothing. New containers and whatever looks
    at existing ones use this one answer.
    """
    ambient = os.environ.get("TEROK_RUNTIME")
    if ambient is not None:
        name = ambient.strip().lower()
    else:
        name = (project.runtime if project else None) or config.get_global_run_runtime() or "crun"
    if name not in ("crun", "krun", "null"):
        source = "`TEROK_RUNTIME`" if ambient is not None else "the configuration"
        raise SystemExit(f"unknown container runtime {name!r} in {source}: it must be crun, krun or null")
    if name == "krun" and not config.is_experimental():
        raise SystemExit(
            "runtime krun is experimental: pass `--experimental`, or put `experimental: true` into config.yml"
        )
    return name


def resolve_runtime(project: ProjectConfig | None = None) -> ContainerRuntime:
    """Return a new runtime for a project, or for what belongs to none; refuses as :func:`runtime_name` does."""
    from terok.lib.integrations import executor, sandbox

    match runtime_name(project):
        case "null":
            return sandbox.NullRuntime()
        case "krun":
            return executor.KrunHost(cfg=config.make_sandbox_config()).runtime()
        case _:
            return sandbox.PodmanRuntime()
