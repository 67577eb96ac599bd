"""Directories of the family, and its ``config.yml`` files as lower layers read them.

None of these functions creates anything. Environment overrides are taken as they are after ``~`` expansion.
"""

import sys
import types
import typing
from pathlib import Path

from terok_native import _lib


class _NativeCache(dict):
    """Stands for the engine's cache of configuration files: clearing it makes the engine read them again."""

    def clear(self) -> None:
        super().clear()
        _lib.base_config_forget()


_config_section_cache: dict = _NativeCache()


def _is_root() -> bool:
    """Tell whether we are root on the host; replace it to get the other set of default directories."""
    return _lib.base_is_root()


def namespace_state_dir(subdir: str = "", *, env_var: str | None = None) -> Path:
    """Return ``$env_var``, ``$TEROK_ROOT/subdir``, ``paths.root`` of the configuration or the default state directory.

    Raises ``ValueError`` for a *subdir* that is absolute or contains ``..``.
    """
    return _lib.base_state_dir(str(subdir), env_var, _is_root())


def namespace_config_dir(subdir: str = "", *, env_var: str | None = None) -> Path:
    """Return ``$env_var``, ``/etc/terok/subdir`` for root, or the user's configuration directory."""
    return _lib.base_config_dir(str(subdir), env_var, _is_root())


def namespace_runtime_dir(subdir: str = "", *, env_var: str | None = None) -> Path:
    """Return ``$env_var``, ``/run/terok/subdir`` for root, or one below ``$XDG_RUNTIME_DIR`` or the user's state."""
    return _lib.base_runtime_dir(str(subdir), env_var, _is_root())


def config_file_paths() -> list[tuple[str, Path]]:
    """Return ``(label, path)`` of every ``config.yml`` that counts, lowest priority first; files may be missing."""
    return _lib.base_config_files(_is_root())


def read_config_section(name: str) -> dict[str, str]:
    """Return the merged section with every value as its Python text; members that are null are left out.

    A missing or unusable section is ``{}``; a malformed file is left out with one warning on stderr.
    """
    return {key: str(value) for key, value in _lib.base_config_section(name, _is_root()).items()}


def read_config_top_level(key: str) -> typing.Any:
    """Return the merged value of a top-level key with its YAML type, or ``None``."""
    return _lib.base_config_top_level(key, _is_root())


def _reset_config_caches_for_tests() -> None:
    """Forget everything read from configuration files, also which warnings were given."""
    _config_section_cache.clear()


class _Module(types.ModuleType):
    """This module, told when somebody replaces :func:`_is_root`, so that the engine's own defaults follow."""

    def __setattr__(self, name: str, value: typing.Any) -> None:
        super().__setattr__(name, value)
        if name == "_is_root":
            _lib.base_pretend_root(None if value is _ask_system else bool(value()))


_ask_system = _is_root
_lib.base_pretend_root(None)
sys.modules[__name__].__class__ = _Module
