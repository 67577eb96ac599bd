"""The agent configuration of a task, from all layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from terok.lib.core import config, projects

if TYPE_CHECKING:
    from terok_util.config_stack import ConfigStack

#: What a layer says, or nothing.
Layer: TypeAlias = dict[str, Any] | None


def build_agent_config_stack(
    project_id: str, *, agent_config: Layer = None, project_root: Path | None = None,
    preset: str | None = None, cli_overrides: Layer = None,
) -> ConfigStack:  # fmt: skip
    """Return the layers: ``config.yml``, the project's *agent_config*, a preset, *cli_overrides*; empty ones left out.

    Each names its file, where it has one. Raises ``SystemExit`` for a preset that cannot be used.
    """
    from terok_util.config_stack import ConfigScope, ConfigStack

    layers = [
        ("global", None, config.get_global_agent_config()),
        ("project", project_root / "project.yml" if project_root else None, agent_config),
    ]
    if preset:
        content, path = projects.load_preset(project_id, preset)
        layers.append((_preset_level(path), path, content))
    layers.append(("cli", None, cli_overrides))
    stack = ConfigStack()
    for level, source, data in layers:
        if data:
            stack.push(ConfigScope(level, source, data))
    return stack


def _preset_level(path: Path) -> str:
    tiers = {config.bundled_presets_dir(): "bundled", config.user_presets_dir(): "user"}
    return f"preset ({tiers.get(path.parent, 'project')})"


def resolve_agent_config(
    project_id: str, *, agent_config: Layer = None, project_root: Path | None = None,
    preset: str | None = None, cli_overrides: Layer = None,
) -> dict[str, Any]:  # fmt: skip
    """Return all layers of :func:`build_agent_config_stack` as one mapping."""
    layers = {"agent_config": agent_config, "cli_overrides": cli_overrides}
    return build_agent_config_stack(project_id, project_root=project_root, preset=preset, **layers).resolve()
