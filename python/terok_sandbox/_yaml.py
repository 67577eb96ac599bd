"""Changes to YAML files that leave everything else in them as it was."""

import typing
from pathlib import Path

from terok_native import _lib


def yaml_update_section(path: Path, section: str, updates: dict[str, typing.Any]) -> None:
    """Merge *updates* into the mapping *section* of the file, one level deep; ``None`` is written as null.

    Comments, order, quotes, mode, owner and a symbolic link stay; a missing file is made (0600, parents 0700). The next
    read of the configuration in this process sees the change. Raises ``ValueError`` naming the file when its content is
    not one mapping, ``OSError`` when it cannot be written; the file is unchanged then.
    """
    _lib.base_config_update(path, section, _plain(updates))


def _plain(value: typing.Any) -> typing.Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, (str, Path)) else value
