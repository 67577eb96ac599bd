"""Names of the egress firewall.

There is no firewall in this version: what asks for its state is told the truth (no filtering), and what would change
it is refused in one line.
"""

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

__all__ = sorted(_HOMES)


def __getattr__(name: str):  # type: ignore[no-untyped-def] # anything; `typing` is not loaded for one word
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    path = module[1:] if module.startswith("/") else f"{__name__}.{module}"
    value = globals()[name] = getattr(import_module(path), attribute or name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
