"""The names of one submodule of the API."""

from terok_util import lazy

from terok.lib.api._names import HOMES

#: Tables that callers replace in their own package; asked for anew each time.
SHARED = {"AGENT_PROVIDERS", "AUTH_PROVIDERS", "PROVIDER_NAMES"}


def lazily(owner: str, submodule: str):  # type: ignore[no-untyped-def] # the three attributes of a lazy module
    """Return ``__all__``, ``__getattr__`` and ``__dir__``; see :func:`terok_util.lazy.lazily`."""
    names, find, shown = lazy.lazily(owner, {name: f"/{home}" for name, home in HOMES[submodule].items()}, SHARED)
    return sorted(names), find, shown
