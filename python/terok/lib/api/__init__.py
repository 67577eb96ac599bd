"""The public names for front ends and programs; each is looked up when it is first used.

Eight submodules group them; every name but two of the firewall's is here as well. Importing reads no configuration,
starts nothing and loads no other part of the library. :mod:`terok.lib.api.aio` has awaitable twins.
"""

from terok_util.lazy import lazily

from terok.lib.api._lookup import SHARED
from terok.lib.api._names import HOMES, SUBMODULE_ONLY

_PLACES = {name: f"/{home}" for homes in HOMES.values() for name, home in homes.items() if name not in SUBMODULE_ONLY}
#: Modules that embedding code reaches through the package, beside the submodules.
_MODULES = {"_config": "terok.lib.core.config", "_paths": "terok.lib.core.paths"}
_, _find, _names = lazily(__name__, {**_PLACES, "PodmanRuntime": "/terok_sandbox"}, SHARED)

__all__ = sorted([*_PLACES, "shield"])


def __getattr__(name: str):  # type: ignore[no-untyped-def] # anything; `typing` is not loaded for one word
    if name in _MODULES or name in HOMES or name == "aio":
        from importlib import import_module

        return import_module(_MODULES.get(name, f"{__name__}.{name}"))
    return _find(name)


def __dir__() -> list[str]:
    return sorted({*_names(), *(sub for sub in HOMES if sub)})
