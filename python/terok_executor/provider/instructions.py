"""What agents are told before they get their prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def bundled_default_instructions() -> str:
    """Return the instructions that come with the package."""
    from terok_native import _lib

    return _lib.agents_bundled_instructions()


def resolve_instructions(config: dict[str, Any], provider_name: str, project_root: Path | None = None) -> str:
    """Return the instructions of a configuration, then those of ``<project_root>/instructions.md`` after a blank line.

    ``config["instructions"]`` is a text, a list of texts, or a dict by provider; ``_inherit`` stands for the bundled
    text. A missing, unreadable or blank project file adds nothing.
    """
    from terok_native import _lib

    return _lib.agents_resolve_instructions(config, provider_name, project_root)


def has_custom_instructions(config: dict[str, Any], project_root: Path | None = None) -> bool:
    """Tell whether configuration or project bring instructions of their own."""
    from terok_native import _lib

    return _lib.agents_has_custom_instructions(config, project_root)
