"""Names of the egress firewall.

There is no firewall in this version: what asks for its state is told the truth (no filtering), and what would change
it is refused in one line.
"""

from terok_util.lazy import lazily

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

__all__, __getattr__, __dir__ = lazily(__name__, _HOMES)
