"""The library's view of :mod:`terok_sandbox`: containers, vault, gate, ports and set-up.

Every name of the package can be had here; a name that is replaced here is what the library uses.
"""

import terok_sandbox as _package
from terok_util.lazy import Lazily

_lazily = Lazily(__name__, dict.fromkeys(_package.__all__, "/terok_sandbox"))
__all__ = list(_package.__all__)


def __getattr__(name: str):  # type: ignore[no-untyped-def] # anything; `typing` is not loaded for one word
    return _lazily.find(name)


def __dir__() -> list[str]:
    return _lazily.names()
