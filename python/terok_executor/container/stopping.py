"""Whether a container is ours to stop."""

from __future__ import annotations

import json
import subprocess

from terok_util.tty import clean_text

from terok_executor.container import plan

_INSPECT_LIMIT_S = 15


def is_ours(name: str) -> bool | None:
    """Tell whether a container was started by us; ``None`` when there is no such container.

    Raises:
        SystemExit: podman is missing, does not answer, or fails for another reason than that there is no such
            container.
    """
    try:
        done = subprocess.run(
            ["podman", "container", "inspect", "--", name], capture_output=True, text=True, errors="replace",
            timeout=_INSPECT_LIMIT_S,
        )
    except FileNotFoundError:
        raise SystemExit(f"cannot look at container `{name}`: podman is not installed") from None
    except subprocess.TimeoutExpired:
        raise SystemExit(f"cannot look at container `{name}`: podman did not answer") from None
    if done.returncode != 0:
        # Whatever else is wrong with podman, the container may be there, and what it needs must stay.
        if "no such container" not in done.stderr.lower():
            why = clean_text(done.stderr).strip() or "podman gave no reason"
            raise SystemExit(f"cannot look at container `{name}`: {why}")
        return None
    labels = (json.loads(done.stdout)[0].get("Config") or {}).get("Labels") or {}
    return labels.get(plan.LABEL_MANAGED) == plan.MANAGED_BY
