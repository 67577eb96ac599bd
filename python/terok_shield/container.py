"""What a container itself tells about its firewall."""

from __future__ import annotations

import subprocess
from pathlib import Path

ANNOTATION = "terok.shield.state_dir"
_LIMIT_S = 5


def resolve_container_state_dir(container: str) -> Path | None:
    """Return the directory that the container's annotation names; ``None`` without container, annotation or podman."""
    query = f'{{{{index .Config.Annotations "{ANNOTATION}"}}}}'
    argv = ["podman", "container", "inspect", "-f", query, "--", container]
    try:
        found = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    path = found.stdout.strip()
    return Path(path) if found.returncode == 0 and path.startswith("/") else None
