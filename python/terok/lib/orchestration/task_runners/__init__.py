"""Starts tasks in containers: interactive, web, headless, and again after a stop.

Every name is found when it is first used.
"""

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

__all__ = list(_HOMES)


def __getattr__(name: str):  # type: ignore[no-untyped-def] # anything; `typing` is not loaded for one word
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
