"""Where programs could talk to the agents of running tasks. The daemon that serves them is not in this version."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from terok_executor.acp.endpoint import ACPEndpointStatus, acp_socket_is_live
from terok_native.kept import kept

if TYPE_CHECKING:
    from terok.lib.domain.project import Project

__all__ = ["ACPEndpoint", "endpoints"]

_LARGEST = 4096


@kept
@dataclass(frozen=True)
class ACPEndpoint:
    """One task's endpoint; ``bound_agent`` is the agent that an active one talks to."""

    project_id: str
    task_id: str
    socket_path: Path
    status: ACPEndpointStatus
    bound_agent: str | None = None


def endpoints(project: Project) -> list[ACPEndpoint]:
    """Return the endpoint of every running task of the project; one look at each distinct image."""
    from terok.lib.core import paths
    from terok.lib.integrations import sandbox

    running = [task for task in project.list_tasks() if task.container_state == "running"]
    if not running:
        return []
    authenticated = _authenticated(project.config.credential_set)
    runtime, agents, found = sandbox.PodmanRuntime(), {}, []
    for task in running:
        socket = paths.acp_socket_path(project.id, task.id)
        status, bound = ACPEndpointStatus.UNSUPPORTED, None
        if acp_socket_is_live(socket):
            status, bound = ACPEndpointStatus.ACTIVE, _bound(paths.acp_bound_path(project.id, task.id))
        else:
            image = runtime.container(f"{project.id}-{task.mode}-{task.id}").image
            key = image.ref if image else ""
            if key not in agents:
                agents[key] = _agents(image)
            if agents[key] & authenticated:
                status = ACPEndpointStatus.READY
        found.append(ACPEndpoint(project.id, task.id, socket, status, bound))
    return found


def _agents(image: object) -> frozenset[str]:
    from terok_executor import AGENTS_LABEL

    labels = image.labels() if image is not None else {}  # type: ignore[attr-defined] # an image of any runtime
    return frozenset(name.strip() for name in labels.get(AGENTS_LABEL, "").split(",") if name.strip())


def _authenticated(credential_set: str) -> frozenset[str]:
    from terok.lib.integrations import executor

    try:
        return frozenset(executor.list_authenticated_agents(scope=credential_set))
    except (RuntimeError, OSError):
        return frozenset()


def _bound(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            agent = json.loads(file.read(_LARGEST)).get("agent")
    except (OSError, ValueError, AttributeError):
        return None
    return agent if isinstance(agent, str) else None
