"""The roster: which agents and tools exist, and what each of them needs."""

from typing import Any

_HOMES = {
    "AgentRoster": "loader",
    "MountDef": "types",
    "SidecarSpec": "types",
    "VaultRoute": "types",
    "load_roster": "loader",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
