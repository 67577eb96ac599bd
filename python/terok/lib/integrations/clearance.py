"""The library's view of :mod:`terok_clearance`: live verdicts.

Every name of the package can be had here; a name that is replaced here is what the library uses.
"""

import terok_clearance as _package
from terok_util.lazy import Lazily

_lazily = Lazily(__name__, dict.fromkeys(_package.__all__, "/terok_clearance"))
__all__ = list(_package.__all__)


def __getattr__(name: str):  # type: ignore[no-untyped-def] # anything; `typing` is not loaded for one word
    return _lazily.find(name)


def __dir__() -> list[str]:
    return _lazily.names()
