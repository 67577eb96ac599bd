"""The user's own commands around the life of a task's container.

A hook can never hold up the life cycle: it has a time limit, its process group ends with it, and a failure is logged.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO

HOOK_NAMES = ("pre_start", "post_start", "post_ready", "post_stop")
_STARTUP_HOOK_TIMEOUT = 120
_STOP_HOOK_TIMEOUT = 30
#: Seconds that a process group has between being asked to end and being killed.
_GRACE_S = 2.0
#: Of a hook's output so much is kept for the log, from its end.
_OUTPUT_LIMIT = 16384


def run_hook(
    hook_name: str, command: str | None, *, project_id: str, task_id: str, mode: str, cname: str,
    web_port: int | None = None, task_dir: Path | None = None, meta_path: Path | None = None,
) -> None:  # fmt: skip
    """Record that the hook's moment has come, then run *command*, if any, with ``sh -c`` on this host.

    The command sees ``TEROK_HOOK``, ``TEROK_PROJECT_ID``, ``TEROK_TASK_ID``, ``TEROK_TASK_MODE``,
    ``TEROK_CONTAINER_NAME`` and, when given, ``TEROK_WEB_PORT`` and ``TEROK_TASK_DIR``. It may take 120 seconds,
    ``post_stop`` 30; then it and everything it started in its process group is ended. Nothing is raised for a hook
    that fails; its exit status and output are in the log.

    Args:
        meta_path: Either of the task's two metadata files; the name is added to ``hooks_fired`` there.
    """
    if meta_path is not None:
        _record_hook(Path(meta_path), hook_name)
    if not command:
        return
    env = _build_hook_env(project_id, task_id, mode, cname, hook_name, web_port=web_port, task_dir=task_dir)
    limit = _STOP_HOOK_TIMEOUT if hook_name == "post_stop" else _STARTUP_HOOK_TIMEOUT
    _execute(hook_name, command, env, limit)


def _record_hook(handle: Path, hook_name: str) -> None:
    from terok.lib.orchestration.tasks import meta
    from terok.lib.util.logging_utils import log_warning

    try:
        meta.record_hook(handle, hook_name)
    except Exception as error:
        log_warning(f"hook {hook_name} could not be recorded in {handle}: {error}")


def _build_hook_env(
    project_id: str, task_id: str, mode: str, cname: str, hook_name: str, *, web_port: int | None = None,
    task_dir: Path | None = None,
) -> dict[str, str]:  # fmt: skip
    told: dict[str, object] = {"HOOK": hook_name, "PROJECT_ID": project_id, "TASK_ID": task_id, "TASK_MODE": mode}
    told |= {"CONTAINER_NAME": cname, "WEB_PORT": web_port, "TASK_DIR": task_dir}
    return os.environ | {f"TEROK_{key}": str(value) for key, value in told.items() if value is not None}


def _execute(hook_name: str, command: str, env: dict[str, str], limit: float) -> None:
    from terok.lib.util.logging_utils import _log_debug, log_warning

    with _sink() as output:
        try:
            status = _in_own_group(command, env, limit, output)
        except (OSError, ValueError) as error:
            log_warning(f"hook {hook_name} could not be started: {error}")
            return
        said = _tail(output)
    if said:
        _log_debug(f"hook {hook_name} printed: {said}")
    if status is None:
        log_warning(f"hook {hook_name} did not end within {limit:g} seconds; it and its children were killed")
    elif status != 0:
        log_warning(f"hook {hook_name} failed with exit status {status}: {said or 'no output'}")


def _sink() -> IO[bytes]:
    """Where a hook's output goes: no pipe, which a program that the hook leaves behind may hold open for ever."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "w+b")  # a full disk is no reason to leave the hook out


def _in_own_group(command: str, env: dict[str, str], limit: float, output: IO[bytes]) -> int | None:
    """The exit status of the shell; ``None`` when its group had to be ended."""
    shell = subprocess.Popen(
        ["sh", "-c", command], env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    )
    try:
        return shell.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if shell.returncode is None:
            _end_group(shell)


def _end_group(shell: subprocess.Popen[bytes]) -> None:
    """Ask the group to end, then kill what is left. The shell is reaped last: until then its number is the group's."""
    _signal_group(shell.pid, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_S
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, shell.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.02)
    _signal_group(shell.pid, signal.SIGKILL)
    shell.wait()


def _signal_group(group: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, what)


def _tail(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _OUTPUT_LIMIT))
    return output.read().decode("utf-8", "replace").strip()
