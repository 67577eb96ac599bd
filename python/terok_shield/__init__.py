"""Names of the egress firewall.

There is no firewall in this version: what asks for its state is told the truth (no filtering), and what would change
it is refused in one line.
"""

from terok_util.lazy import Lazily

_HOMES = {
    "ArgDef": "/terok_util.cli_types",
    "COMMANDS": "commands",
    "CommandDef": "/terok_util.cli_types",
    "EnvironmentCheck": "environment",
    "ExecError": "run",
    "ShieldState": "state",
    "resolve_container_state_dir": "container",
    "shield_needs_container": "commands",
    "shield_standalone_only": "commands",
}

_lazily = Lazily(__name__, _HOMES)
__all__ = sorted(_HOMES)


def __getattr__(name: str):  # type: ignore[no-untyped-def] # anything; `typing` is not loaded for one word
    return _lazily.find(name)


def __dir__() -> list[str]:
    return _lazily.names()
