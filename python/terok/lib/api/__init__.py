"""The public names for front ends and programs; each is looked up when it is first used.

Eight submodules group them; every name but two of the firewall's is here as well. Importing reads no configuration,
starts nothing and loads no other part of the library. :mod:`terok.lib.api.aio` has awaitable twins.
"""

from terok.lib.api._names import HOMES, SUBMODULE_ONLY

_PLACES = {name: home for homes in HOMES.values() for name, home in homes.items() if name not in SUBMODULE_ONLY}
#: Modules that embedding code reaches through the package.
_MODULES = {"_config": "terok.lib.core.config", "_paths": "terok.lib.core.paths"}
_EXTRA = {"PodmanRuntime": "terok_sandbox"}

__all__ = sorted([*_PLACES, "shield"])


def __getattr__(name: str):  # type: ignore[no-untyped-def] # anything; `typing` is not loaded for one word
    from importlib import import_module

    from terok.lib.api._lookup import find

    if name in _MODULES or name in HOMES or name == "aio":
        return import_module(_MODULES.get(name, f"{__name__}.{name}"))
    home = _PLACES.get(name) or _EXTRA.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return find(__name__, name, home)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES, *(sub for sub in HOMES if sub)})
