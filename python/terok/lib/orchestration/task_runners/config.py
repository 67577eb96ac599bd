"""What an agent is told and allowed in one task: its configuration directory, and whether it may act unasked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok_sandbox.sandbox import VolumeSpec

    from terok.lib.core.project_model import ProjectConfig

_NO = frozenset({"", "false", "0", "no", "off"})


def _prepare_agent_config(
    project: ProjectConfig, project_id: str, task_id: str, agents: list[str] | None, preset: str | None, *,
    provider_name: str | None = None,
) -> Path:  # fmt: skip
    """Write the task's agent configuration directory and return it; *agents* are sub-agents that are not on by default.

    Raises:
        SystemExit: no such agent or preset, or a shared directory is not plain.
    """
    from terok.lib.integrations import executor

    resolved = resolved_config(project, preset)
    provider = provider_of(project, provider_name)
    return prepare(
        project, task_id, agents, resolved, provider=provider,
        instructions=executor.resolve_instructions(resolved, provider, project.root),
    )  # fmt: skip


def prepare(
    project: ProjectConfig, task_id: str, agents: list[str] | None, resolved: dict[str, Any], *, provider: str,
    instructions: str, prompt: str | None = None,
) -> Path:  # fmt: skip
    """Write the directory from a configuration that is already resolved."""
    from terok.lib.integrations import executor
    from terok.lib.orchestration import environment

    spec = executor.AgentConfigSpec(
        tasks_root=Path(project.tasks_root),
        task_id=task_id,
        subagents=tuple(resolved.get("subagents") or ()),
        selected_agents=tuple(agents) if agents else None,
        prompt=prompt,
        provider=provider,
        instructions=instructions,
        default_agent=project.default_agent,
        mounts_base=environment.project_mounts_dir(project),
    )
    return executor.prepare_agent_config_dir(spec)


def resolved_config(
    project: ProjectConfig, preset: str | None, cli_overrides: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The agent section from the global settings up to this call's own file."""
    from terok.lib.orchestration import agent_config

    return agent_config.resolve_agent_config(
        project.id, agent_config=project.agent_config, project_root=project.root, preset=preset,
        cli_overrides=cli_overrides,
    )  # fmt: skip


def provider_of(project: ProjectConfig, provider_name: str | None) -> str:
    """The agent that a task works with when nobody says more."""
    return provider_name or project.default_agent or "claude"


def config_volume(config_dir: Path) -> VolumeSpec:
    """The mount of the agent configuration directory."""
    from terok.lib.integrations import sandbox
    from terok.lib.orchestration.tasks.meta import CONTAINER_TEROK_CONFIG

    return sandbox.VolumeSpec(config_dir, CONTAINER_TEROK_CONFIG, sharing=sandbox.Sharing.PRIVATE)


def is_unrestricted(explicit: bool | None, resolved: dict[str, Any], provider: str) -> bool:
    """Whether agents may act unasked: said for this run, else configured, else yes."""
    from terok.lib.integrations import executor

    if explicit is not None:
        return bool(explicit)
    configured = executor.resolve_provider_value("unrestricted", resolved, provider)
    return True if configured is None else _str_to_bool(configured)


def _str_to_bool(value: object) -> bool:
    """Read a setting as yes or no; blank, ``false``, ``0``, ``no`` and ``off`` are no."""
    if isinstance(value, str):
        return value.strip().lower() not in _NO
    return bool(value)


def _apply_unrestricted_env(env: dict[str, str]) -> None:
    """Add what makes every agent of the roster act unasked."""
    from terok.lib.integrations import executor

    env["TEROK_UNRESTRICTED"] = "1"
    env.update(executor.AgentRoster.shared().collect_all_auto_approve_env())
