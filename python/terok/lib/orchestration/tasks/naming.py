"""Names of tasks: what a person typed, made plain, or an adjective and a noun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from terok_native import _lib

# For annotations only: importing it here would cost every caller.
if TYPE_CHECKING:
    from terok.lib.core.project_model import ProjectConfig

#: Longest name, in characters.
TASK_NAME_MAX_LEN = 60


def sanitize_task_name(raw: str | None) -> str | None:
    """Return *raw* as a name: lower case, ``-`` for spaces, nothing but ``a-z0-9_-``; ``None`` when nothing is left."""
    return None if raw is None else _lib.task_sanitise_name(raw)


def validate_task_name(sanitized: str) -> str | None:
    """Return what is wrong with a name that :func:`sanitize_task_name` returned, or ``None``."""
    return _lib.task_name_objection(sanitized)


def generate_task_name(project_id: str | None = None) -> str:
    """Return a made-up name from the project's categories of words; without a project, from any category.

    Raises:
        SystemExit: A category that the user chose does not exist.
    """
    return _lib.task_generate_name([] if project_id is None else _resolve_name_categories(project_id))


def generate_name_for(project: ProjectConfig) -> str:
    """Return a made-up name from the categories of a project that was loaded already.

    Raises:
        SystemExit: A category that the user chose does not exist.
    """
    return _lib.task_generate_name(_categories(project.id, project.task_name_categories))


def _resolve_name_categories(project_id: str) -> list[str]:
    from terok.lib.core import projects

    try:
        own = projects.load_project(project_id).task_name_categories
    except (SystemExit, Exception):
        # A project that cannot be loaded has no say here, and says so elsewhere.
        own = None
    return _categories(project_id, own)


def _categories(project_id: str, own: list[str] | None) -> list[str]:
    """The project's choice, else the global one, else three that are always the same for this project."""
    from terok.lib.core import config

    chosen = own or config.get_task_name_categories()
    return list(chosen) if chosen else _lib.task_default_categories(project_id)
