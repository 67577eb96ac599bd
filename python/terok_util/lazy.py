"""Names of a package that are looked up when they are first used, so that importing it costs next to nothing."""

import sys


class Lazily:
    """The names of the module *owner*.

    *homes* says where each lives: a module below *owner*, ``/module`` for any other, and ``:attribute`` behind it where
    the name differs there. What is found is remembered in the module, but for the names in *fresh*, which callers
    replace where they live.
    """

    def __init__(self, owner, homes, fresh=()):  # type: ignore[no-untyped-def] # `typing` is not loaded for three words
        self.owner, self.homes, self.fresh = owner, homes, fresh

    def find(self, name: str):  # type: ignore[no-untyped-def] # anything
        """Return the object behind *name*; ``AttributeError`` for a name that is unknown or not in this version."""
        home = self.homes.get(name)
        if home is None:
            raise AttributeError(f"module {self.owner!r} has no attribute {name!r}")
        value = self._load(name, *home.partition(":")[::2])
        module = sys.modules.get(self.owner)
        if module is not None and name not in self.fresh:
            setattr(module, name, value)
        return value

    def _load(self, name: str, path: str, attribute: str):  # type: ignore[no-untyped-def] # anything
        from importlib import import_module

        path = path[1:] if path.startswith("/") else f"{self.owner}.{path}"
        absent = f"`{name}` of {self.owner} is not part of this version"
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

    def names(self) -> list[str]:
        """Return what ``dir`` shows: the names that are there and those that can be had."""
        return sorted({*vars(sys.modules[self.owner]), *self.homes})
