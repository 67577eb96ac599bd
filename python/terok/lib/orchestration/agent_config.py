"""The agent configuration of a task, from all layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok.lib.core import config, projects

if TYPE_CHECKING:
    from terok_util.config_stack import ConfigStack


def build_agent_config_stack(
    project_id: str,
    *,
    agent_config: dict[str, Any] | None = None,
    project_root: Path | None = None,
    preset: str | None = None,
    cli_overrides: dict[str, Any] | None = None,
) -> ConfigStack:
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
    project_id: str,
    *,
    agent_config: dict[str, Any] | None = None,
    project_root: Path | None = None,
    preset: str | None = None,
    cli_overrides: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return all layers of :func:`build_agent_config_stack` as one mapping."""
    stack = build_agent_config_stack(
        project_id,
        agent_config=agent_config,
        project_root=project_root,
        preset=preset,
        cli_overrides=cli_overrides,
    )
    return stack.resolve()
