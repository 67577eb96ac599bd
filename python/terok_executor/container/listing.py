"""Which containers are ours, and how they are."""

from __future__ import annotations

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


def show() -> None:
    """Print our containers and their states, sorted by name."""
    for name, state in sorted(states().items()):
        print(f"{name}  {state}")
