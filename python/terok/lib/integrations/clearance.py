"""The library's view of :mod:`terok_clearance`: live verdicts.

Every name of the package can be had here; a name that is replaced here is what the library uses.
"""

import terok_clearance as _package
from terok_util.lazy import lazily

__all__, __getattr__, __dir__ = lazily(__name__, dict.fromkeys(_package.__all__, "/terok_clearance"))
