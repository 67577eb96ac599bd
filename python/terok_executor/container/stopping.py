"""Ending a container of ours and clearing what belonged to it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from terok_executor.container import plan

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

_INSPECT_LIMIT_S = 15


@dataclass(frozen=True)
class Managed:
    """What a container's labels say about it; empty texts when a label is missing."""

    task_dir: str
    scope: str
    task: str


def labels_of(name: str) -> dict[str, str] | None:
    """Return the container's labels, or ``None`` when there is no such container.

    Raises:
        SystemExit: podman is missing or does not answer.
    """
    try:
        done = subprocess.run(
            ["podman", "container", "inspect", "--", name], capture_output=True, text=True, timeout=_INSPECT_LIMIT_S
        )
    except FileNotFoundError:
        raise SystemExit(f"cannot look at container `{name}`: podman is not installed") from None
    except subprocess.TimeoutExpired:
        raise SystemExit(f"cannot look at container `{name}`: podman did not answer") from None
    if done.returncode != 0:
        return None
    config = json.loads(done.stdout)[0].get("Config") or {}
    return dict(config.get("Labels") or {})


def managed(labels: dict[str, str]) -> Managed | None:
    """Return what belongs to the container, or ``None`` when it is not ours."""
    if labels.get(plan.LABEL_MANAGED) != plan.MANAGED_BY:
        return None
    return Managed(
        labels.get(plan.LABEL_TASK_DIR, ""), labels.get(plan.LABEL_SCOPE, ""), labels.get(plan.LABEL_TASK, "")
    )


def clear(cfg: SandboxConfig, name: str, owner: Managed) -> list[str]:
    """Remove tokens, sidecar, runtime directory and task directory of a container that is gone."""
    from terok_executor.container.launching import forget

    problems = forget(cfg, name, owner.scope, owner.task) if owner.scope and owner.task else []
    if _is_task_dir(owner.task_dir):
        shutil.rmtree(owner.task_dir, ignore_errors=True)
    return problems


def _is_task_dir(text: str) -> bool:
    """A label is text from outside: only a directory of ours, where ours are made, is ever removed."""
    path = Path(text)
    return (
        path.parent == Path(tempfile.gettempdir())
        and path.name.startswith(plan.NAME_PREFIX)
        and path.is_dir()
        and not path.is_symlink()
    )
