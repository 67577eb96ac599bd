"""The shell functions around the agents, as generated text."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

from terok_executor.provider.providers import AgentProvider

INITIAL_PROMPT_PATH = "/home/dev/.terok/initial-prompt.txt"
INITIAL_PROMPT_CONSUMED_PATH = "/home/dev/.terok/initial-prompt.consumed.txt"
INSTRUCTIONS_PATH = "/home/dev/.terok/instructions.md"
CONTAINER_WORKSPACE = "/workspace"

ClaudeWrapper = Callable[[bool], str]


@dataclass(frozen=True)
class WrapperConfig:
    """What Claude's function passes on: sub-agents and instructions, each only if the file exists as well."""

    has_agents: bool
    has_instructions: bool = False


def claude_wrapper(config: WrapperConfig) -> str:
    """Return Claude's function for *config*."""
    from terok_native import _lib

    from terok_executor.provider.providers import get_provider

    return _lib.agents_wrapper_function(asdict(get_provider("claude")), config.has_agents, config.has_instructions)


def generate_agent_wrapper(
    provider: AgentProvider, has_agents: bool, *, claude_wrapper_fn: ClaudeWrapper | None = None
) -> str:
    """Return the function of one agent; Claude's comes from *claude_wrapper_fn*, which gets *has_agents*.

    Raises:
        ValueError: Claude without *claude_wrapper_fn*.
    """
    if provider.name == "claude":
        if claude_wrapper_fn is None:
            raise ValueError("the wrapper of `claude` needs `claude_wrapper_fn`")
        return claude_wrapper_fn(has_agents)
    from terok_native import _lib

    return _lib.agents_wrapper_function(asdict(provider), has_agents, False)


def generate_all_wrappers(has_agents: bool, *, claude_wrapper_fn: ClaudeWrapper | None = None) -> str:
    """Return the helpers and the functions of all agents in roster order."""
    from terok_native import _lib

    providers = sys.modules["terok_executor.provider.providers"].AGENT_PROVIDERS
    functions = [
        generate_agent_wrapper(provider, has_agents, claude_wrapper_fn=claude_wrapper_fn)
        for provider in providers.values()
    ]
    return _lib.agents_wrapper_helpers() + "".join(functions) + "\n"
