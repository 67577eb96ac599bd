"""Names of a package that are looked up when they are first used, so that importing it costs next to nothing."""

import sys


def lazily(owner, homes, fresh=()):  # type: ignore[no-untyped-def] # `typing` is not loaded for a few words
    """Return ``__all__``, ``__getattr__`` and ``__dir__`` of the module *owner*.

    *homes* says where each name lives: a module below *owner*, ``/module`` for any other, and ``:attribute`` behind it
    where the name differs there. What is found is remembered in the module, but for the names in *fresh*, which callers
    replace where they live. A name that is unknown, or not in this version, is an ``AttributeError``.
    """

    def find(name: str):  # type: ignore[no-untyped-def] # anything
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {owner!r} has no attribute {name!r}")
        value = _load(owner, name, *home.partition(":")[::2])
        module = sys.modules.get(owner)
        if module is not None and name not in fresh:
            setattr(module, name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[owner]), *homes})

    return list(homes), find, names


def _load(owner: str, name: str, path: str, attribute: str):  # type: ignore[no-untyped-def] # anything
    from importlib import import_module

    path = path[1:] if path.startswith("/") else f"{owner}.{path}"
    absent = f"`{name}` of {owner} is not part of this version"
    try:
        found = import_module(path)
    except ModuleNotFoundError as missing:
        # A third-party package that is not installed is another matter than a part we do not have.
        if not path.startswith(str(missing.name)):
            raise
        raise AttributeError(absent) from None
    try:
        return getattr(found, attribute or name)
    except AttributeError:
        raise AttributeError(absent) from None
