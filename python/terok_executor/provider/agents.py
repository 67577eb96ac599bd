"""The private configuration directory of one task, and markdown sub-agents."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class AgentConfigSpec:
    """What to prepare: the directory is ``<tasks_root>/<task_id>/agent-config``; ``mounts_base`` is required."""

    tasks_root: Path
    task_id: str
    #: Mappings as Claude takes them, or with ``file`` naming a markdown agent.
    subagents: tuple[dict, ...]
    #: Names that count although they are not on by default.
    selected_agents: tuple[str, ...] | None = None
    prompt: str | None = None
    #: Name of the agent; an empty one means ``default_agent``.
    provider: str = "claude"
    instructions: str | None = None
    #: What an empty name stands for.
    default_agent: str | None = None
    mounts_base: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "subagents", tuple(self.subagents))
        if self.selected_agents is not None:
            object.__setattr__(self, "selected_agents", tuple(self.selected_agents))


def parse_md_agent(file_path: str) -> dict:
    """Return front matter and ``prompt`` of a markdown agent; ``{}`` when *file_path* is no file.

    Raises:
        ValueError: the front matter is not valid YAML; the text names the file.
    """
    from terok_native import _lib

    return _lib.agents_parse_markdown(file_path)


def prepare_agent_config_dir(spec: AgentConfigSpec) -> Path:
    """Write the directory (0700) with instructions, prompt, sub-agents and shell functions, and the shared settings.

    Raises:
        SystemExit: unknown agent, or a shared directory that is not plain.
        ValueError: ``mounts_base`` is missing, or ``task_id`` is no plain name.
    """
    from terok_native import _lib

    from terok_executor.provider import providers

    table = {name: asdict(provider) for name, provider in providers.AGENT_PROVIDERS.items()}
    fields = {key: str(value) if isinstance(value, Path) else value for key, value in vars(spec).items()}
    path, notes = _lib.agents_prepare_config_dir(fields, table)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return path
