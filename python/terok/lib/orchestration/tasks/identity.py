"""Identifiers of tasks: five characters, a letter that no hexadecimal number has, a digit, and three more."""

from __future__ import annotations

from terok_native import _lib


def is_task_id(text: str) -> bool:
    """Whether *text* is a well-formed identifier."""
    return isinstance(text, str) and _lib.task_is_id(text)


def normalize_task_id_input(raw: str) -> str:
    """Return what a person meant who typed *raw*: without ``-``, lower case, look-alike letters as digits."""
    return _lib.task_normalise_id(raw)


def resolve_task_id(project_id: str, prefix: str) -> str:
    """Return the identifier of the one task that *prefix*, as a person typed it, stands for.

    Raises:
        SystemExit: It cannot begin an identifier, or no task or more than one begins with it.
    """
    from terok.lib.orchestration.tasks import meta

    if not isinstance(prefix, str):
        raise SystemExit("no task given: name one by its identifier or the first characters of it")
    return _lib.task_resolve_id(meta.tasks_meta_dir(project_id), project_id, prefix)
