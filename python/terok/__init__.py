"""The names that front ends of the family import.

Front ends that were adopted (:mod:`terok.adopt`) lie in a folder of their own beside this package, and are found below
this name.
"""

import os.path

FRONT_ENDS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "terok_front_ends", "terok")
if os.path.isdir(FRONT_ENDS):
    __path__.append(FRONT_ENDS)


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from terok.lib.core.version import installed_version

    value = globals()[name] = installed_version()
    return value
