"""The state of a container's agent endpoint, and whether anybody answers on its socket."""

from __future__ import annotations

import socket
from enum import StrEnum
from pathlib import Path

from terok_native.kept import kept

_LIMIT_S = 0.2


@kept
class ACPEndpointStatus(StrEnum):
    """Being served, could be served, cannot be served."""

    ACTIVE = "active"
    READY = "ready"
    UNSUPPORTED = "unsupported"


def acp_socket_is_live(path: Path) -> bool:
    """Tell whether a connection to the socket succeeds within 0.2 s; it is closed at once."""
    if not Path(path).exists():
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_LIMIT_S)
            client.connect(str(path))
    except OSError:
        return False
    return True
