"""Agents as values, their headless commands, and the settings each of them can take.

``AGENT_PROVIDERS`` and ``PROVIDER_NAMES`` are filled from the roster when they are first asked for. The dict is one
object for the life of the process.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

__all__ = [  # noqa: F822
    "AGENT_PROVIDERS",
    "PROVIDER_NAMES",
    "AgentProvider",
    "CLIOverrides",
    "OpenCodeProviderConfig",
    "ProviderConfig",
    "collect_opencode_provider_env",
    "get_provider",
    "resolve_provider",
    "resolve_provider_value",
]


@dataclass(frozen=True)
class OpenCodeProviderConfig:
    """An OpenAI-compatible backend reached through OpenCode."""

    display_name: str
    #: With the path that the API has at its host.
    base_url: str
    #: Models in the order they are tried.
    preferred_model: str
    fallback_model: str
    #: The key is in ``<prefix>_API_KEY``.
    env_var_prefix: str
    #: Below the home directory.
    config_dir: str
    auth_key_url: str

    def to_env(self, name: str) -> dict[str, str]:
        """Return the six ``TEROK_OC_<NAME>_…`` variables that the in-container launcher reads."""
        from terok_native import _lib

        return _lib.agents_opencode_env(name, asdict(self))


@dataclass(frozen=True)
class CLIOverrides:
    """Settings of one call; they win over the configuration. ``timeout`` is in seconds."""

    model: str | None = None
    max_turns: int | None = None
    timeout: int | None = None
    instructions: str | None = None


@dataclass(frozen=True)
class ProviderConfig:
    """Settings as far as the agent takes them; ``prompt_extra`` is to follow the prompt after a blank line."""

    model: str | None
    max_turns: int | None
    timeout: int
    prompt_extra: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class AgentProvider:
    """An agent: identity, command line, approval, sessions. A flag that is ``None`` is not supported."""

    name: str
    label: str
    binary: str
    git_author_name: str
    git_author_email: str
    headless_subcommand: str | None
    prompt_flag: str
    auto_approve_env: dict[str, str]
    auto_approve_flags: tuple[str, ...]
    output_format_flags: tuple[str, ...]
    model_flag: str | None
    max_turns_flag: str | None
    verbose_flag: str | None
    supports_session_resume: bool
    resume_flag: str | None
    continue_flag: str | None
    session_file: str | None
    supports_agents_json: bool
    supports_session_hook: bool
    supports_add_dir: bool
    log_format: str
    opencode_config: OpenCodeProviderConfig | None = None
    refuse_subcommands: tuple[str, ...] = ()

    @property
    def uses_opencode_instructions(self) -> bool:
        """Whether instructions reach the agent through OpenCode's own configuration."""
        return self.opencode_config is not None or self.name == "opencode"

    def apply_config(self, config: dict[str, Any], overrides: CLIOverrides | None = None) -> ProviderConfig:
        """Fit configuration and overrides to this agent; ``ValueError`` names agent and key of an unusable value."""
        from terok_native import _lib

        fitted = _lib.agents_apply_config(asdict(self), config, asdict(overrides or CLIOverrides()))
        return ProviderConfig(
            model=fitted["model"],
            max_turns=fitted["max_turns"],
            timeout=fitted["timeout"],
            prompt_extra=fitted["prompt_extra"],
            warnings=tuple(fitted["warnings"]),
        )

    def build_headless_command(self, *, timeout: int, model: str | None = None, max_turns: int | None = None) -> str:
        """Return the shell text that prepares the workspace and runs the agent on its prompt; *timeout* in seconds."""
        from terok_native import _lib

        turns = None if max_turns is None else int(max_turns)
        return _lib.agents_headless_command(asdict(self), int(timeout), model, turns)


def provider_from(fields: dict[str, Any]) -> AgentProvider:
    """Make an agent from the engine's mapping."""
    backend = fields["opencode_config"]
    changed: dict[str, Any] = {
        key: tuple(fields[key]) for key in ("auto_approve_flags", "output_format_flags", "refuse_subcommands")
    }
    changed["opencode_config"] = OpenCodeProviderConfig(**backend) if backend else None
    return AgentProvider(**(fields | changed))


def resolve_provider(
    providers: dict[str, AgentProvider], name: str | None, *, default_agent: str | None = None
) -> AgentProvider:
    """Return an agent of a table; an empty *name* means *default_agent*, then ``claude``.

    Raises:
        SystemExit: there is no such agent; the text lists the known ones.
    """
    key = name or default_agent or "claude"
    if key not in providers:
        raise SystemExit(
            f"unknown agent {key!r}; known: {', '.join(sorted(providers))}\n"
            "hint: `terok-executor agents list` describes them"
        )
    return providers[key]


def get_provider(name: str | None, *, default_agent: str | None = None) -> AgentProvider:
    """Return an agent of ``AGENT_PROVIDERS``; see :func:`resolve_provider`."""
    return resolve_provider(sys.modules[__name__].AGENT_PROVIDERS, name, default_agent=default_agent)


def resolve_provider_value(key: str, config: dict[str, Any], provider_name: str) -> Any | None:
    """Return a configuration value; a dict is looked up by provider, then by ``_default``."""
    value = config.get(key)
    if not isinstance(value, dict):
        return value
    own = value.get(provider_name)
    return value.get("_default") if own is None else own


def collect_opencode_provider_env() -> dict[str, str]:
    """Return the launcher variables of all OpenCode backends in ``AGENT_PROVIDERS``."""
    found: dict[str, str] = {}
    for name, provider in sys.modules[__name__].AGENT_PROVIDERS.items():
        if provider.opencode_config is not None:
            found |= provider.opencode_config.to_env(name)
    return found


_TABLE: dict[str, AgentProvider] = {}


def __getattr__(name: str) -> Any:
    if name not in ("AGENT_PROVIDERS", "PROVIDER_NAMES"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from terok_executor.roster.bootstrap import ensure_filled

    ensure_filled()
    return globals().setdefault(name, _TABLE if name == "AGENT_PROVIDERS" else tuple(sorted(_TABLE)))
