"""Layered configuration: scopes, how they merge, and how they are read from files."""

import functools
import typing
from dataclasses import dataclass
from pathlib import Path

from terok_native import _lib

_INHERIT = "_inherit"


@dataclass(frozen=True)
class ConfigScope:
    """One layer: its name in messages, the file it came from (if any), and its content."""

    level: str
    source: Path | None
    data: dict


class ConfigStack:
    """Scopes in the order of rising priority."""

    def __init__(self) -> None:
        self._scopes: list[ConfigScope] = []

    def push(self, scope: ConfigScope) -> None:
        """Add a scope above all others."""
        self._scopes.append(scope)

    @property
    def scopes(self) -> list[ConfigScope]:
        """The scopes, lowest first; a fresh list."""
        return list(self._scopes)

    def resolve(self) -> dict:
        """Return all scopes merged, the first one over an empty mapping."""
        return functools.reduce(deep_merge, (scope.data for scope in self._scopes), {})

    def resolve_section(self, key: str) -> dict:
        """Return the merged member *key* of the scopes that have it; ``{}`` when that is not a mapping."""
        contents = (scope.data for scope in self._scopes)
        layers = [{key: data[key]} for data in contents if key in data]
        merged: dict = functools.reduce(deep_merge, layers, {})
        section = merged.get(key)
        return section if isinstance(section, dict) else {}


def deep_merge(base: dict, override: dict) -> dict:
    """Return *override* laid over *base*; neither is changed, and the result shares no container with them.

    ``None`` removes a key, the text ``_inherit`` keeps the base value, mappings merge, lists replace (taking the base
    items in at every ``_inherit``), everything else replaces. Keys keep the order of *base*, new ones follow.
    """
    merged = {key: _copy(value) for key, value in base.items()}
    for key, value in override.items():
        if value is None:
            merged.pop(key, None)
        elif not (isinstance(value, str) and value == _INHERIT):
            merged[key] = _laid_over(base.get(key), value)
    return merged


def _laid_over(base: typing.Any, value: typing.Any) -> typing.Any:
    if isinstance(value, dict):
        plain = {k: v for k, v in value.items() if not (k == _INHERIT and v is True)}
        return deep_merge(base, plain) if isinstance(base, dict) else _copy(plain)
    if isinstance(value, list) and isinstance(base, list):
        pieces = ([_copy(b) for b in base] if item == _INHERIT else [_copy(item)] for item in value)
        return [item for piece in pieces for item in piece]
    return _copy(value)


def _copy(value: typing.Any) -> typing.Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def load_yaml_scope(level: str, path: Path) -> ConfigScope:
    """Read a YAML layer; a missing or blank file is an empty one.

    Raises ``ValueError`` (naming path and line, or the type found) for anything that is not one mapping, ``OSError``
    when the file cannot be read.
    """
    return ConfigScope(level, path, _lib.base_config_load_yaml(path))


def load_json_scope(level: str, path: Path) -> ConfigScope:
    """Read a JSON layer; otherwise like :func:`load_yaml_scope`."""
    return ConfigScope(level, path, _lib.base_config_load_json(path))
