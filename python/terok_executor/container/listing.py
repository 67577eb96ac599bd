"""Which containers are ours, and how they are."""

from __future__ import annotations

import os

#: Label by which our own containers are found again.
LABEL_MANAGED = "ai.terok.managed"
MANAGED_BY = "executor"


def states() -> dict[str, str]:
    """Return ``{container name: state}`` for containers that carry our label, running or not.

    Raises:
        RuntimeError: podman failed, did not answer in time, or (``FileNotFoundError``) is not installed.
    """
    from terok_native import _lib

    return _lib.podman_states_by_label(f"{LABEL_MANAGED}={MANAGED_BY}")


def take_back_dead_launches() -> None:
    """Take back what launches left whose process was killed, and bring back commits of containers that have ended.

    Costs two directory listings when there is nothing.
    """
    from terok_native import _lib

    state = _lib.base_state_dir("sandbox", "TEROK_SANDBOX_STATE_DIR")
    launches = any(name.endswith(".json") for name in _entries(os.path.join(state, "launches")))
    workspaces = any(not name.startswith(".") for name in _entries(os.path.join(state, "workspaces")))
    if not (launches or workspaces):
        return
    from terok_sandbox.launch import recover

    from terok_executor.container.workspaces import sweep
    from terok_executor.integrations import sandbox as catalogue

    cfg = catalogue.SandboxConfig()
    if launches:
        recover(cfg=cfg)
    if workspaces:
        sweep(cfg)


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def show() -> None:
    """Print our containers and their states, sorted by name."""
    take_back_dead_launches()
    for name, state in sorted(states().items()):
        print(f"{name}  {state}")
