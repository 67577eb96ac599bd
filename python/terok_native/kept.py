"""Classes that stay the same when their module is imported again.

Callers compare enum members by identity and catch exception classes; a module that leaves ``sys.modules`` and comes
back must not bring twins of them. The first class of a name is remembered beside the native module, which a process
loads once.
"""

from typing import TypeVar

from terok_native import _lib

_Class = TypeVar("_Class", bound=type)


def kept(cls: _Class) -> _Class:
    """Return the class that this process knows under the module and name of *cls*; *cls* itself the first time."""
    known: dict[tuple[str, str], type] = vars(_lib).setdefault("_kept", {})
    return known.setdefault((cls.__module__, cls.__qualname__), cls)  # type: ignore[return-value]
