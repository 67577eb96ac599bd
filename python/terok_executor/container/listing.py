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
    """Take back what launches left whose process was killed; costs one directory listing when there is nothing."""
    from terok_native import _lib

    state = _lib.base_state_dir("sandbox", "TEROK_SANDBOX_STATE_DIR")
    try:
        with os.scandir(os.path.join(state, "launches")) as entries:
            if not any(entry.name.endswith(".json") for entry in entries):
                return
    except OSError:
        return
    from terok_sandbox.launch import recover

    from terok_executor.integrations import sandbox as catalogue

    recover(cfg=catalogue.SandboxConfig())


def show() -> None:
    """Print our containers and their states, sorted by name."""
    take_back_dead_launches()
    for name, state in sorted(states().items()):
        print(f"{name}  {state}")
