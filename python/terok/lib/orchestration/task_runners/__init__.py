"""Starts tasks in containers: interactive, web, headless, and again after a stop.

Every name is found when it is first used.
"""

from terok_util.lazy import lazily

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

__all__, __getattr__, __dir__ = lazily(__name__, _HOMES)
