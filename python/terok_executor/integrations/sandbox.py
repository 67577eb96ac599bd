"""Every name of the sandbox layer that the executor uses, looked up when it is used.

Callers replace names here to put their own in the place of the sandbox's; the executor therefore always asks this
module and never keeps what it got.
"""

from typing import Any

_EXTRA = {"write_sidecar": "terok_sandbox.launch"}


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = import_module(_EXTRA.get(name, "terok_sandbox"))
    try:
        return getattr(found, name)
    except ImportError as absent:
        raise AttributeError(str(absent)) from absent


def __dir__() -> list[str]:
    import terok_sandbox

    return sorted({*globals(), *terok_sandbox.__all__, *_EXTRA})
