"""What a task's container may reach, as far as this version can tell: there is no egress firewall in it.

A container is therefore never said to be filtered, and no state is recorded that was not applied. A task that was left
with its firewall up does not start here: it would run with less protection than it was left with.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from terok_util.tty import clean_text

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok.lib.core.project_model import ProjectConfig

SHIELD_SECURITY_HINT = "See: https://terok-ai.github.io/terok/shield-security/"
_DESIRED_SHIELD_STATE_FILENAME = "shield_desired_state"
_STATES = frozenset({"up", "down", "disengaged"})
_POLICIES = frozenset({"retain", "up"})
_UUID_LIMIT_S = 5

_told: set[str] = set()


def resolve_container_uuid(cname: str) -> str:
    """Return the full identifier of the container *cname*.

    Raises:
        RuntimeError: there is no such container, or podman does not answer within five seconds.
    """
    command = ["podman", "container", "inspect", "-f", "{{.Id}}", "--", cname]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_UUID_LIMIT_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise RuntimeError(f"cannot ask podman for the identifier of container `{cname}`: {error}") from error
    if done.returncode != 0 or not done.stdout.strip():
        why = clean_text(done.stderr).strip() or "podman printed nothing"
        raise RuntimeError(f"cannot find the identifier of container `{cname}`: {why}")
    return done.stdout.strip()


def check_intent(project: ProjectConfig, task_dir: Path) -> None:
    """Refuse to start a task again that was left with its firewall up.

    Raises:
        SystemExit: the recorded state asks for more than this version gives.
        ValueError: the state or the policy is none that we know.
    """
    from terok.lib.core import config

    if config.get_shield_bypass_firewall_no_protection():
        return
    if project.shield_on_task_restart not in _POLICIES:
        raise ValueError(f"unknown policy `{project.shield_on_task_restart}`: `retain` or `up` is expected")
    if _read_desired_shield_state(task_dir) == "up":
        raise SystemExit(
            f"cannot start a container of `{project.id}` again: its egress firewall is recorded as up in "
            f"`{task_dir / _DESIRED_SHIELD_STATE_FILENAME}`, and this version cannot filter egress\n"
            "hint: write `down` into that file if the task may reach the network unfiltered"
        )


def _apply_shield_policy(project: ProjectConfig, cname: str, task_dir: Path, *, is_restart: bool) -> None:
    """Bring a container that has just started to the state it is to have, or stop it.

    Raises:
        SystemExit, ValueError: see :func:`check_intent`; the container is stopped then.
    """
    from terok.lib.core import config

    if config.get_shield_bypass_firewall_no_protection():
        return
    try:
        if is_restart:
            check_intent(project, task_dir)
    except BaseException:
        _stop_container_best_effort(project, cname)
        raise
    wanted = project.shield_on_task_restart == "up" if is_restart else not project.shield_drop_on_task_run
    _tell(project, wanted=wanted, is_restart=is_restart)


def _tell(project: ProjectConfig, *, wanted: bool, is_restart: bool) -> None:
    """Say once per process what is not filtered; a launch itself has said it already."""
    from terok.lib.util.logging_utils import warn_user

    if wanted and project.id not in _told:
        _told.add(project.id)
        warn_user("shield", f"project {project.id} asks for its egress firewall, which this version does not have")
    elif is_restart and not wanted and "" not in _told:
        _told.add("")
        warn_user("shield", "network egress of this container is not filtered by this version")


def _read_desired_shield_state(task_dir: Path) -> str | None:
    """The recorded state, ``None`` without one; ``ValueError`` for anything else."""
    from terok_native import _lib

    try:
        text = _lib.base_read_below(task_dir, _DESIRED_SHIELD_STATE_FILENAME, 64).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"cannot read `{task_dir / _DESIRED_SHIELD_STATE_FILENAME}`: {error}") from error
    if text not in _STATES:
        raise ValueError(f"unknown state in `{task_dir / _DESIRED_SHIELD_STATE_FILENAME}`: {text!r}")
    return text


def _stop_container_best_effort(project: ProjectConfig, cname: str, *, timeout: int | None = None) -> None:
    from terok.lib.core import runtime
    from terok.lib.util.logging_utils import log_warning

    try:
        runtime.resolve_runtime(project).container(cname).stop(
            timeout=project.shutdown_timeout if timeout is None else timeout
        )
    except Exception as error:
        log_warning(f"container {cname} could not be stopped: {error}")
