"""Obeys orders about a user's state through the library of whichever interpreter runs it; prints answers as JSON.

Nothing but the standard library and names that the original has as well. What the library prints goes to the standard
error.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

FACTS = ("task_id", "project_id", "name", "mode", "workspace", "web_port", "web_token", "preset", "provider",
         "unrestricted", "exit_code", "deleting", "initialized", "created_at", "work_status", "work_message")  # fmt: skip


def view() -> dict[str, object]:
    """Everything that a front end shows of this state."""
    from terok.lib import api
    from terok.lib.core.projects import list_projects
    from terok.lib.orchestration import tasks

    found: dict[str, object] = {"config": _settings(api.get_config()), "projects": {}}
    for project in list_projects():
        archived = tasks.list_archived_tasks(project.id)
        found["projects"][project.id] = {
            "facts": {name: str(getattr(project, name)) for name in (
                "name", "security_class", "upstream_url", "default_branch", "memory", "cpus", "base_image", "timezone",
                "shutdown_timeout", "tasks_root", "gate_path", "default_agent", "agents", "hook_post_stop")
                if hasattr(project, name)},
            "tasks": [{name: getattr(task, name) for name in FACTS} for task in api.get_tasks(project.id)],
            "archived": [[one.task_id, one.name, one.mode, one.exit_code, one.archived_at] for one in archived],
        }  # fmt: skip
    return found


def _settings(config: object) -> dict[str, str]:
    return {name: str(getattr(config, name)) for name in ("public_host", "tui_default_tmux", "archive_dir")}


def new(project: str, name: str) -> str:
    """Create a task."""
    from terok.lib import api

    return api.task_new(project, name=name)


def rename(project: str, task: str, name: str) -> None:
    """Give a task another name."""
    from terok.lib import api

    api.task_rename(project, task, name)


def change(project: str, task: str, changes: dict[str, object]) -> None:
    """Write keys into what is known of a task, as a runner does."""
    from terok.lib.orchestration import tasks

    meta, handle = tasks.load_task_meta(project, task)
    tasks.write_task_meta(handle, {**meta, **changes})


def document(project: str, task: str) -> dict[str, object]:
    """All that is recorded of a task."""
    from terok.lib.orchestration import tasks

    return tasks.load_task_meta(project, task)[0]


def ended(project: str, task: str, code: int) -> None:
    """Record an exit code."""
    from terok.lib.orchestration.tasks import update_task_exit_code

    update_task_exit_code(project, task, code)


def delete(project: str, task: str) -> list[str]:
    """Archive and delete a task; its warnings."""
    from terok.lib import api

    return api.task_delete(project, task).warnings


def derive(source: str, project: str) -> str:
    """Make a project of another."""
    from terok.lib.core.projects import derive_project

    return str(derive_project(source, project))


def choose(project: str, agents: str) -> None:
    """Write a project's agents into its file."""
    from terok.lib import api

    api.set_project_image_agents(project, agents)


def log(project: str, entry: str) -> str | None:
    """The log in an entry of the archive."""
    from terok.lib import api

    found = api.task_archive_logs(project, entry)
    return None if found is None else Path(found).read_text()


def main() -> None:
    """Every order of the first argument, one after the other."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    found = [globals()[verb](*arguments) for verb, *arguments in json.loads(sys.argv[1])]
    answers.write(json.dumps(found))
    answers.close()


if __name__ == "__main__":
    main()
