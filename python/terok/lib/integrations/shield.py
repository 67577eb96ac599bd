"""The library's view of :mod:`terok_shield`: the egress firewall.

Every name of the package can be had here; a name that is replaced here is what the library uses.
"""

import terok_shield as _package

__all__ = list(_package.__all__)


def __getattr__(name: str):  # type: ignore[no-untyped-def] # anything; `typing` is not loaded for one word
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(_package, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
