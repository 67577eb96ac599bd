"""Who we are on the host."""

import os

from terok_native import _lib


def host_uid() -> int:
    """Return our effective uid as the outer user namespace sees it; the plain one when no mapping covers it."""
    return _lib.base_host_uid()


def podman_userns_args() -> list[str]:
    """Return podman's user-namespace arguments: none for uid 0, else our uid becomes 1000 inside.

    What counts is the uid podman itself will run with, not the one outside a surrounding namespace.
    """
    return [] if os.geteuid() == 0 else ["--userns=keep-id:uid=1000,gid=1000"]
