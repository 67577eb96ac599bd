"""Starts tasks in containers: interactive, web, headless, and again after a stop.

Every name is found when it is first used.
"""

from terok_util.lazy import Lazily

_HOMES = {
    "DetachedSummary": "headless",
    "HeadlessRunRequest": "headless",
    "resolve_container_uuid": "shield",
    "task_followup_headless": "headless",
    "task_restart": "restart",
    "task_run_cli": "cli",
    "task_run_headless": "headless",
    "task_run_toad": "toad",
}

_lazily = Lazily(__name__, _HOMES)
__all__ = list(_HOMES)


def __getattr__(name: str):  # type: ignore[no-untyped-def] # anything; `typing` is not loaded for one word
    return _lazily.find(name)


def __dir__() -> list[str]:
    return _lazily.names()
