"""The web port of a task, claimed among all users of the host under the key ``web:<project>/<task>``.

A claim lasts until the task is deleted, so that a stopped task finds its port again.
"""

from __future__ import annotations


def _key(project_id: str, task_id: str) -> str:
    return f"web:{project_id}/{task_id}"


def assign_web_port(project_id: str, task_id: str, preferred: int | None = None) -> int:
    """Return the task's port: the one it holds, else *preferred* if it is free and in range, else any free one.

    A port that this task holds is kept although its own container listens there.

    Raises:
        SystemExit: no port is free, or the directory of claims cannot be used.
    """
    from terok_sandbox import port_registry

    return port_registry.keep_port(_key(project_id, task_id), preferred)


def release_web_port(project_id: str, task_id: str) -> None:
    """Give the task's port back; a task without one is fine."""
    from terok_sandbox import port_registry

    port_registry.release_port(_key(project_id, task_id))


def reclaim_web_port(project_id: str, task_id: str, port: int, *, running: bool) -> bool:
    """Claim *port* again for a task that recorded it; false, and nothing is claimed, when it cannot be had.

    While the task's own container runs it is what listens there; otherwise nobody else may.
    """
    from terok_sandbox import port_registry

    if assign_web_port(project_id, task_id, port) == port and (running or _nobody_listens(port)):
        return True
    release_web_port(project_id, task_id)
    if not running:
        return False
    try:
        # The directory of claims may have been emptied under a container that runs for weeks.
        return port_registry._default.claim(_key(project_id, task_id), port, trusted=True) == port
    except SystemExit:
        return False


def _nobody_listens(port: int) -> bool:
    """Whether podman could publish the port; connections of the task's last run may still linger there."""
    import socket

    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
