"""Questions that only git inside the task's container may answer; the host never runs git on a workspace."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_util.tty import clean_text

# For annotations only: importing it here would cost every caller.
if TYPE_CHECKING:
    from terok.lib.core.project_model import ProjectConfig

#: Seconds that a container which was started for a question gets to stop again.
_STOP_S = 10


def container_git_diff(project_id: str, task_id: str, mode: str, *args: str, timeout: int = 30) -> str | None:
    """Return what ``git -C /workspace diff <args>`` prints in the task's container.

    A stopped container is started for the question, unless its mode is ``run``: that would start the agent again. What
    keeps a task from being started keeps it from that, too.

    Returns:
        ``None`` when there is no container, it cannot be asked within *timeout* seconds, or git fails.
    """
    from terok.lib.core import projects, runtime, task_state

    try:
        project = projects.load_project(project_id)
        engine = runtime.resolve_runtime(project)
        container = engine.container(task_state.container_name(project_id, mode, task_id))
        state = container.state
        if state == "running":
            return _git_diff(engine, container, args, timeout)
        if state in (None, "paused") or mode == "run":
            return None
        _check_start(project, task_id)
        return _while_started(engine, container, args, timeout)
    except (OSError, RuntimeError, SystemExit, ValueError, subprocess.SubprocessError) as error:
        _note(f"cannot read the diff in the container of task {task_id}: {error}")
        return None


def _git_diff(engine: Any, container: Any, args: tuple[str, ...], timeout: int) -> str | None:
    done = engine.exec(container, ["git", "-C", "/workspace", "diff", *args], timeout=timeout)
    return clean_text(done.stdout) if done.exit_code == 0 else None


def _check_start(project: ProjectConfig, task_id: str) -> None:
    """Raise as a runner would that is to start the task again."""
    from terok.lib.orchestration.task_runners import container, shield

    container.check_launch_allowed()
    shield.check_intent(project, Path(project.tasks_root) / task_id)


def _while_started(engine: Any, container: Any, args: tuple[str, ...], timeout: int) -> str | None:
    container.start()
    try:
        return _git_diff(engine, container, args, timeout)
    finally:
        try:
            container.stop(timeout=_STOP_S)
        except RuntimeError as error:
            _note(f"a container that was started for a question still runs: {error}")


def _note(text: str) -> None:
    from terok.lib.util.logging_utils import _log_debug

    _log_debug(text)
