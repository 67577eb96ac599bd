"""Finds public names when they are first used, so that importing the library costs next to nothing."""

import sys

from terok.lib.api._names import HOMES

#: Tables that callers replace in their own package; asked for anew each time.
_SHARED = {"AGENT_PROVIDERS", "AUTH_PROVIDERS", "PROVIDER_NAMES"}


def find(owner: str, name: str, home: str):  # type: ignore[no-untyped-def] # anything; `typing` is not loaded for one word
    """Return the object behind *name* and remember it in the module *owner*."""
    from importlib import import_module

    path, _, attribute = home.partition(":")
    value = getattr(import_module(path), attribute or name)
    if name not in _SHARED:
        setattr(sys.modules[owner], name, value)
    return value


def lazily(owner: str, submodule: str):  # type: ignore[no-untyped-def] # three module attributes
    """Return ``__all__``, ``__getattr__`` and ``__dir__`` of one submodule of the API."""
    homes = HOMES[submodule]

    def lookup(name: str):  # type: ignore[no-untyped-def] # see above
        if name not in homes:
            raise AttributeError(f"module {owner!r} has no attribute {name!r}")
        return find(owner, name, homes[name])

    def names() -> list[str]:
        return sorted({*vars(sys.modules[owner]), *homes})

    return sorted(homes), lookup, names
