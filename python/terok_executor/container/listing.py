"""Which containers are ours, and how they are."""

from __future__ import annotations

from terok_executor.container import plan


def states() -> dict[str, str]:
    """Return ``{container name: state}`` for containers that carry our label, running or not.

    Raises:
        RuntimeError: podman failed, did not answer in time, or (``FileNotFoundError``) is not installed.
    """
    from terok_native import _lib

    return _lib.podman_states_by_label(f"{plan.LABEL_MANAGED}={plan.MANAGED_BY}")
