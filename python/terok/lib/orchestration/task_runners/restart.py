"""The same container once more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_util.shell import command_line

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok.lib.core.project_model import ProjectConfig


def task_restart(project_id: str, task_id: str) -> None:
    """Stop the task's container if it runs, and start it again.

    Whatever would keep it from coming back is found before it is stopped.

    Raises:
        SystemExit: unknown task, one that never ran, a container that is gone, a web port that somebody else has, or
            podman refused.
    """
    from terok.lib.core.task_state import container_name
    from terok.lib.orchestration.task_runners import container

    project, meta, handle = container.loaded(project_id, task_id, None)
    mode = meta.get("mode")
    if not mode:
        raise SystemExit(
            f"cannot restart task {task_id}: it has never run\n"
            f"hint: start it with `{command_line('terok', 'task', 'run', project.id)}`"
        )
    cname = container_name(project.id, mode, task_id)
    print(f"Restarting task {project.id}/{task_id} ({cname}) ...", flush=True)
    _validate_restart_preconditions(project, task_id, mode, meta, cname)
    box = container.container_of(project, cname)
    state = box.state
    if state == "paused":
        container.thaw(box)
    if state in ("running", "paused"):
        _stop_running_container(project, task_id, mode, cname, handle)
    _start_and_report_restart(project, task_id, mode, cname, meta, handle)


def _validate_restart_preconditions(project: ProjectConfig, task_id: str, mode: str, meta: dict, cname: str) -> None:
    from terok.lib.orchestration.task_runners import container, shield, toad

    state = container.state_or_refuse(container.container_of(project, cname))
    if state is None:
        prompt = ("what to do", "--mode", "headless") if mode == "run" else ()
        again = command_line("terok", "task", "run", project.id, *prompt)
        raise SystemExit(
            f"cannot restart task {task_id}: its container `{cname}` is gone\nhint: create a new task with `{again}`"
        )
    shield.check_intent(project, Path(project.tasks_root) / task_id)
    if mode == "toad" or isinstance(meta.get("web_port"), int):
        toad.reclaim_port(project, task_id, meta, running=state in ("running", "paused"))
    if mode == "toad":
        toad._rehydrate_toad_token(project, task_id, meta, cname)


def _stop_running_container(project: ProjectConfig, task_id: str, mode: str, cname: str, meta_path: Path) -> None:
    from terok.lib.orchestration.task_runners import container, record

    try:
        container.container_of(project, cname).stop(timeout=project.shutdown_timeout)
    except (FileNotFoundError, RuntimeError) as error:
        raise SystemExit(f"cannot restart task {task_id}: its container does not stop: {error}") from error
    record.fire("post_stop", project, task_id, mode=mode, cname=cname, handle=meta_path)


def _start_and_report_restart(
    project: ProjectConfig, task_id: str, mode: str, cname: str, meta: dict, meta_path: Path
) -> None:
    from terok.lib.core import config as settings
    from terok.lib.orchestration.task_runners import container, record, shield, toad
    from terok.lib.util import ansi

    record.begin(project.id, task_id)
    if meta.get("exit_code") is not None:
        record.note(project.id, task_id, exit_code=None)
    container._podman_start(project, cname)
    if mode == "run":
        container._assert_started(project, cname)
    else:
        container._assert_running(project, cname)
    about: dict[str, Any] = {"mode": mode, "cname": cname, "handle": meta_path}
    record.fire("post_start", project, task_id, **about)
    shield._apply_shield_policy(project, cname, Path(project.tasks_root) / task_id, is_restart=True)
    if mode == "cli" and not meta.get("ready_at"):
        record.note(project.id, task_id, ready_at=record.now())
    color = ansi.supports_color()
    print(f"Task {task_id} runs again in {ansi.green(cname, color)}.")
    if mode == "cli":
        container._print_login_instructions(project.id, task_id, cname, color)
    elif mode == "toad":
        url = toad._toad_browser_url(settings.get_public_host(), meta["web_port"], meta["web_token"])
        print(f"Open:     {ansi.blue(url, color)}")
